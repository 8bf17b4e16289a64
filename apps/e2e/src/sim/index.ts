/** The deterministic simulator: production's master and agent over a virtual world. */
export { runSeed, type RunOptions, type Sabotage, type SeedResult } from "./run-seed.ts";
export { without, runUntilViolation, type GateResult } from "./gate.ts";
export type { Violation } from "./truth.ts";
