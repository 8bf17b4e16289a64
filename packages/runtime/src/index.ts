/** The only ambient code: the real clock, chance, logger, loops, signals and process identity. */
export * from "./clock.ts";
export * from "./rng.ts";
export * from "./hash.ts";
export * from "./error-facts.ts";
export * from "./redact.ts";
export * from "./logger.ts";
export * from "./loop.ts";
export * from "./background-tasks.ts";
export * from "./process-facts.ts";
export * from "./lock-state-dir.ts";
export * from "./stop-signals.ts";
export * from "./tracing/id-tracer.ts";
export * from "./tracing/trace-settings.ts";
export * from "./tracing/open-tracing.ts";
