/** What tests stand on: a manual clock, waiting for conditions, seeds, scratch directories and databases. */
export * from "./manual-clock.ts";
export * from "./eventually.ts";
export * from "./seed.ts";
export * from "./temp-dir.ts";
export * from "./temp-database.ts";
export * from "./program.ts";
export * from "./temp-authority.ts";
export * from "./unused-port.ts";
export * from "./memory-store/index.ts";
export * from "./engine/index.ts";
export * from "./prometheus.ts";
export * from "./otlp-collector.ts";
export * from "./recording-tracer.ts";
