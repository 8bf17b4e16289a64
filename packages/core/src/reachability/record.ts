/**
 * Reachability: whether a master gets an answer when it asks a host. It says nothing of whether the host is heard: that
 * is liveness, the other direction, and neither ever writes the other (H2, rulings 28).
 */
import type { HostId } from "../ids.ts";
import type { Instant } from "../time.ts";

export const REACHABILITY_STATES = ["unknown", "reachable", "unreachable"] as const;
export type ReachabilityState = (typeof REACHABILITY_STATES)[number];

export interface Reachability {
  readonly hostId: HostId;
  readonly state: ReachabilityState;
  readonly consecutiveFailures: number;
  readonly consecutiveSuccesses: number;
  /** Since when the state is what it is; undefined = it never was anything else. */
  readonly changedAt: Instant | undefined;
  readonly lastProbeAt: Instant | undefined;
  readonly lastOkAt: Instant | undefined;
  /** Of the newest probe, where that failed. */
  readonly lastError: string | undefined;
  /** The newest changes of state, oldest first: what flapping is judged by. */
  readonly transitions: readonly Instant[];
  readonly flapping: boolean;
  /** When the next probe is due. */
  readonly dueAt: Instant;
  readonly version: number;
}

/**
 * Hosts whose last probe failed are asked in a lane of their own: each may hold its place for a whole time-out, and no
 * number of them may delay one that answers.
 */
export type ProbeLane = "answering" | "failing";

/** What a probe changes of the record where its version still is the one believed in; `dueAt` is the claim's alone. */
export type ReachabilityChange = Omit<Reachability, "dueAt">;
