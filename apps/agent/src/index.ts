/** The agent as a library: the agent itself, and for the simulator the executor and the reporter. */
export { createAgent, type Agent, type AgentDeps, type AgentFacts } from "./create-agent.ts";
export { createExecutor } from "./executor/create-executor.ts";
export type { CancelAsk, Executor, ExecutorDeps, Inventory, StatusSnapshot } from "./executor/types.ts";
export type { Floor, JournalRecord, JournalStore } from "./journal/records.ts";
export { createReporter, type Link, type Reporter, type ReporterDeps } from "./reporter/create-reporter.ts";
export type { Answer } from "./reporter/channel.ts";
