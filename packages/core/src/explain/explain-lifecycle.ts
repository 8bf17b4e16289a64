/** Why a lifecycle row is as it is, and what a person can do about it. The same words in API, CLI and dashboard. */
import { FAILURE_MEANINGS, type FailureCode } from "../lifecycle/states.ts";
import { progressWords } from "../lifecycle/progress-words.ts";
import type { LifecycleRow } from "../lifecycle/row.ts";
import { seconds, type HostStatus } from "../liveness/decide-host.ts";
import type { Reason } from "../liveness/decide-health.ts";
import { toIso, type Instant } from "../time.ts";

/** What `explain` answers: one sentence, then its reasons, the most telling first. */
export interface ExplainedState {
  readonly summary: string;
  readonly reasons: readonly Reason[];
}

export interface LifecycleFacts {
  readonly row: LifecycleRow;
  readonly hostName: string;
  readonly hostStatus: HostStatus;
  readonly now: Instant;
}

export function explainLifecycle({ row, hostName, hostStatus, now }: LifecycleFacts): ExplainedState {
  const what = `${row.operation} of ${row.deployment} on ${hostName}`;
  const age = seconds(Math.max(0, now - row.createdAt));
  const wait = `skep lifecycle show ${row.id}`;
  const silent = hostStatus === "suspect" || hostStatus === "unreachable";
  const reasons: Reason[] = [];
  const because = row.because === undefined ? "" : ` (${row.because})`;

  switch (row.status) {
    case "pending":
      if (row.sentAt === undefined) {
        reasons.push({ code: "not_sent", message: `It has not been sent yet${because}.`, next: silent ? `Host ${hostName} is ${hostStatus}: skep explain host ${hostName}.` : "Wait: the dispatcher sends it as soon as the host can take it.", since: row.createdAt });
      } else {
        reasons.push({ code: "not_answered", message: `It was sent and the agent has not answered yet${because}. It may already have started.`, next: `Wait: it is offered again until ${toIso(row.dispatchDeadline)}, and the job id keeps it from running twice.`, since: row.sentAt });
      }
      break;
    case "running": {
      const doing = progressWords(row, now);
      reasons.push({ code: "running", message: `The agent is working on it${doing === undefined ? "" : `: ${doing}`}${because}.`, next: `Wait (it is stopped when nothing moves for ${row.timeoutS} s), or stop it: skep lifecycle cancel ${row.id}.`, since: row.progressAt ?? row.runningAt });
      break;
    }
    case "lost":
      reasons.push({ code: "outcome_unknown", message: `Its outcome is unknown${because}. It may have succeeded, failed, or still be running.`, next: `Bring host ${hostName} back and it will tell. If it never will: skep lifecycle resolve ${row.id}.`, since: row.updatedAt });
      break;
    case "succeeded":
      reasons.push({ code: "succeeded", message: `The agent did it${because}.`, next: `Nothing. What runs now is the host's report: skep explain placement ${row.placementId}.`, since: row.completedAt });
      break;
    case "cancelled":
      reasons.push({ code: "cancelled", message: `It is stopped for certain${because}.`, next: `To try again: skep redeploy ${row.deployment}.`, since: row.completedAt });
      break;
    case "superseded":
      reasons.push({ code: "superseded", message: `A newer request took its place${because}.`, next: `Look at the newer one: skep explain deployment ${row.deployment}.`, since: row.completedAt });
      break;
    case "failed":
      reasons.push(failure(row));
      break;
  }
  if (row.cancelReason !== undefined && row.completedAt === undefined) {
    reasons.push({ code: "cancel_requested", message: `A cancel was asked for (${row.cancelReason}); only the agent's confirmation ends the row.`, next: `Wait for host ${hostName} to confirm: ${wait}.`, since: row.cancelRequestedAt });
  }
  if (silent && row.completedAt === undefined) {
    reasons.push({ code: `host_${hostStatus}`, message: `Its host ${hostName} is ${hostStatus}.`, next: `skep explain host ${hostName}` });
  }
  for (const step of row.steps.filter((item) => !item.ok)) {
    reasons.push({ code: "step_failed", message: `Step ${step.name} failed${step.error === undefined ? "" : `: ${step.error}`}.`, next: `Read its output: skep logs ${row.deployment}.` });
  }
  const state = row.completedAt === undefined ? `${row.status} (${row.phase}) for ${age}` : row.status;
  return { summary: `${what} is ${state}.`, reasons };
}

function failure(row: LifecycleRow): Reason {
  const code = row.failureCode ?? "agent_error";
  const error = row.error === undefined ? "" : ` It said: ${row.error}`;
  return { code, message: `${FAILURE_MEANINGS[code]}${error}`, next: afterFailure(code, row), since: row.completedAt };
}

function afterFailure(code: FailureCode, row: LifecycleRow): string {
  switch (code) {
    case "dispatch_failed":
      return `Bring the host back and try again: skep redeploy ${row.deployment}.`;
    case "agent_error":
    case "interrupted":
      return `Read the output (skep logs ${row.deployment}), correct the cause, then: skep redeploy ${row.deployment}.`;
    case "host_lost":
      return "If the host returns, what it runs is shown as observed; tear it down there if it is no longer wanted.";
    case "timeout":
      return `Give it more time (--timeout) or find what is slow: skep logs ${row.deployment}.`;
    case "rejected":
      return "Correct what the refusal names and deploy again; the same request would be refused again.";
    case "swept_unknown":
      return `Nothing of it runs. Try again: skep redeploy ${row.deployment}.`;
  }
}
