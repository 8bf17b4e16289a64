/**
 * The sweep's judgement of one open row. It closes rows only on evidence: the agent's word, a confirmed tombstone,
 * or the certainty that nothing was ever sent. Where there is no evidence the answer is `lost`, and where the host
 * can be asked the answer is to ask (G1). Absence in a heartbeat is never enough by itself: the sweep turns it into
 * a cancel, and the agent's tombstone makes it true for ever.
 */
import type { HostStatus } from "../liveness/decide-host.ts";
import { seconds } from "../liveness/decide-host.ts";
import { CANCEL_GRACE_MS, SILENCE_CAP_MS, type CancelReason, type LifecycleRow, type RowChange } from "../lifecycle/row.ts";
import type { Policy } from "../policy.ts";
import type { Instant, Timings } from "../time.ts";

/** What the newest heartbeat said of jobs, and how often in a row it said the same. */
export interface JobInventory {
  readonly receivedAt: Instant;
  readonly bootId: string;
  readonly opSeq: number;
  /** Job ids in the agent's journal, terminal and unacknowledged ones included. */
  readonly jobIds: readonly string[] | undefined;
  readonly truncated: boolean;
  /** Consecutive beats with this very inventory. */
  readonly beats: number;
}

export interface SweepEvidence {
  readonly row: LifecycleRow;
  readonly hostStatus: HostStatus;
  readonly inventory: JobInventory | undefined;
}

export type SweepAction =
  | { readonly kind: "leave"; readonly because: string }
  | { readonly kind: "ask"; readonly because: string }
  | { readonly kind: "cancel"; readonly reason: CancelReason; readonly because: string }
  | { readonly kind: "change"; readonly change: RowChange; readonly because: string; readonly needsDecision: boolean };

export function decideSweep(
  { row, hostStatus, inventory }: SweepEvidence,
  listeningSince: Instant,
  now: Instant,
  timings: Timings,
  policy: Policy,
): SweepAction {
  const warm = now - listeningSince >= timings.warmUpMs;
  const gone = hostStatus === "unreachable";
  const change = (patch: Omit<RowChange, "id" | "expectedVersion" | "because">, because: string, needsDecision = false): SweepAction => ({
    kind: "change",
    because,
    needsDecision,
    change: { id: row.id, expectedVersion: row.version, because, ...patch },
  });

  if (gone && warm && !policy.lostIsNotFailed && row.status !== "lost") {
    return change({ status: "failed", failureCode: "host_lost" }, "the host is unreachable");
  }

  switch (row.status) {
    case "pending":
      return pending();
    case "running":
      return running();
    case "lost":
      if (gone) return { kind: "leave", because: "the host is still unreachable: the outcome stays unknown" };
      if (row.cancelReason !== undefined) return { kind: "cancel", reason: row.cancelReason, because: "the host is back; its cancel is still open" };
      return { kind: "ask", because: "the host is back: asking it what became of the job" };
    case "succeeded":
    case "failed":
    case "cancelled":
    case "superseded":
      return { kind: "leave", because: "terminal" };
  }

  function pending(): SweepAction {
    const late = now >= row.dispatchDeadline;
    if (row.sentAt === undefined || !policy.sentBeforeFailed) {
      if (!late) return { kind: "leave", because: "waiting to be sent" };
      return change({ status: "failed", failureCode: "dispatch_failed" }, "never delivered before its dispatch deadline");
    }
    if (row.cancelReason !== undefined) {
      if (gone && warm) return change({ status: "lost" }, "sent, cancelled, and the host is unreachable: whether it ran is unknown", true);
      return { kind: "cancel", reason: row.cancelReason, because: "waiting for the host to confirm the cancel" };
    }
    if (!late) return { kind: "leave", because: "sent; waiting for the agent's answer, and offered again until it comes" };
    if (gone && warm) return change({ status: "lost" }, "sent, past its dispatch deadline, and the host cannot be asked", true);
    return { kind: "cancel", reason: "dispatch_deadline", because: "past its dispatch deadline: making sure that the host will never run it" };
  }

  function running(): SweepAction {
    if (gone && warm) return change({ status: "lost" }, "the host fell silent: the outcome is unknown");
    const sinceSign = now - Math.max(row.updatedAt, inventory !== undefined && listed(inventory) ? inventory.receivedAt : 0);
    if (sinceSign >= SILENCE_CAP_MS && warm) return change({ status: "lost" }, `no sign of the job for ${seconds(sinceSign)}`, true);
    if (row.cancelReason !== undefined) {
      const asked = row.cancelRequestedAt ?? row.updatedAt;
      if (now - asked > CANCEL_GRACE_MS && hostStatus === "suspect" && warm) {
        return change({ status: "lost" }, "cancel not confirmed in time and the host is silent", true);
      }
      return { kind: "cancel", reason: row.cancelReason, because: "waiting for the host to confirm the cancel" };
    }
    const movedAt = Math.max(row.runningAt ?? now, row.progressAt ?? 0);
    // What an agent says of progress is up to one beat old: that long it may have moved without our knowing.
    const slackMs = row.progress === undefined ? 0 : timings.heartbeatIntervalMs;
    if (now - movedAt > row.timeoutS * 1000 + slackMs) {
      return { kind: "cancel", reason: "timeout", because: row.progress === undefined ? `ran past its limit of ${row.timeoutS} s` : `nothing moved for its limit of ${row.timeoutS} s` };
    }
    if (inventory !== undefined && provesAbsence(inventory)) {
      return { kind: "ask", because: inventory.bootId === row.acceptedBootId ? "the agent no longer lists the job" : "the agent was restarted and does not list the job" };
    }
    return { kind: "leave", because: "running" };
  }

  function listed(beat: JobInventory): boolean {
    return beat.jobIds?.includes(row.id) ?? false;
  }

  /** Absence proves something only if the list is whole and newer than the row's acceptance (rulings 8). */
  function provesAbsence(beat: JobInventory): boolean {
    if (beat.jobIds === undefined || beat.truncated || listed(beat)) return false;
    if (row.acceptedOpSeq !== undefined && beat.opSeq < row.acceptedOpSeq) return false;
    if (row.sentAt !== undefined && beat.receivedAt <= row.sentAt) return false;
    return beat.beats >= 2;
  }
}

/** What a host answered when asked about a job. `silent` covers refusals and time-outs: nothing was learnt. */
export type JobAnswer =
  | { readonly kind: "silent"; readonly because: string }
  | { readonly kind: "unknown" };

/** After a question that was not answered with a report: unknown jobs are sealed with a tombstone before they are closed. */
export function decideAfterAsk(row: LifecycleRow, answer: JobAnswer): SweepAction {
  switch (answer.kind) {
    case "silent":
      return { kind: "leave", because: `asked, not answered: ${answer.because}` };
    case "unknown":
      return row.status === "pending"
        ? { kind: "leave", because: "the agent has not received it yet" }
        : { kind: "cancel", reason: "absent", because: "the agent does not know the job: sealing it with a tombstone" };
  }
}
