/** The gate: whether one placement of an open wave has passed, may still pass, or never will, and in whose words. */
import type { LifecycleRow } from "../lifecycle/row.ts";
import type { HostStatus } from "../liveness/decide-host.ts";
import type { ObservedRecord } from "../ports/records.ts";
import type { Instant } from "../time.ts";
import type { RolloutMember, RolloutRecord } from "./record.ts";

/** One member whose placement still exists. Members of removed placements are nobody's business any more. */
export interface MemberFacts {
  readonly member: RolloutMember;
  readonly hostStatus: HostStatus;
  readonly appliedGeneration: number | undefined;
  readonly observed: ObservedRecord | undefined;
  /** The row its wave opened. */
  readonly row: LifecycleRow | undefined;
  readonly rollbackRow: LifecycleRow | undefined;
  /** Whatever is open on the placement now, whoever opened it. */
  readonly openRow: LifecycleRow | undefined;
}

export type Judgement =
  | { readonly kind: "passed" }
  | { readonly kind: "refused"; readonly because: string }
  /** `healthy`: only time is missing, so no deadline runs. `movedAt`: its last sign of real progress. */
  | { readonly kind: "waiting"; readonly because: string; readonly healthy: boolean; readonly movedAt: Instant | undefined };

const OFF = ["degraded", "failed", "stopped", "absent", "teardown_failed"] as const;

export function judgeMember(rollout: Pick<RolloutRecord, "generation" | "desired" | "policy">, { member, row, observed, hostStatus }: MemberFacts): Judgement {
  const waiting = (because: string, movedAt: Instant | undefined, healthy = false): Judgement => ({ kind: "waiting", because: `${member.host}: ${because}`, healthy, movedAt });
  const refused = (because: string): Judgement => ({ kind: "refused", because: `${member.host}: ${because}` });
  if (row === undefined) return waiting("its row is not in the ledger", undefined);
  const moved = latest(row.progressAt, row.runningAt, row.completedAt);
  switch (row.status) {
    case "pending":
    case "running":
      return waiting(`${row.operation} is ${row.status} (${row.jobPhase ?? row.phase})${hostStatus === "active" ? "" : `, its host is ${hostStatus}`}${observed === undefined || row.status === "pending" ? "" : wordsOf(observed)}`, moved);
    case "lost":
      // Unknown is neither: its late truth may still pass, and only the deadline ends the waiting.
      return waiting(`the outcome of its ${row.operation} is unknown, its host is ${hostStatus}`, moved);
    case "failed":
      return refused(`${row.operation} failed${row.failureCode === undefined ? "" : ` (${row.failureCode})`}: ${row.error ?? row.because ?? "no reason given"}`);
    case "cancelled":
    case "superseded":
      return refused(`${row.operation} was ${row.status}: ${row.because ?? "no reason given"}`);
    case "succeeded":
      break;
  }
  if (observed === undefined || observed.generation < rollout.generation) return waiting("not seen at the new generation yet", moved);
  if (observed.state === rollout.desired) {
    // The host's own word must cover the whole time: an old word says nothing of what happened since.
    const seenMs = observed.observedAt - observed.changedAt;
    if (seenMs >= rollout.policy.minHealthyS * 1_000) return { kind: "passed" };
    return waiting(`${observed.state} for ${Math.floor(seenMs / 1_000)} of ${rollout.policy.minHealthyS} s`, latest(moved, observed.changedAt), hostStatus === "active");
  }
  if (rollout.desired === "running" && (OFF as readonly string[]).includes(observed.state)) return refused(`${observed.state} at the new generation${wordsOf(observed)}`);
  return waiting(`it is ${observed.state}`, latest(moved, observed.changedAt));
}

/** What the components themselves say: a probe's words, an exit. */
function wordsOf(observed: ObservedRecord): string {
  const words = observed.components.filter((component) => component.state !== "running" && component.state !== "exited").map((component) => `${component.name} is ${component.state}${component.error === undefined ? "" : ` (${component.error})`}`);
  return words.length === 0 ? "" : `: ${words.join("; ")}`;
}

export const latest = (...times: readonly (Instant | undefined)[]): Instant | undefined =>
  times.reduce((newest, time) => (time !== undefined && (newest === undefined || time > newest) ? time : newest), undefined);

/** Asking it anything now would only fail. */
export const isAway = ({ hostStatus }: Pick<MemberFacts, "hostStatus">): boolean => hostStatus === "unreachable" || hostStatus === "decommissioned";

/** More than a person reads at once; the rest is counted. */
const MAX_NAMED = 5;
export const named = (words: readonly string[]): string =>
  words.length <= MAX_NAMED ? words.join("; ") : `${words.slice(0, MAX_NAMED).join("; ")} and ${words.length - MAX_NAMED} more`;
