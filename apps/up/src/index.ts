/** `skep up`: the supervisor of a whole Skep on one machine. Everything else here is a program's own business. */
export { createStack } from "./create-stack.ts";
