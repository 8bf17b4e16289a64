/** `explain`: every state, delay and refusal with its reason and the next step, in one wording for API and CLI. */
export * from "./explain-lifecycle.ts";
export * from "./explain-placement.ts";
export * from "./explain-rollout.ts";
export * from "./explain-moves.ts";
export * from "./explain-deployment.ts";
export * from "./explain-host.ts";
