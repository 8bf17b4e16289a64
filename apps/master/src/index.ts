/** The master as a library: `createMaster` for processes and tests, `createControl` for the simulator. */
export { createMaster, type Master, type MasterAddresses, type MasterDeps, type MasterLimits, type MasterSettings } from "./create-master.ts";
export { createControl } from "./control/index.ts";
export type { Control } from "./control/control.ts";
export type { AgentClient, ControlDeps, Failpoint, OperatorContext } from "./ports.ts";
