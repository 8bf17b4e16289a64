/** Wire contracts, once: what is validated is what is documented. Browser-safe; append-only within v1. */
export * from "./common.ts";
export * from "./spec.ts";
export * from "./commands.ts";
export * from "./boot.ts";
export * from "./heartbeat.ts";
export * from "./enrol.ts";
export * from "./operator.ts";
export * from "./routes.ts";
export * from "./exec.ts";
export * from "./logs.ts";
export * from "./metrics.ts";
