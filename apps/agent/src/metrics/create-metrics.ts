/** What an agent counts, and what it looks at when somebody scrapes: in this process only, and nobody waits for it. */
import { OPERATIONS, type BootReport, type BootStage, type BootState, type Clock, type Operation, type StageResult } from "@skep/core";
import type { Outbox } from "../executor/types.ts";
import type { EndStatus } from "../journal/records.ts";
import { AGENT_METRICS } from "./names.ts";
import { createInstruments, Registry, watchProcess } from "./registry.ts";

export const HEARTBEAT_STATUSES = ["ok", "refused", "failed"] as const;
export type HeartbeatStatus = (typeof HEARTBEAT_STATUSES)[number];

const END_STATUSES: readonly EndStatus[] = ["succeeded", "failed", "cancelled"];
const STAGE_VALUE: Readonly<Record<BootState, number>> = { waiting: 0, starting: 1, blocked: 2, degraded: 3, complete: 4 };

/** What is looked at for each scrape. Asked before anything else is up, too. */
export interface AgentFactsNow {
  readonly ready: () => boolean;
  readonly outbox: () => Outbox;
  /** RFC 3339; undefined = not enrolled. */
  readonly certNotAfter: () => string | undefined;
  readonly boot: () => { readonly stages: readonly BootStage[]; readonly results: readonly StageResult[]; readonly report: BootReport | undefined };
}

export interface AgentMetrics {
  onStarted(): void;
  onRegistered(): void;
  onHeartbeat(status: HeartbeatStatus): void;
  onDeregistered(): void;
  /** Once it is durable. */
  onJobEnded(job: { readonly operation: Operation; readonly status: EndStatus }): void;
  /** All metrics in Prometheus' text format. */
  render(): Promise<string>;
}

export interface AgentMetricsDeps {
  readonly clock: Clock;
  readonly version: string;
  readonly nodeVersion: string;
  /** Whether to tell of the process as a whole: only where it is this agent's alone. */
  readonly process: boolean;
  readonly now: AgentFactsNow;
}

export function createAgentMetrics({ clock, version, nodeVersion, process, now }: AgentMetricsDeps): AgentMetrics {
  const registry = new Registry();
  const on = createInstruments(registry, AGENT_METRICS);
  if (process) watchProcess(registry);
  on.buildInfo.set({ version, node: nodeVersion }, 1);
  // Zero from the start: the first of its kind would otherwise be a jump out of nothing, which `rate` cannot see.
  for (const status of HEARTBEAT_STATUSES) on.heartbeat.inc({ status }, 0);
  for (const operation of OPERATIONS) for (const status of END_STATUSES) on.jobs.inc({ operation, status }, 0);

  const look = (): void => {
    on.ready.set(now.ready() ? 1 : 0);
    const { size, oldestEndedAt } = now.outbox();
    on.outboxSize.set(size);
    on.outboxOldest.set(oldestEndedAt === undefined ? 0 : Math.max(0, clock.now() - Date.parse(oldestEndedAt)) / 1_000);
    const notAfter = now.certNotAfter();
    // Absent and not 0: that would be a certificate that ran out in 1970.
    if (notAfter === undefined) on.certExpiry.remove();
    else on.certExpiry.set(Date.parse(notAfter) / 1_000);
    on.bootStageState.reset();
    const { stages, results, report } = now.boot();
    for (const { name } of stages) {
      const result = results.find((one) => one.name === name);
      const state = result !== undefined ? (result.members.every((member) => member.healthy) ? "complete" : "degraded") : report?.stage === name ? report.state : "waiting";
      on.bootStageState.set({ stage: name }, STAGE_VALUE[state]);
    }
  };

  return {
    onStarted: () => on.startup.inc(),
    onRegistered: () => on.registered.inc(),
    onHeartbeat: (status) => on.heartbeat.inc({ status }),
    onDeregistered: () => on.deregistered.inc(),
    onJobEnded: ({ operation, status }) => on.jobs.inc({ operation, status }),
    render: () => {
      look();
      return registry.metrics();
    },
  };
}
