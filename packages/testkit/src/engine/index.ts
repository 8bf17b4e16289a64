/** A real Docker Engine for tests, and what tests do with one. */
export { findEngine, findProgram } from "./find-engine.ts";
export { startEngine } from "./start-engine.ts";
export type { Engine, EngineOptions } from "./start-engine.ts";
export { createEngineKit } from "./engine-kit.ts";
export type { EngineKit, Labelled } from "./engine-kit.ts";
export type { ImageConfig } from "./busybox-image.ts";
export type { EngineAnswer, EngineCall } from "./engine-api.ts";
export { sweepEngines } from "./engine-dirs.ts";
export { startRegistry } from "./registry.ts";
export type { RegistryOptions, TestRegistry } from "./registry.ts";
