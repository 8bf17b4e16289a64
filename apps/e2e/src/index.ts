/** End-to-end tests and the deterministic simulator: the only importer of apps. */
export * from "./sim/index.ts";
