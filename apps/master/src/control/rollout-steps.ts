/**
 * Writing what a rollout's decision says: rows, placements, the record and the event that tells of it, in the
 * transaction of the caller, who holds the deployment's lock.
 */
import {
  NO_TRACES, SkepError, goesOnTheWayBack, isTerminal, named, countWaves, inWaves, type DeploymentRecord, type DesiredState, type LifecycleRow, type NewEvent, type PlacementId, type RolloutDecision, type RolloutMember, type RolloutPatch,
  type RolloutRecord, type Tx,
} from "@skep/core";
import type { ControlDeps } from "../ports.ts";
import { openRow } from "./open-row.ts";
import { applyChanges, refreshDeployment } from "./outcome.ts";
import { planStep, type RolloutFacts } from "./rollout-facts.ts";

export interface StepEffects {
  readonly opened: number;
  /** Rows that wait for their agent's word that they are stopped. */
  readonly toCancel: readonly LifecycleRow[];
  /** The next decision can be made at once. */
  readonly more: boolean;
}

export interface StepInput {
  readonly rollout: RolloutRecord;
  readonly deployment: DeploymentRecord;
  readonly facts: RolloutFacts;
  readonly decision: RolloutDecision;
}

const NOTHING: StepEffects = { opened: 0, toCancel: [], more: false };

export async function takeStep(tx: Tx, deps: ControlDeps, { rollout, deployment, facts, decision }: StepInput): Promise<StepEffects> {
  const { step, members } = decision;
  const total = inWaves(rollout.members).length;
  switch (step.kind) {
    case "wait":
      await write(tx, rollout, { members, progressed: true });
      return NOTHING;
    case "open_wave": {
      const wave = rollout.wave + 1;
      const opened = await openRows(tx, deps, rollout, facts, step.placements, false, `wave ${wave} of its rollout`);
      await write(tx, rollout, { members: withRows(members, opened, (member, rowId) => ({ ...member, state: "open", wave, rowId })), wave, because: `wave ${wave} is open`, progressed: true });
      await tell(tx, rollout, "rollout.wave", "info", `wave ${wave} of about ${countWaves(rollout.policy, total)} of ${deployment.name} generation ${rollout.generation} is open: ${named(hostsOf(members, step.placements))}; ${step.because}`, { wave });
      await refreshDeployment(tx, deployment.id);
      return { opened: opened.size, toCancel: [], more: false };
    }
    case "pause":
      await write(tx, rollout, { members, status: "paused", because: step.because });
      await tell(tx, rollout, "rollout.paused", "warning", `rollout of ${deployment.name} generation ${rollout.generation} is paused: ${step.because}`);
      return NOTHING;
    case "skip":
      await follow(tx, facts, step.placements, rollout.generation, () => rollout.desired);
      await write(tx, rollout, { members: asSkipped(members, step.placements), because: step.because, progressed: true });
      await refreshDeployment(tx, deployment.id);
      return { ...NOTHING, more: true };
    case "let_go": {
      const opened = await openRows(tx, deps, rollout, facts, step.placements, false, "its rollout has passed everywhere else");
      await write(tx, rollout, { members: withRows(members, opened, (member, rowId) => ({ ...member, rowId })), because: `${step.because}; leaving: ${named(hostsOf(members, step.placements))}`, progressed: true });
      await tell(tx, rollout, "rollout.leaving", "info", `${step.because} in the rollout of ${deployment.name} generation ${rollout.generation}; now torn down: ${named(hostsOf(members, step.placements))}`);
      await refreshDeployment(tx, deployment.id);
      return { opened: opened.size, toCancel: [], more: false };
    }
    case "succeed": {
      const ended = asSkipped(members, step.skip);
      await follow(tx, facts, step.skip, rollout.generation, () => rollout.desired);
      await write(tx, rollout, { members: ended, status: "succeeded", because: step.because });
      await tell(tx, rollout, "rollout.succeeded", step.left.length > 0 || ended.some((member) => member.state === "skipped") ? "warning" : "info", `rollout of ${deployment.name} generation ${rollout.generation} succeeded: ${step.because}`);
      await refreshDeployment(tx, deployment.id);
      return NOTHING;
    }
    case "roll_back":
    case "fail":
      return turnBack(tx, deps, { rollout, deployment, members, because: step.because, back: step.kind === "roll_back" });
    case "take_back": {
      const toCancel = await cancelRows(tx, rollout, facts, step.cancel);
      const opened = await openRows(tx, deps, rollout, facts, step.open, true, `automatic rollback of generation ${rollout.generation}`);
      await write(tx, rollout, { members: withRows(members, opened, (member, rollbackRowId) => ({ ...member, rollback: "open", rollbackRowId })), progressed: true });
      await refreshDeployment(tx, deployment.id);
      return { opened: opened.size, toCancel, more: toCancel.length < step.cancel.length };
    }
    case "end_rollback": {
      const generation = rollout.rollbackGeneration ?? rollout.generation;
      const behind = facts.members.filter(({ member }) => facts.views.get(member.placementId)?.placement.generation !== generation).map(({ member }) => member.placementId);
      await follow(tx, facts, behind, generation, (member) => (goesOnTheWayBack(rollout, member) ? "absent" : rollout.baseDesired));
      const because = `${rollout.because}; ${step.because}`;
      await write(tx, rollout, { members, status: step.status, because });
      await tell(tx, rollout, `rollout.${step.status}`, step.status === "failed" ? "error" : "warning", `rollout of ${deployment.name} generation ${rollout.generation} ${step.status === "failed" ? "failed" : "was rolled back"}: ${because}`, { rollback_generation: generation });
      await refreshDeployment(tx, deployment.id, because);
      return NOTHING;
    }
  }
}

