/** Alerts: made of events, deduplicated, told to webhooks. */
export * from "./record.ts";
export * from "./rules.ts";
export * from "./decide-alerts.ts";
export * from "./standing.ts";
export * from "./webhooks.ts";
