/** The only ambient code: the real clock, chance, logger, loops, signals and process identity. */
export * from "./clock.ts";
export * from "./rng.ts";
export * from "./hash.ts";
export * from "./logger.ts";
export * from "./loop.ts";
