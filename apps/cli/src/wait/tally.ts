/** What many lifecycle rows amount to, and which exit code that is. Pure. */
import { isOpenRollout, isTerminal } from "@skep/core";
import type { LifecycleJson, RolloutJson } from "@skep/protocol";
import { EXIT, type ExitCode } from "../exit-codes.ts";

export interface Tally {
  readonly total: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly superseded: number;
  /** Not ended yet, the lost ones included. */
  readonly open: number;
  /** Open, and nobody knows: the host is silent. */
  readonly lost: number;
}

export type Rows = ReadonlyMap<string, LifecycleJson>;

/** A row that was not seen yet counts as open: what is not known to have ended has not. */
export function tallyRows(ids: readonly string[], rows: Rows): Tally {
  const count = (status: string): number => ids.filter((id) => rows.get(id)?.status === status).length;
  const ended = ids.filter((id) => isTerminal(rows.get(id)?.status ?? "pending")).length;
  return { total: ids.length, succeeded: count("succeeded"), failed: count("failed"), cancelled: count("cancelled"), superseded: count("superseded"), open: ids.length - ended, lost: count("lost") };
}

/** Why the wait ended, where not because everything did. */
export type Cut = "timeout" | "unreachable" | "detached";

export const OUTCOMES = ["succeeded", "failed", "rolled_back", "cancelled", "superseded", "paused", "undecided", "timed_out", "unreachable", "detached"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Nothing more comes by itself: the rows have ended, and the rollout, where there is one, has ended or waits for a person. */
export const isOver = (tally: Tally, rollout: RolloutJson | undefined): boolean =>
  rollout?.status === "paused" ? tally.open === 0 : tally.open === 0 && (rollout === undefined || !isOpenRollout(rollout.status));

/** Failures win: one failed row is a failed operation, whatever became of the others. A rollout's own word wins over its rows'. */
export function decideOutcome(tally: Tally, cut: Cut | undefined, rollout?: RolloutJson): { readonly outcome: Outcome; readonly exit: ExitCode } {
  if (cut === "detached") return { outcome: "detached", exit: EXIT.detached };
  if (cut === "unreachable") return { outcome: "unreachable", exit: EXIT.unreachable };
  switch (rollout?.status) {
    case "failed":
      return { outcome: "failed", exit: EXIT.failed };
    case "rolled_back":
      return { outcome: "rolled_back", exit: EXIT.failed };
    case "superseded":
      return { outcome: "superseded", exit: EXIT.conflict };
    case "paused":
      if (tally.open === 0) return { outcome: "paused", exit: EXIT.undecided };
      return { outcome: "timed_out", exit: EXIT.timedOut };
    case "running":
    case "rolling_back":
      return { outcome: "timed_out", exit: EXIT.timedOut };
    case "succeeded":
    case undefined:
      break;
  }
  if (tally.open > 0) return tally.lost === tally.open ? { outcome: "undecided", exit: EXIT.undecided } : { outcome: "timed_out", exit: EXIT.timedOut };
  if (tally.failed > 0) return { outcome: "failed", exit: EXIT.failed };
  if (tally.cancelled > 0) return { outcome: "cancelled", exit: EXIT.failed };
  if (tally.superseded > 0) return { outcome: "superseded", exit: EXIT.conflict };
  return { outcome: "succeeded", exit: EXIT.ok };
}

export interface Cause {
  readonly error: string;
  readonly rows: readonly LifecycleJson[];
}

/** Rows that did not succeed, by what they say of it, the most frequent first. */
export function groupCauses(rows: readonly LifecycleJson[]): Cause[] {
  const groups = new Map<string, LifecycleJson[]>();
  for (const row of rows) {
    if (row.status !== "failed" && row.status !== "cancelled" && row.status !== "superseded" && row.status !== "lost") continue;
    const error = row.error ?? row.because ?? row.cancel_reason ?? row.status;
    groups.set(error, [...(groups.get(error) ?? []), row]);
  }
  return [...groups].map(([error, of]) => ({ error, rows: of })).sort((a, b) => b.rows.length - a.rows.length);
}
