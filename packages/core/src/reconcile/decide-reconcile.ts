/**
 * Whether a placement that is not as desired gets another try. Retries back off and end in a `crash_loop` that a
 * person must look at; what a person cancelled, or the agent refused for good, is not retried behind their back.
 */
import { isTerminal, type Operation } from "../lifecycle/states.ts";
import type { ReconcileCase } from "../ports/store.ts";
import { RECONCILE_CAP_MS, RECONCILE_MAX_ATTEMPTS, reconcileDelayMs } from "../retry/backoff.ts";
import { isHeld, refusalOf, type RolloutRecord } from "../rollout/record.ts";
import { addMs, type Instant } from "../time.ts";
import { differenceWords, differencesOf } from "./differences.ts";

export type ReconcileDecision =
  | { readonly kind: "leave"; readonly because: string }
  | { readonly kind: "retry"; readonly operation: Operation; readonly attempts: number; readonly notBefore: Instant; readonly because: string }
  | { readonly kind: "wait"; readonly attempts: number; readonly notBefore: Instant; readonly because: string }
  | { readonly kind: "give_up"; readonly attempts: number; readonly because: string };

type Facts = Pick<ReconcileCase, "placement" | "hostStatus" | "observed" | "lastRow"> & { readonly deployment: Pick<ReconcileCase["deployment"], "reconcile">; readonly rollout: Pick<RolloutRecord, "status" | "members" | "generation"> | undefined };

/** Why nobody repairs it, however it differs; undefined = the reconciler may. */
export function heldBack({ placement, deployment, lastRow, rollout }: Facts): string | undefined {
  if (deployment.reconcile !== "auto") return "the deployment only reports drift";
  if (rollout !== undefined && isHeld(rollout, placement.id)) return "its rollout is open and decides about it";
  const refusal = rollout === undefined ? undefined : refusalOf(rollout, placement);
  if (refusal !== undefined) return `the gate of its rollout refused generation ${placement.generation}: ${refusal}`;
  if (lastRow?.status === "cancelled" && lastRow.cancelReason !== "rollout") return "the last operation was cancelled by an operator";
  if (lastRow?.failureCode === "rejected") return "the agent refused the last operation; the same again would be refused again";
  return undefined;
}

/** What is seen may be held against what is desired: somebody looked, since the last operation ended, and none is open. */
export const isJudgeable = ({ hostStatus, observed, lastRow }: Facts): boolean =>
  hostStatus === "active" && observed !== undefined && (lastRow === undefined || (isTerminal(lastRow.status) && (lastRow.completedAt === undefined || observed.observedAt > lastRow.completedAt)));

export function decideReconcile(item: Facts, now: Instant): ReconcileDecision {
  const { placement, hostStatus, observed, lastRow } = item;
  const leave = (because: string): ReconcileDecision => ({ kind: "leave", because });
  const held = heldBack(item);
  if (held !== undefined) return leave(held);
  if (hostStatus !== "active") return leave(`its host is ${hostStatus}`);
  if (lastRow !== undefined && (lastRow.status === "pending" || lastRow.status === "running" || lastRow.status === "lost")) return leave("an operation is open");
  if (observed === undefined) return leave("not observed yet");
  // An observation from before the last operation ended says nothing about its result.
  if (lastRow?.completedAt !== undefined && observed.observedAt <= lastRow.completedAt) return leave("not observed since the last operation ended");
  if (observed.state === "unknown") return leave("its host cannot look at it");
  const difference = differencesOf(placement, observed);
  if (difference === undefined) return leave("as desired");
  const drift = { operation: difference.operation, because: differenceWords(difference) };

  if (placement.reconcileAttempts > RECONCILE_MAX_ATTEMPTS) return leave("given up (crash_loop): the next operator's change starts afresh");
  const quiet = placement.reconcileNotBefore !== undefined && now - placement.reconcileNotBefore > RECONCILE_CAP_MS;
  const attempts = quiet ? 0 : placement.reconcileAttempts;
  if (attempts >= RECONCILE_MAX_ATTEMPTS) return { kind: "give_up", attempts: attempts + 1, because: `crash_loop: ${drift.because}, and ${attempts} retries did not help` };
  const due = quiet ? undefined : placement.reconcileNotBefore;
  if (due === undefined) return { kind: "wait", attempts, notBefore: addMs(now, reconcileDelayMs(attempts)), because: drift.because };
  if (now < due) return leave(`next try at ${due}`);
  return { kind: "retry", operation: drift.operation, attempts: attempts + 1, notBefore: addMs(now, reconcileDelayMs(attempts + 1)), because: drift.because };
}
