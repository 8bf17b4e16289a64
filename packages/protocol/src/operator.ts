/** The operator API: requests are strict (an unknown field is a typo that would otherwise do nothing), replies are documented. */
export * from "./operator/hosts.ts";
export * from "./operator/deployments.ts";
export * from "./operator/rollouts.ts";
export * from "./operator/moves.ts";
export * from "./operator/drift.ts";
export * from "./operator/lifecycle.ts";
export * from "./operator/events.ts";
export * from "./operator/alerts.ts";
export * from "./operator/services.ts";
