export * from "./record.ts";
export * from "./decide-move.ts";
export * from "./decide-drain.ts";
export * from "./plan-rebalance.ts";