/** The end of the going forward: back to the base as a new generation, or as it stands where there is none or nobody wants it. */
export async function turnBack(
  tx: Tx, deps: ControlDeps,
  { rollout, deployment, members, because, back }: { readonly rollout: RolloutRecord; readonly deployment: DeploymentRecord; readonly members: readonly RolloutMember[]; readonly because: string; readonly back: boolean },
): Promise<StepEffects> {
  const failures = members.filter((member) => member.state === "refused").map(({ host, placementId, rowId, because: why }) => ({ host, placement_id: placementId, lifecycle_id: rowId ?? null, because: why ?? null }));
  const base = back && rollout.baseGeneration !== undefined ? await tx.findGeneration(deployment.id, rollout.baseGeneration) : undefined;
  if (base === undefined) {
    const kept = hostsOf(members, members.filter((member) => member.state === "leaving").map((member) => member.placementId));
    await write(tx, rollout, { members, status: "failed", because });
    await tell(tx, rollout, "rollout.failed", "error", `rollout of ${deployment.name} generation ${rollout.generation} failed: ${because}; what it has not reached stays as it is${kept.length === 0 ? "" : `, what was to leave runs on (${named(kept)})`}, and what was refused is not tried again by itself`, { failures });
    await refreshDeployment(tx, deployment.id, because);
    return NOTHING;
  }
  const generation = deployment.generation + 1;
  await tx.insertGeneration({ deploymentId: deployment.id, generation, spec: base.spec, specHash: deps.hash(base.spec) });
  if (!(await tx.casDeployment(deployment.id, deployment.version, { generation, desired: rollout.baseDesired, lastError: because, ...(rollout.basePlacement === undefined ? {} : { placement: rollout.basePlacement }) }))) throw new SkepError("request_in_progress", "the deployment changed at the same moment");
  await write(tx, rollout, { members, status: "rolling_back", rollbackGeneration: generation, because, progressed: true });
  await tell(tx, rollout, "rollout.rolling_back", "error", `rollout of ${deployment.name} generation ${rollout.generation} goes back to the spec of generation ${base.generation}, as generation ${generation}: ${because}`, { failures, base_generation: base.generation, rollback_generation: generation });
  await refreshDeployment(tx, deployment.id, because);
  return { ...NOTHING, more: true };
}

async function write(tx: Tx, rollout: RolloutRecord, patch: RolloutPatch): Promise<void> {
  if (!(await tx.casRollout(rollout.id, rollout.version, patch))) throw new SkepError("request_in_progress", "the rollout moved at the same moment", { retryAfterMs: 100 });
}

