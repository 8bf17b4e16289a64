/** The agent as a library: the agent itself, and its executor for the simulator. */
export { createAgent, type Agent, type AgentDeps, type AgentFacts } from "./create-agent.ts";
export { createExecutor } from "./executor/create-executor.ts";
export type { CancelAsk, Executor, ExecutorDeps, Inventory, StatusSnapshot } from "./executor/types.ts";
export type { Floor, JournalRecord, JournalStore } from "./journal/records.ts";
