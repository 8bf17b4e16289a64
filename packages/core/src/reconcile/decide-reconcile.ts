/**
 * Whether a placement that is not as desired gets another try. Retries back off and end in a `crash_loop` that a
 * person must look at; what a person cancelled, or the agent refused for good, is not retried behind their back.
 */
import type { Operation } from "../lifecycle/states.ts";
import type { ReconcileCase } from "../ports/store.ts";
import { RECONCILE_CAP_MS, RECONCILE_MAX_ATTEMPTS, reconcileDelayMs } from "../retry/backoff.ts";
import { addMs, type Instant } from "../time.ts";

export type ReconcileDecision =
  | { readonly kind: "leave"; readonly because: string }
  | { readonly kind: "retry"; readonly operation: Operation; readonly attempts: number; readonly notBefore: Instant; readonly because: string }
  | { readonly kind: "wait"; readonly attempts: number; readonly notBefore: Instant; readonly because: string }
  | { readonly kind: "give_up"; readonly attempts: number; readonly because: string };

export function decideReconcile(item: ReconcileCase, now: Instant): ReconcileDecision {
  const { placement, deployment, hostStatus, observed, lastRow } = item;
  const leave = (because: string): ReconcileDecision => ({ kind: "leave", because });
  if (deployment.reconcile !== "auto") return leave("the deployment only reports drift");
  if (hostStatus !== "active") return leave(`its host is ${hostStatus}`);
  if (lastRow !== undefined && (lastRow.status === "pending" || lastRow.status === "running" || lastRow.status === "lost")) return leave("an operation is open");
  if (lastRow?.status === "cancelled") return leave("the last operation was cancelled by an operator");
  if (lastRow?.failureCode === "rejected") return leave("the agent refused the last operation; the same again would be refused again");
  if (observed === undefined) return leave("not observed yet");
  // An observation from before the last operation ended says nothing about its result.
  if (lastRow?.completedAt !== undefined && observed.observedAt <= lastRow.completedAt) return leave("not observed since the last operation ended");
  const drift = driftOf(item);
  if (drift === undefined) return leave("as desired");

  if (placement.reconcileAttempts > RECONCILE_MAX_ATTEMPTS) return leave("given up (crash_loop): the next operator's change starts afresh");
  const quiet = placement.reconcileNotBefore !== undefined && now - placement.reconcileNotBefore > RECONCILE_CAP_MS;
  const attempts = quiet ? 0 : placement.reconcileAttempts;
  if (attempts >= RECONCILE_MAX_ATTEMPTS) return { kind: "give_up", attempts: attempts + 1, because: `crash_loop: ${drift.because}, and ${attempts} retries did not help` };
  const due = quiet ? undefined : placement.reconcileNotBefore;
  if (due === undefined) return { kind: "wait", attempts, notBefore: addMs(now, reconcileDelayMs(attempts)), because: drift.because };
  if (now < due) return leave(`next try at ${due}`);
  return { kind: "retry", operation: drift.operation, attempts: attempts + 1, notBefore: addMs(now, reconcileDelayMs(attempts + 1)), because: drift.because };
}

function driftOf({ placement, observed }: ReconcileCase): { operation: Operation; because: string } | undefined {
  if (observed === undefined) return undefined;
  switch (placement.desired) {
    case "absent":
      return observed.state === "absent" ? { operation: "teardown", because: "the teardown was not recorded as done" } : { operation: "teardown", because: `it should be gone and is ${observed.state}` };
    case "stopped":
      return observed.state === "running" || observed.state === "degraded" ? { operation: "deploy", because: `it should be stopped and is ${observed.state}` } : undefined;
    case "running":
      if (observed.state === "failed" || observed.state === "stopped" || observed.state === "absent") return { operation: "deploy", because: `it should be running and is ${observed.state}` };
      if (observed.state === "running" && observed.generation < placement.generation) return { operation: "deploy", because: `generation ${observed.generation} runs, ${placement.generation} is wanted` };
      return undefined;
  }
}
