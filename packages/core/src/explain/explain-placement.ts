/** Why a placement shows the state it shows: desired beside observed, the host's word, and the row that is open. */
import { visiblePlacement } from "../deploy/visible-state.ts";
import type { LifecycleRow } from "../lifecycle/row.ts";
import { seconds } from "../liveness/decide-host.ts";
import type { Reason } from "../liveness/decide-health.ts";
import type { ReconcileMode } from "../ports/records.ts";
import type { PlacementView } from "../ports/store.ts";
import { assessDrift, type DriftAssessment } from "../reconcile/assess-drift.ts";
import { differenceWords } from "../reconcile/differences.ts";
import type { RolloutRecord } from "../rollout/record.ts";
import { RECONCILE_MAX_ATTEMPTS } from "../retry/backoff.ts";
import type { Instant } from "../time.ts";
import { explainLifecycle, type ExplainedState } from "./explain-lifecycle.ts";
import { explainMember } from "./explain-rollout.ts";

export interface PlacementExplainFacts {
  readonly view: PlacementView;
  /** The newest row of this placement, open or not. */
  readonly lastRow: LifecycleRow | undefined;
  readonly reconcile: ReconcileMode;
  /** The newest of its deployment. */
  readonly rollout: RolloutRecord | undefined;
  readonly now: Instant;
}

export function explainPlacement({ view, lastRow, reconcile, rollout, now }: PlacementExplainFacts): ExplainedState {
  const { placement, observed, openRow, hostName, hostStatus } = view;
  const { state, because } = visiblePlacement({ placement, observed, hostStatus, openRow });
  const reasons: Reason[] = [];
  if (placement.removedAt !== undefined) {
    return { summary: `${placement.deployment} on ${hostName} is gone: ${because}.`, reasons: [{ code: "removed", message: "Its teardown has ended; nothing of it is kept but history.", next: "Nothing.", since: placement.removedAt }] };
  }
  if (hostStatus === "suspect" || hostStatus === "unreachable" || hostStatus === "decommissioned") {
    reasons.push({ code: `host_${hostStatus}`, message: `Its host ${hostName} is ${hostStatus}: what it last reported may no longer be so.`, next: `skep explain host ${hostName}` });
  }
  reasons.push(...explainMember(rollout, placement));
  const row = openRow ?? (lastRow?.status === "failed" || lastRow?.status === "cancelled" ? lastRow : undefined);
  if (row !== undefined) reasons.push(...explainLifecycle({ row, hostName, hostStatus, now }).reasons);
  if (observed === undefined) {
    reasons.push({ code: "not_observed", message: "The host has not reported on it yet.", next: "Wait for its next heartbeat." });
  } else {
    for (const component of observed.components.filter((item) => item.error !== undefined || item.state === "failed" || item.state === "backoff" || item.state === "unhealthy")) {
      reasons.push({ code: `component_${component.state}`, message: `Component ${component.name} is ${component.state}${component.restarts > 0 ? ` after ${component.restarts} restarts` : ""}${component.error === undefined ? "" : `: ${component.error}`}.`, next: `skep logs ${placement.deployment} --host ${hostName} --component ${component.name}`, since: observed.observedAt });
    }
    if (observed.generation !== placement.generation) {
      reasons.push({ code: "generation_drift", message: `Generation ${observed.generation} is there; generation ${placement.generation} is wanted.`, next: openRow === undefined ? `skep redeploy ${placement.deployment}` : "Wait for the open operation.", since: observed.observedAt });
    }
  }
  // What died or is an older generation has its own reason above; what was changed behind our back has none yet.
  const changed = openRow === undefined && observed?.components.some((component) => (component.drift?.length ?? 0) > 0);
  const drift = changed === true ? assessDrift({ placement, hostStatus, observed, lastRow, rollout, deployment: { reconcile } }, now) : undefined;
  if (drift !== undefined) reasons.push({ code: "drift", message: `It differs from what is desired: ${differenceWords(drift)}.`, next: driftNext(drift, placement.deployment, now), since: observed?.changedAt });
  if (openRow === undefined && state !== placement.desired) reasons.push(...retries(view, reconcile, now));
  if (reasons.length === 0) {
    reasons.push({ code: "as_desired", message: `It is as desired: ${placement.desired}.`, next: "Nothing.", since: observed?.observedAt });
  }
  return { summary: `${placement.deployment} on ${hostName} is ${state}: ${because}. Desired: ${placement.desired}, generation ${placement.generation}.`, reasons };
}

function driftNext(drift: DriftAssessment, deployment: string, now: Instant): string {
  switch (drift.action) {
    case "repair":
      return `Wait: it is repaired ${drift.repairAt === undefined || drift.repairAt <= now ? "now" : `in ${seconds(drift.repairAt - now)}`} (${drift.because}).`;
    case "report_only":
      return `It is reported only: ${drift.because}. To repair it: skep redeploy ${deployment}.`;
    case "given_up":
      return `Given up: ${drift.because}. skep redeploy ${deployment} starts afresh.`;
  }
}

function retries({ placement }: PlacementView, reconcile: ReconcileMode, now: Instant): Reason[] {
  if (reconcile === "report") {
    return [{ code: "reconcile_off", message: "The deployment only reports drift (reconcile: report); nothing is retried.", next: `To apply it again: skep redeploy ${placement.deployment}.` }];
  }
  if (placement.reconcileAttempts > RECONCILE_MAX_ATTEMPTS) {
    return [{ code: "crash_loop", message: `It was retried ${RECONCILE_MAX_ATTEMPTS} times without success and is not retried any more.`, next: `Find the cause in skep logs ${placement.deployment}, then deploy, mutate or redeploy: that starts afresh.` }];
  }
  if (placement.reconcileNotBefore !== undefined && placement.reconcileNotBefore > now) {
    return [{ code: "retry_scheduled", message: `Retry ${placement.reconcileAttempts + 1} of ${RECONCILE_MAX_ATTEMPTS} is due in ${seconds(placement.reconcileNotBefore - now)}.`, next: `Wait, or now: skep redeploy ${placement.deployment}.` }];
  }
  return [];
}
