/** The one implementation of MasterMetrics: counters in this process, and the ledger's numbers when somebody scrapes. */
import { CALL_OUTCOMES, CANCEL_REASONS, CIRCUIT_STATES, DELTA_RESULTS, OPERATIONS, TERMINAL_STATUSES, type CircuitState, type Clock, type Instant, type Logger, type Reads, type Store } from "@skep/core";
import { DISPATCH_RESULTS } from "../ports.ts";
import { createHostLabels, OTHER_HOSTS } from "./host-labels.ts";
import { createLedgerGauges } from "./ledger-gauges.ts";
import type { MasterMetrics } from "./master-metrics.ts";
import { MASTER_METRICS } from "./names.ts";
import { createInstruments, Registry, watchProcess } from "./registry.ts";

/** Hosts with a label of their own. More: scrapes grow by five lines a host; fewer: slow hosts hide behind "other". */
export const DEFAULT_METRIC_HOSTS = 1_000;

const DIRECTIONS = ["sent", "received"] as const;
const BREAKER_VALUE: Readonly<Record<Exclude<CircuitState, "closed">, number>> = { half_open: 1, open: 2 };

export interface MetricsDeps {
  readonly store: Pick<Reads, "fleetGauges"> & Pick<Store, "poolUse">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  readonly nodeVersion: string;
  readonly heartbeatIntervalMs: number;
  readonly caNotAfter: Instant;
  readonly maxHosts: number;
  /** Whether to tell of the process as a whole: only where it is this master's alone. */
  readonly process: boolean;
}

export function createMasterMetrics(deps: MetricsDeps): MasterMetrics {
  const registry = new Registry();
  const on = createInstruments(registry, MASTER_METRICS);
  if (deps.process) watchProcess(registry);
  const labels = createHostLabels(deps.maxHosts);
  const ledger = createLedgerGauges(deps, on);
  const called = new Set<string>();
  /** Of the breakers that are not closed. */
  const broken = new Map<string, Exclude<CircuitState, "closed">>();

  on.buildInfo.set({ version: deps.version, node: deps.nodeVersion }, 1);
  on.caExpiry.set(deps.caNotAfter / 1_000);
  on.heartbeatInterval.set(deps.heartbeatIntervalMs / 1_000);
  // Zero from the start: the first of its kind would otherwise be a jump out of nothing, which `rate` cannot see.
  on.heartbeats.inc({ result: "ok" }, 0);
  for (const result of DELTA_RESULTS) on.deltas.inc({ result }, 0);
  for (const operation of OPERATIONS) for (const status of TERMINAL_STATUSES) on.lifecycleEnded.inc({ operation, status }, 0);
  for (const result of DISPATCH_RESULTS) on.dispatches.inc({ result }, 0);
  for (const reason of ["adopted", "lost", ...CANCEL_REASONS]) on.sweepRows.inc({ reason }, 0);
  for (const result of ["reachable", "unreachable", "withheld"]) on.probes.inc({ result }, 0);
  for (const to of CIRCUIT_STATES) on.breakerTransitions.inc({ to }, 0);

  const showBreaker = (hostId: string, hostName: string): void => {
    const label = labels.labelOf(hostId, hostName);
    // Of those who share a label nobody's state can be told; they are among the counts.
    if (label === OTHER_HOSTS) return;
    const state = broken.get(hostId);
    if (state === undefined) on.breakerState.remove({ host: label });
    else on.breakerState.set({ host: label }, BREAKER_VALUE[state]);
  };

  const tellProcess = (): void => {
    const states = [...broken.values()];
    const open = states.filter((state) => state === "open").length;
    on.breakers.set({ state: "open" }, open);
    on.breakers.set({ state: "half_open" }, states.length - open);
    on.breakers.set({ state: "closed" }, [...called].filter((hostId) => !broken.has(hostId)).length);
    on.hostsFolded.set(labels.folded());
    for (const [pool, use] of Object.entries(deps.store.poolUse())) {
      on.poolWaiting.set({ pool }, use.waiting);
      on.poolConnections.set({ pool, state: "idle" }, use.idle);
      on.poolConnections.set({ pool, state: "busy" }, use.open - use.idle);
    }
  };

  return {
    onHeartbeat: (result) => on.heartbeats.inc({ result }),
    onHeartbeatCommitted: (ms) => on.heartbeatDuration.observe(ms / 1_000),
    onDelta: (result) => on.deltas.inc({ result }),
    onDispatch: (result) => on.dispatches.inc({ result }),
    onProbe: (answer) => {
      const withheld = !answer.ok && answer.withheld !== undefined;
      on.probes.inc({ result: withheld ? "withheld" : answer.ok ? "reachable" : "unreachable" });
      // A question that was not asked took no time, and would make the answers look quick.
      if (!withheld) on.probeDuration.observe(answer.ms / 1_000);
    },
    onSweepRow: (reason) => on.sweepRows.inc({ reason }),
    onSweep: (ms) => on.sweepDuration.observe(ms / 1_000),
    onRowEnded: ({ operation, status }) => on.lifecycleEnded.inc({ operation, status }),
    onCall: ({ hostId, hostName, outcome, ms, bytesSent, bytesReceived }) => {
      called.add(hostId);
      const host = labels.labelOf(hostId, hostName);
      on.agentRequests.inc({ host, outcome });
      on.agentBytes.inc({ host, direction: "sent" }, bytesSent);
      on.agentBytes.inc({ host, direction: "received" }, bytesReceived);
      on.agentRequestDuration.observe(ms / 1_000);
    },
    onTransition: ({ hostId, hostName, to }) => {
      called.add(hostId);
      on.breakerTransitions.inc({ to });
      if (to === "closed") broken.delete(hostId);
      else broken.set(hostId, to);
      showBreaker(hostId, hostName);
    },
    forgetHost: (hostId) => {
      called.delete(hostId);
      broken.delete(hostId);
      const host = labels.forget(hostId);
      if (host === undefined) return;
      for (const outcome of CALL_OUTCOMES) on.agentRequests.remove({ host, outcome });
      for (const direction of DIRECTIONS) on.agentBytes.remove({ host, direction });
      on.breakerState.remove({ host });
    },
    render: async () => {
      await ledger.refresh();
      tellProcess();
      return registry.metrics();
    },
  };
}
