/** The parts of the testkit that need vitest around them. */
export { findSystemBinDir, startPostgresForTests } from "./postgres-setup.ts";
export type { PostgresForTests } from "./postgres-setup.ts";
export { useDatabase } from "./use-database.ts";
export { storeConformance } from "../store-conformance/index.ts";
export type { OpenedStore } from "../store-conformance/index.ts";
export type { EngineForTests } from "./engine-setup.ts";
export { noEngine, useEngine } from "./use-engine.ts";