const tell = (tx: Tx, rollout: RolloutRecord, kind: string, severity: NewEvent["severity"], message: string, data: Record<string, unknown> = {}): Promise<void> =>
  tx.appendEvent({ kind, severity, message, deploymentId: rollout.deploymentId, data: { rollout_id: rollout.id, generation: rollout.generation, ...data } });

const hostsOf = (members: readonly RolloutMember[], ids: readonly PlacementId[]): string[] => members.filter((member) => ids.includes(member.placementId)).map((member) => member.host);

/** The trace of the request that began it all, by way of the rows of the first wave. */
async function originOf(tx: Tx, rollout: RolloutRecord): Promise<string | undefined> {
  const rowId = rollout.members.find((member) => member.rowId !== undefined)?.rowId;
  return rowId === undefined ? undefined : (await tx.findLifecycle(rowId))?.traceparent;
}

async function openRows(tx: Tx, deps: ControlDeps, rollout: RolloutRecord, { views }: RolloutFacts, ids: readonly PlacementId[], back: boolean, because: string): Promise<ReadonlyMap<PlacementId, LifecycleRow["id"]>> {
  const generation = back ? (rollout.rollbackGeneration ?? rollout.generation) : rollout.generation;
  const opened = new Map<PlacementId, LifecycleRow["id"]>();
  const { tracer = NO_TRACES } = deps;
  const span = tracer.startSpan("rollout step", { parent: await originOf(tx, rollout), attributes: { deployment: rollout.deployment, generation, status: back ? "rollback" : "wave" } });
  for (const id of ids) {
    const { planned, options } = planStep(rollout, views.get(id)!, back);
    const { rowId } = await openRow(tx, deps, { deployment: { id: rollout.deploymentId, name: rollout.deployment }, planned, generation, timeoutS: rollout.timeoutS, options, action: back ? "the rollback" : rollout.action, because, traceparent: span.traceparent });
    opened.set(id, rowId);
  }
  span.end();
  return opened;
}

const withRows = (members: readonly RolloutMember[], opened: ReadonlyMap<PlacementId, LifecycleRow["id"]>, change: (member: RolloutMember, rowId: LifecycleRow["id"]) => RolloutMember): readonly RolloutMember[] =>
  members.map((member) => {
    const rowId = opened.get(member.placementId);
    return rowId === undefined ? member : change(member, rowId);
  });

const asSkipped = (members: readonly RolloutMember[], ids: readonly PlacementId[]): readonly RolloutMember[] =>
  members.map((member) => (ids.includes(member.placementId) ? { ...member, state: "skipped", because: "its host was away when its turn came" } : member));

/** No row, only the wish: whoever is away follows by reconcile once it is back. */
async function follow(tx: Tx, { members, views }: RolloutFacts, ids: readonly PlacementId[], generation: number, desired: (member: RolloutMember) => DesiredState): Promise<void> {
  for (const { member } of members.filter((item) => ids.includes(item.member.placementId))) {
    const placement = views.get(member.placementId)?.placement;
    if (placement === undefined) continue;
    const moved = await tx.casPlacement(placement.id, placement.version, { generation, desired: desired(member), reconcileAttempts: 0, reconcileNotBefore: null });
    if (!moved) throw new SkepError("request_in_progress", "the placement changed at the same moment");
  }
}

/** What was never sent ends here; everything else ends when its agent says so. Returns whom to tell. */
async function cancelRows(tx: Tx, rollout: RolloutRecord, { views }: RolloutFacts, ids: readonly PlacementId[]): Promise<readonly LifecycleRow[]> {
  const toTell: LifecycleRow[] = [];
  for (const row of ids.flatMap((id) => views.get(id)?.openRow ?? [])) {
    if (isTerminal(row.status)) continue;
    if (row.status === "pending" && row.sentAt === undefined) {
      await applyChanges(tx, [{ row, needsDecision: false, change: { id: row.id, expectedVersion: row.version, status: "cancelled", cancelReason: "rollout", because: `never sent: its rollout goes back from generation ${rollout.generation}` } }]);
      continue;
    }
    const marked = await tx.requestCancel(row.id, row.version, "rollout");
    if (marked !== undefined) toTell.push(marked);
  }
  return toTell;
}
