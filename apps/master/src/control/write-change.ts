/**
 * Writing a change of a deployment once it is settled: desired state, the rows that begin it, the record of its rollout.
 * The dispatcher and the rollout pass go on from what is committed, so what is not written here is never done.
 */
import { SkepError, type DeploymentRecord, type DesiredState, type FailoverWish, type HostId, type PlacementRequest, type PlacementView, type PlannedPlacement, type Rejection, type RolloutMember, type RolloutWish, type RowOptions, type Spec, type Tx } from "@skep/core";
import type { AcceptedOperation } from "@skep/protocol";
import type { ControlDeps, OperatorContext } from "../ports.ts";
import { openRow, type OpenedRow } from "./open-row.ts";
import { refreshDeployment } from "./outcome.ts";
import { firstWave, isDeferred, isStaying, startRollout, supersedeRollout, type RolloutPlan } from "./start-rollout.ts";

/** Everything a change needs to be written, after all questions are settled. */
export interface Change {
  readonly action: string;
  readonly deployment: DeploymentRecord;
  readonly isNew: boolean;
  readonly generation: number;
  readonly spec: Spec | undefined;
  readonly desired: DesiredState;
  readonly placement: PlacementRequest;
  readonly reconcile: DeploymentRecord["reconcile"];
  readonly placements: readonly PlannedPlacement[];
  readonly views: readonly PlacementView[];
  readonly rejected: readonly Rejection[];
  readonly timeoutS: number | undefined;
  readonly warnings: readonly string[];
  readonly options?: RowOptions | undefined;
  /** The spec before the change, where there is one. */
  readonly before: Spec | undefined;
  /** What the deployment says of its own changes from now on. */
  readonly wish: RolloutWish;
  readonly failover: FailoverWish;
  /** For what runs already; undefined = nothing does, or all of it goes. */
  readonly rollout: RolloutPlan | undefined;
}

/** Under the deployment's lock, in the transaction of the caller. */
export async function writeChange(tx: Tx, deps: ControlDeps, change: Change, context: OperatorContext): Promise<AcceptedOperation> {
  const { deployment, generation } = change;
  if (change.isNew) {
    const outcome = await tx.insertDeployment({ id: deployment.id, name: deployment.name, generation, desired: change.desired, reconcile: change.reconcile, placement: change.placement, rollout: change.wish, failover: change.failover });
    if (outcome === "deployment_exists") throw new SkepError("deployment_exists");
  } else {
    const done = await tx.casDeployment(deployment.id, deployment.version, { generation, desired: change.desired, reconcile: change.reconcile, placement: change.placement, rollout: change.wish, failover: change.failover });
    if (!done) throw new SkepError("request_in_progress", "the deployment changed at the same moment", { retryAfterMs: 100 });
  }
  if (change.spec !== undefined) await tx.insertGeneration({ deploymentId: deployment.id, generation, spec: change.spec, specHash: deps.hash(change.spec) });
  await supersedeRollout(tx, deployment, `${change.action} by ${context.actor}`);
  const { rollout } = change;
  const first = rollout === undefined ? undefined : new Set(firstWave(rollout.policy, change.placements, change.views));
  const deferred = new Set(rollout?.defers === true ? change.placements.filter(isDeferred) : []);
  const rows: { planned: PlannedPlacement; opened: OpenedRow }[] = [];
  for (const planned of change.placements) {
    // What stays changes when its wave comes; until then it stays as it is, and is kept so.
    if (first !== undefined && isStaying(planned) && !first.has(planned.existing.id)) continue;
    // What leaves runs on until all that stay and come have passed.
    if (deferred.has(planned)) continue;
    const opened = await openRow(tx, deps, {
      deployment, planned, generation, timeoutS: change.timeoutS, action: change.action, because: `requested by ${context.actor}`, traceparent: context.traceparent,
      options: planned.row.operation === "mutate" ? boundedOptions(change.rollout, planned.row.baseGeneration) : change.options,
    });
    rows.push({ planned, opened });
  }
  await tx.appendEvent({ kind: `deployment.${change.action}`, severity: "info", message: `${change.action} of ${deployment.name}, generation ${generation}`, deploymentId: deployment.id, data: { generation, placements: change.placements.length } });
  await tx.appendAudit({ actor: context.actor, action: `deployment.${change.action}`, subject: `deployment:${deployment.id}`, outcome: "allowed", requestId: context.requestId, detail: { name: deployment.name, generation } });
  const names = await hostNames(tx, rows.map(({ planned }) => planned.hostId));
  const rolloutId = rollout === undefined || change.spec === undefined ? undefined : await startRollout(tx, deps, {
    deployment, generation, desired: change.desired === "stopped" ? "stopped" : "running", spec: change.spec, specHash: deps.hash(change.spec), plan: rollout, timeoutS: change.timeoutS, views: change.views,
    first: new Map(rows.map(({ opened }) => [opened.placementId, opened])),
    staying: new Set(change.placements.filter(isStaying).map(({ existing }) => existing.id)),
    arriving: rows.filter(({ planned }) => planned.existing === undefined).map(({ planned, opened }): RolloutMember => ({
      placementId: opened.placementId, hostId: planned.hostId, host: names.get(planned.hostId) ?? planned.hostId, state: "open", arriving: true, wave: 1, rowId: opened.rowId,
    })),
    leaving: new Set([...deferred].flatMap(({ existing }) => existing?.id ?? [])),
  });
  await refreshDeployment(tx, deployment.id);
  return {
    deployment_id: deployment.id,
    name: deployment.name,
    generation,
    rollout_id: rolloutId ?? null,
    lifecycle_ids: rows.map(({ opened }) => opened.rowId),
    placements: rows.map(({ planned, opened }) => ({
      placement_id: opened.placementId, host_id: planned.hostId, host: names.get(planned.hostId) ?? planned.hostId, lifecycle_id: opened.rowId, operation: planned.row.operation,
    })),
    warnings: [...change.warnings],
  };
}

async function hostNames(tx: Tx, ids: readonly HostId[]): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  if (ids.length > 20) {
    for (const view of await tx.listHosts({ limit: 10_000 })) names.set(view.host.id, view.host.name);
    return names;
  }
  for (const id of ids) {
    const host = await tx.findHost(id);
    if (host !== undefined) names.set(id, host.name);
  }
  return names;
}

/** A bounded change holds where its base is what the spec was computed from; anywhere else the whole spec must be brought. */
function boundedOptions(rollout: RolloutPlan | undefined, baseGeneration: number | undefined): RowOptions | undefined {
  const { components, patchedGeneration } = rollout ?? {};
  return components === undefined || baseGeneration !== patchedGeneration ? undefined : { components };
}
