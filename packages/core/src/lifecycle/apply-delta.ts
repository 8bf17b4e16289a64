/**
 * What one delta does to one row. Deltas come late, twice, out of order and from the wrong host; each gets exactly
 * one verdict, and a verdict is always acknowledged, so that the agent can forget it (rulings 13).
 */
import type { HostId, PlacementId } from "../ids.ts";
import type { Policy } from "../policy.ts";
import type { Instant } from "../time.ts";
import type { CancelReason, LifecycleRow, RowChange, StepResult } from "./row.ts";
import { isTerminal, type FailureCode, type LifecycleStatus, type Operation } from "./states.ts";
import { isLegal, type Actor } from "./transitions.ts";

export const DELTA_STATUSES = ["running", "succeeded", "failed", "cancelled"] as const;
export type DeltaStatus = (typeof DELTA_STATUSES)[number];

/** The outcome facts of a job, whichever way they came: a delta, the answer to a question, a dispatch's duplicate. */
export interface JobReport {
  readonly status: DeltaStatus;
  readonly placementId?: PlacementId | undefined;
  readonly operation?: Operation | undefined;
  readonly generation?: number | undefined;
  readonly error?: string | undefined;
  readonly errorCode?: string | undefined;
  readonly steps?: readonly StepResult[] | undefined;
  readonly agentCompletedAt?: Instant | undefined;
}

export const DELTA_RESULTS = ["applied", "duplicate", "late", "unknown", "rejected"] as const;
export type DeltaResult = (typeof DELTA_RESULTS)[number];

export type DeltaVerdict =
  | { readonly result: "applied"; readonly change: RowChange; readonly to: LifecycleStatus }
  | { readonly result: "duplicate" | "late" | "unknown" | "rejected"; readonly because: string };

export function applyReport(
  row: LifecycleRow | undefined,
  report: JobReport,
  from: { readonly hostId: HostId; readonly actor: Actor; readonly bootId?: string | undefined },
  policy: Policy,
): DeltaVerdict {
  if (row === undefined) return { result: "unknown", because: "no such lifecycle row" };
  if (row.hostId !== from.hostId) return { result: "rejected", because: "the row belongs to another host" };
  const foreign =
    (report.placementId !== undefined && report.placementId !== row.placementId) ||
    (report.operation !== undefined && report.operation !== row.operation) ||
    (report.generation !== undefined && report.generation !== row.generation);
  if (foreign) return { result: "rejected", because: "placement, operation or generation is not the row's" };

  const to = outcomeOf(report.status, row.cancelReason);
  if (isTerminal(row.status) && policy.compareAndSet) {
    return row.status === to.status
      ? { result: "duplicate", because: `the row already is ${row.status}` }
      : { result: "late", because: `the row ended as ${row.status} before this arrived` };
  }
  if (row.status === "lost" && !policy.lateSuccess) return { result: "late", because: "lost rows take nothing" };
  if (row.status === "running" && to.status === "running") {
    return { result: "duplicate", because: "the row already is running" };
  }
  if (policy.compareAndSet && !isLegal(row.status, to.status, from.actor)) {
    return { result: "rejected", because: `${row.status} → ${to.status} is not ${from.actor}'s to make` };
  }
  const because = whyOf(report, row.cancelReason);
  return {
    result: "applied",
    to: to.status,
    change: {
      id: row.id,
      expectedVersion: row.version,
      status: to.status,
      phase: "working",
      because,
      ...(to.failureCode === undefined ? {} : { failureCode: to.failureCode }),
      ...(report.error === undefined ? {} : { error: report.error }),
      ...(report.steps === undefined ? {} : { steps: report.steps }),
      ...(from.bootId === undefined || row.acceptedBootId !== undefined ? {} : { acceptedBootId: from.bootId }),
      ...(report.agentCompletedAt === undefined ? {} : { agentCompletedAt: report.agentCompletedAt }),
      releaseClaim: true,
    },
  };

  function outcomeOf(status: DeltaStatus, reason: CancelReason | undefined): { status: LifecycleStatus; failureCode?: FailureCode } {
    switch (status) {
      case "running":
      case "succeeded":
        return { status };
      case "failed":
        return { status, failureCode: failureOf(report.errorCode) };
      case "cancelled":
        return confirmedCancel(reason);
    }
  }
}

/** An agent that refused an offered job says so as `rejected:<code>`, for the offer itself has no reply. */
function failureOf(errorCode: string | undefined): FailureCode {
  if (errorCode === "interrupted") return "interrupted";
  return errorCode?.startsWith("rejected:") === true ? "rejected" : "agent_error";
}

/** What a cancel that the agent confirmed is called: cancelled for a person, a failure for the master's own reasons. */
export function confirmedCancel(reason: CancelReason | undefined): { status: LifecycleStatus; failureCode?: FailureCode } {
  switch (reason) {
    case "timeout":
      return { status: "failed", failureCode: "timeout" };
    case "absent":
      return { status: "failed", failureCode: "swept_unknown" };
    case "dispatch_deadline":
      return { status: "failed", failureCode: "dispatch_failed" };
    case "operator":
    case "rollout":
    case undefined:
      return { status: "cancelled" };
  }
}

function whyOf(report: JobReport, reason: CancelReason | undefined): string {
  switch (report.status) {
    case "running":
      return "the agent reports the job running";
    case "succeeded":
      return "the agent reports success";
    case "failed":
      return `the agent reports failure${report.errorCode === undefined ? "" : ` (${report.errorCode})`}`;
    case "cancelled":
      return `the agent confirmed that the job is stopped${reason === undefined ? "" : ` (asked for by: ${reason})`}`;
  }
}
