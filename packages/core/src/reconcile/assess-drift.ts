/** What is being done about a placement that differs: the drift list's and explain's view of the reconciler's mind. */
import { RECONCILE_MAX_ATTEMPTS } from "../retry/backoff.ts";
import type { Instant } from "../time.ts";
import { decideReconcile, heldBack } from "./decide-reconcile.ts";
import { differencesOf, type Difference } from "./differences.ts";

export const DRIFT_ACTIONS = ["repair", "report_only", "given_up"] as const;
export type DriftAction = (typeof DRIFT_ACTIONS)[number];

export interface DriftAssessment extends Difference {
  readonly action: DriftAction;
  /** Of `repair`: not before this. */
  readonly repairAt: Instant | undefined;
  /** Why that, in words. */
  readonly because: string;
}

export type DriftFacts = Parameters<typeof decideReconcile>[0];

/** undefined = as desired, or under way, or not known. */
export function assessDrift(item: DriftFacts, now: Instant): DriftAssessment | undefined {
  const difference = differencesOf(item.placement, item.observed);
  if (difference === undefined) return undefined;
  const { reconcileAttempts, reconcileNotBefore } = item.placement;
  const reported = (because: string): DriftAssessment => ({ ...difference, action: "report_only", repairAt: undefined, because });
  const repair = (at: Instant, attempt: number): DriftAssessment => ({ ...difference, action: "repair", repairAt: at, because: `try ${attempt} of ${RECONCILE_MAX_ATTEMPTS}` });
  if (item.hostStatus !== "active") return reported(`its host is ${item.hostStatus}: what it last reported may no longer be so`);
  const held = heldBack(item);
  if (held !== undefined) return reported(held);
  if (reconcileAttempts > RECONCILE_MAX_ATTEMPTS) {
    return { ...difference, action: "given_up", repairAt: undefined, because: `crash_loop: ${RECONCILE_MAX_ATTEMPTS} retries did not help; the next operator's change starts afresh` };
  }
  const decision = decideReconcile(item, now);
  switch (decision.kind) {
    case "wait":
      return repair(decision.notBefore, decision.attempts + 1);
    case "retry":
      return repair(now, decision.attempts);
    case "give_up":
      return { ...difference, action: "given_up", repairAt: undefined, because: decision.because };
    case "leave":
      return reconcileNotBefore !== undefined && reconcileNotBefore > now ? repair(reconcileNotBefore, reconcileAttempts + 1) : undefined;
  }
}
