/** What a rollout's decision is made from, read in one place for the pass, for people who ask, and for `explain`. */
import { decideRollout, goesOnTheWayBack, isOpenRollout, planDeploy, planMutate, planTeardown, type MemberFacts, type PlacementView, type PlannedPlacement, type Policy, type Reads, type RolloutRecord, type RowOptions } from "@skep/core";

export interface RolloutFacts {
  readonly members: readonly MemberFacts[];
  readonly views: ReadonlyMap<string, PlacementView>;
}

/** Members whose placement is gone are left out: they are nobody's business any more. */
export async function loadFacts(reads: Pick<Reads, "listPlacements" | "listLifecycle">, rollout: RolloutRecord): Promise<RolloutFacts> {
  const views = new Map<string, PlacementView>((await reads.listPlacements({ deploymentId: rollout.deploymentId })).map((view) => [view.placement.id, view]));
  const ids = rollout.members.flatMap((member) => [
    ...((member.state === "open" || member.state === "leaving") && member.rowId !== undefined ? [member.rowId] : []),
    ...(member.rollback === "open" && member.rollbackRowId !== undefined ? [member.rollbackRowId] : []),
  ]);
  const rows = new Map((ids.length === 0 ? [] : await reads.listLifecycle({ ids, limit: ids.length })).map((row) => [row.id, row]));
  const members = rollout.members.flatMap((member): MemberFacts[] => {
    const view = views.get(member.placementId);
    if (view === undefined) return [];
    return [{
      member, hostStatus: view.hostStatus, appliedGeneration: view.placement.appliedGeneration, observed: view.observed, openRow: view.openRow,
      row: member.rowId === undefined ? undefined : rows.get(member.rowId), rollbackRow: member.rollbackRowId === undefined ? undefined : rows.get(member.rollbackRowId),
    }];
  });
  return { members, views };
}

/** What an open rollout waits for, as it is asked; undefined once it has ended. Changes nothing. */
export async function waitingFor(reads: Pick<Reads, "now" | "listPlacements" | "listLifecycle">, rollout: RolloutRecord | undefined, policy: Policy): Promise<string | undefined> {
  if (rollout === undefined || !isOpenRollout(rollout.status)) return undefined;
  const { members } = await loadFacts(reads, rollout);
  return decideRollout(rollout, members, await reads.now(), policy).step.because;
}

/** One placement's step towards the rollout's generation, or back: planned from what is known of it now. */
export function planStep(rollout: RolloutRecord, view: PlacementView, back: boolean): { readonly planned: PlannedPlacement; readonly options: RowOptions | undefined } {
  const desired = back ? rollout.baseDesired : rollout.desired;
  // Going back to a base that other generations are mixed with takes the whole spec: the bounded change is only undone where it was made.
  const whole = rollout.whole || (back && (rollout.components === undefined || rollout.baseGeneration !== rollout.patchedGeneration));
  const calm: PlacementView = view.openRow?.status === "lost" ? view : { ...view, openRow: undefined };
  const member = rollout.members.find((one) => one.placementId === view.placement.id);
  const goes = member !== undefined && (back ? goesOnTheWayBack(rollout, member) : member.state === "leaving");
  const plan = goes ? planTeardown([calm]) : whole ? planDeploy([calm], [view.placement.hostId], desired) : planMutate([calm], desired);
  const planned = plan.kind === "plan" ? plan.placements[0]! : undefined;
  if (planned === undefined) throw new Error("a placement without an open row can always be planned");
  const bases = back ? [rollout.patchedGeneration, rollout.generation] : [rollout.patchedGeneration];
  const bounded = rollout.components !== undefined && planned.row.operation === "mutate" && bases.includes(planned.row.baseGeneration);
  return { planned, options: bounded ? { components: rollout.components } : undefined };
}
