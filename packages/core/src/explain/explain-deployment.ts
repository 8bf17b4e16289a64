/** Why a deployment's status is what it is: its placements that are not as desired, each with its own reasons. */
import { visiblePlacement } from "../deploy/visible-state.ts";
import type { LifecycleRow } from "../lifecycle/row.ts";
import type { Reason } from "../liveness/decide-health.ts";
import type { DeploymentRecord } from "../ports/records.ts";
import type { PlacementView } from "../ports/store.ts";
import type { MoveRecord } from "../moves/record.ts";
import type { Rejection } from "../placement/place.ts";
import type { RolloutRecord } from "../rollout/record.ts";
import type { Instant } from "../time.ts";
import type { ExplainedState } from "./explain-lifecycle.ts";
import { explainMoves } from "./explain-moves.ts";
import { explainPlacement } from "./explain-placement.ts";
import { explainRollout } from "./explain-rollout.ts";

export interface DeploymentExplainFacts {
  readonly deployment: DeploymentRecord;
  /** Those that are not removed. */
  readonly placements: readonly PlacementView[];
  /** Newest rows of the deployment, newest first. */
  readonly rows: readonly LifecycleRow[];
  readonly rollout: RolloutRecord | undefined;
  /** What the open rollout waits for, as just decided. */
  readonly waitingFor: string | undefined;
  /** Open ones, each with what it waits for. */
  readonly moves: readonly MoveRecord[];
  /** Hosts of its placements that do not meet its constraints. */
  readonly misplaced: readonly Rejection[];
  readonly now: Instant;
}

/** More than a person reads; the rest is counted and said. */
const MAX_EXPLAINED = 10;

export function explainDeployment({ deployment, placements, rows, rollout, waitingFor, moves, misplaced, now }: DeploymentExplainFacts): ExplainedState {
  const { name, desired } = deployment;
  if (deployment.deletedAt !== undefined) {
    return { summary: `${name} is torn down.`, reasons: [{ code: "torn_down", message: "Every placement was torn down.", next: "Deploy it again under the same name if you want it back.", since: deployment.deletedAt }] };
  }
  const off = placements.filter((view) => visiblePlacement(view).state !== desired || view.openRow !== undefined || view.hostStatus !== "active");
  const reasons: Reason[] = [...explainRollout(rollout, deployment, waitingFor), ...explainMoves(moves)];
  for (const { host, because } of misplaced.slice(0, MAX_EXPLAINED)) {
    reasons.push({ code: "constraint_not_met", message: `It is on ${host}, which does not meet its constraints: ${because}. Nothing moves by itself for that.`, next: `Place it anew: skep deploy -f FILE --replace, or empty the host: skep host drain ${host}.` });
  }
  for (const view of off.slice(0, MAX_EXPLAINED)) {
    const lastRow = rows.find((row) => row.placementId === view.placement.id);
    const explained = explainPlacement({ view, lastRow, reconcile: deployment.reconcile, rollout, now });
    reasons.push(...explained.reasons.map((reason) => ({ ...reason, message: `${view.hostName}: ${reason.message}` })));
  }
  if (off.length > MAX_EXPLAINED) {
    reasons.push({ code: "more", message: `${off.length - MAX_EXPLAINED} more placements are not as desired.`, next: `List them: GET /v1/placements?deployment=${name}.` });
  }
  if (placements.length === 0) reasons.push({ code: "no_placements", message: "It has no placements.", next: `Deploy it again with hosts or replicas: skep deploy -f FILE --replace.` });
  if (reasons.length === 0) reasons.push({ code: "as_desired", message: `All ${placements.length} placements are ${desired}, generation ${deployment.generation}.`, next: "Nothing.", since: deployment.updatedAt });
  const error = deployment.lastError === undefined ? "" : ` Last error: ${deployment.lastError}`;
  return { summary: `${name} is ${deployment.status}: ${placements.length - off.length} of ${placements.length} placements are settled and as desired (${desired}).${error}`, reasons };
}
