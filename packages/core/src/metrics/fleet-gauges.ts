/** The fleet as numbers for a scrape: what only the ledger knows, read in one statement. */
import type { HostStatus } from "../liveness/decide-host.ts";
import type { Operation } from "../lifecycle/states.ts";
import type { ReachabilityState } from "../reachability/record.ts";
import type { RolloutStatus } from "../rollout/record.ts";
import type { Instant } from "../time.ts";

/** Distinct agent versions in one answer. A fleet has a few; more is somebody's mistake, and labels must stay bounded. */
export const MAX_AGENT_VERSIONS = 50;

export interface FleetGauges {
  /** Every status is there, with 0 when no host has it. */
  readonly hosts: Readonly<Record<HostStatus, number>>;
  /** Active and suspect hosts whose last heartbeat is older than was asked. */
  readonly lateHosts: number;
  /** Of hosts that are enrolled and not decommissioned. */
  readonly reachability: Readonly<Record<ReachabilityState, number>>;
  /** Hosts that are not decommissioned, by the version their agent told last; the most common first. */
  readonly agentVersions: readonly { readonly version: string; readonly hosts: number }[];
  readonly openRows: Readonly<Record<Operation, number>>;
  /** Open ones only. */
  readonly rollouts: Readonly<Record<Extract<RolloutStatus, "running" | "paused" | "rolling_back">, number>>;
  /** How long the open rollout that is not paused and has waited longest has not moved, ms; 0 = there is none. */
  readonly rolloutStalledMs: number;
  /** The earliest end of a certificate that hosts use now; undefined = there is none. */
  readonly firstCertEnd: Instant | undefined;
}
