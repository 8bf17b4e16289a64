/**
 * Whether to tell of a difference that nobody is going to repair: once when it appears and once when it is over. What
 * is repaired is told of by the repair itself.
 */
import type { ReconcileCase } from "../ports/store.ts";
import { isHeld } from "../rollout/record.ts";
import { heldBack, isJudgeable } from "./decide-reconcile.ts";
import { differenceWords, differencesOf } from "./differences.ts";

export type Notice = { readonly kind: "differs"; readonly because: string } | { readonly kind: "as_desired" };

/** `placement.reconcileNotBefore` remembers that it was told; a change by an operator forgets it. */
export function decideNotice(item: ReconcileCase): Notice | undefined {
  const { placement, deployment, observed, rollout } = item;
  if (!isJudgeable(item) || observed?.state === "unknown") return undefined;
  // Its rollout tells of it, whatever comes of it.
  if (rollout !== undefined && isHeld(rollout, placement.id)) return undefined;
  const told = placement.reconcileNotBefore !== undefined;
  const difference = differencesOf(placement, observed);
  if (difference === undefined) return told && deployment.reconcile === "report" ? { kind: "as_desired" } : undefined;
  return !told && heldBack(item) !== undefined ? { kind: "differs", because: differenceWords(difference) } : undefined;
}
