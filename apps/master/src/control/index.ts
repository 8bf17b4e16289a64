/** The master without its listeners and loops. */
export { createControl, type ControlExtras } from "./create-control.ts";
export type { AcceptedOrPlan, Control, IdentityControl } from "./control.ts";
