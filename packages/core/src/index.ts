/** The pure heart of Skep: vocabulary, state machines and decisions. No I/O, no clock, no logger, no dependencies. */
export * from "./ids.ts";
export * from "./time.ts";
export * from "./rng.ts";
export * from "./ports/clock.ts";
export * from "./ports/logger.ts";
export * from "./spec/spec.ts";
export * from "./spec/canonical.ts";
export * from "./agent/driver.ts";
export * from "./errors.ts";
