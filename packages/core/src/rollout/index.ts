export * from "./policy.ts";
export * from "./record.ts";
export * from "./judge-member.ts";
export * from "./decide-rollout.ts";
export * from "./decide-rollback.ts";
export * from "./choose-base.ts";
