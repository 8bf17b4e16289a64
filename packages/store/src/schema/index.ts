/** Every table, once. The migrations are the truth; `test/schema.test.ts` holds these to it, column by column. */
export * from "./cluster.ts";
export * from "./hosts.ts";
export * from "./certs.ts";
export * from "./tokens.ts";
export * from "./deployments.ts";
export * from "./placements.ts";
export * from "./rollouts.ts";
export * from "./moves.ts";
export * from "./lifecycle.ts";
export * from "./ledgers.ts";
export * from "./api-tokens.ts";
export * from "./alerts.ts";
