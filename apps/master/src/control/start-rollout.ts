/** The beginning of a rollout: which of a change's placements go first, and the record that the rest follows from. */
import {
  AT_ONCE, ROLLBACK_WISH, breaksFirst, chooseBase, comesBefore, named, nextWave, rolloutPolicy, uuidv7, waveSize, type DeploymentRecord, type GenerationRecord, type MemberFacts, type PlacementId, type PlacementView,
  type PlannedPlacement, type Reads, type RolloutAction, type RolloutId, type RolloutMember, type RolloutPolicy, type RolloutWish, type Spec, type Tx,
} from "@skep/core";
import type { RolloutRequest } from "@skep/protocol";
import type { ControlDeps } from "../ports.ts";
import type { OpenedRow } from "./open-row.ts";

/** How a change in place goes through its placements; settled with the change itself. */
export interface RolloutPlan {
  readonly action: RolloutAction;
  readonly policy: RolloutPolicy;
  readonly components: readonly string[] | undefined;
  readonly patchedGeneration: number | undefined;
  readonly whole: boolean;
  /** What leaves runs on until the rest has passed; false = at once, because two copies would write one state. */
  readonly defers: boolean;
}

export function wishOf(request: RolloutRequest | undefined): RolloutWish {
  const { max_parallel: maxParallel, min_healthy_s: minHealthyS, progress_deadline_s: progressDeadlineS, canary, auto_promote: autoPromote, auto_rollback: autoRollback } = request ?? {};
  const given = { maxParallel, minHealthyS, progressDeadlineS, canary, autoPromote, autoRollback };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as RolloutWish;
}

/** Only what runs before and after is rolled: a stop and a start have nothing to protect by being slow. */
export function policyOf(action: RolloutAction, before: DeploymentRecord["desired"], after: DeploymentRecord["desired"], stored: RolloutWish, asked: RolloutWish): RolloutPolicy {
  const goesAtOnce = before !== "running" || after !== "running";
  return rolloutPolicy(stored, action === "rollback" ? ROLLBACK_WISH : undefined, asked, goesAtOnce ? AT_ONCE : undefined);
}

export const isStaying = (planned: PlannedPlacement): planned is PlannedPlacement & { readonly existing: NonNullable<PlannedPlacement["existing"]> } =>
  planned.existing !== undefined && planned.desired !== "absent";

/** May run on until everything else has passed; what was to be gone anyway goes at once. */
export const isDeferred = (planned: PlannedPlacement): boolean =>
  planned.existing !== undefined && planned.desired === "absent" && planned.existing.desired !== "absent";

/** Whether old and new copies may run side by side for a while: by the same rule as a move's. */
export async function mayOverlap(reads: Pick<Reads, "findHost">, specs: readonly Spec[], placements: readonly PlannedPlacement[]): Promise<boolean> {
  if (!placements.some(isDeferred)) return true;
  if (specs.some((spec) => breaksFirst(spec, undefined, undefined))) return false;
  if (!specs.some((spec) => breaksFirst(spec, "one machine", "one machine"))) return true;
  const addressesOf = async (some: readonly PlannedPlacement[]): Promise<readonly string[]> => (await Promise.all(some.map(({ hostId }) => reads.findHost(hostId)))).flatMap((host) => host?.address ?? []);
  const arriving = await addressesOf(placements.filter(({ existing }) => existing === undefined));
  return !(await addressesOf(placements.filter(isDeferred))).some((address) => arriving.includes(address));
}

/** Placements that stay, cut into waves: the first one, and everything else in the order it would come. */
export function firstWave(policy: RolloutPolicy, placements: readonly PlannedPlacement[], views: readonly PlacementView[]): readonly PlacementId[] {
  const facts = placements.filter(isStaying).flatMap(({ existing }) => {
    const view = views.find((one) => one.placement.id === existing.id);
    return view === undefined ? [] : [waitingFacts(view)];
  });
  const next = nextWave({ policy, wave: 0 }, facts, true);
  return next.kind === "open" ? next.placements : [];
}

/** For people: who would come when, if every wave passed and nobody went away. */
export function planWaves(policy: RolloutPolicy, placements: readonly PlannedPlacement[], views: readonly PlacementView[]): readonly (readonly PlacementView[])[] {
  const staying = new Set<string>(placements.filter(isStaying).map(({ existing }) => existing.id));
  const ordered = views.filter((view) => staying.has(view.placement.id)).sort((a, b) => comesBefore({ host: a.hostName, hostStatus: a.hostStatus }, { host: b.hostName, hostStatus: b.hostStatus }));
  const waves: (readonly PlacementView[])[] = [];
  for (let at = 0; at < ordered.length; ) {
    const size = waveSize(policy, waves.length + 1, ordered.length);
    waves.push(ordered.slice(at, at + size));
    at += size;
  }
  return waves;
}

const waitingFacts = (view: PlacementView): MemberFacts => ({
  member: { placementId: view.placement.id, hostId: view.placement.hostId, host: view.hostName, state: "waiting" },
  hostStatus: view.hostStatus, appliedGeneration: view.placement.appliedGeneration, observed: view.observed, row: undefined, rollbackRow: undefined, openRow: view.openRow,
});

/** A new change ends the one before: what it has not reached, the new one will. */
export async function supersedeRollout(tx: Tx, deployment: DeploymentRecord, because: string): Promise<void> {
  for (const rollout of await tx.listRollouts({ deploymentId: deployment.id, open: true, limit: 1 })) {
    if (!(await tx.casRollout(rollout.id, rollout.version, { status: "superseded", because }))) continue;
    await tx.appendEvent({ kind: "rollout.superseded", severity: "warning", message: `the rollout of ${deployment.name} generation ${rollout.generation} is superseded: ${because}`, deploymentId: deployment.id, data: { rollout_id: rollout.id, was: rollout.status } });
  }
}

export interface RolloutStart {
  readonly deployment: DeploymentRecord;
  readonly generation: number;
  readonly desired: "running" | "stopped";
  readonly spec: Spec;
  readonly specHash: string;
  readonly plan: RolloutPlan;
  readonly timeoutS: number | undefined;
  readonly views: readonly PlacementView[];
  readonly first: ReadonlyMap<PlacementId, OpenedRow>;
  readonly staying: ReadonlySet<PlacementId>;
  /** New in this change: their rows are open too. */
  readonly arriving: readonly RolloutMember[];
  readonly leaving: ReadonlySet<PlacementId>;
}

/** Writes the record; the first wave's rows are already open. */
export async function startRollout(tx: Tx, deps: Pick<ControlDeps, "clock" | "rng">, start: RolloutStart): Promise<RolloutId> {
  const { deployment, generation, plan } = start;
  const members = start.views.filter((view) => start.staying.has(view.placement.id)).map((view): RolloutMember => {
    const opened = start.first.get(view.placement.id);
    const who = { placementId: view.placement.id, hostId: view.placement.hostId, host: view.hostName };
    return opened === undefined ? { ...who, state: "waiting" } : { ...who, state: "open", wave: 1, rowId: opened.rowId };
  });
  const leaving = start.views.filter((view) => start.leaving.has(view.placement.id)).map((view): RolloutMember => ({ placementId: view.placement.id, hostId: view.placement.hostId, host: view.hostName, state: "leaving" }));
  const baseDesired = deployment.desired === "stopped" ? "stopped" : "running";
  const base = await findBase(tx, deployment, start);
  const sameAgain = base?.specHash === start.specHash && baseDesired === start.desired;
  const id = uuidv7(deps.clock.now(), deps.rng) as RolloutId;
  await tx.insertRollout({
    id, deploymentId: deployment.id, deployment: deployment.name, action: plan.action, status: "running", generation, desired: start.desired,
    // Going back to the very same thing would fail the very same way.
    baseGeneration: sameAgain ? undefined : base?.generation, baseDesired, basePlacement: plan.action === "deploy" && plan.defers ? deployment.placement : undefined, policy: plan.policy, components: plan.components, patchedGeneration: plan.patchedGeneration,
    whole: plan.whole, timeoutS: start.timeoutS, wave: 1, members: [...members, ...start.arriving, ...leaving], because: "the first wave is open",
  });
  const hosts = [...members, ...start.arriving].filter((member) => member.state === "open").map((member) => member.host);
  await tx.appendEvent({
    kind: "rollout.started", severity: "info", deploymentId: deployment.id,
    message: `rollout of ${deployment.name} generation ${generation} to ${members.length + start.arriving.length} placements: the first wave is ${named(hosts)}${leaving.length === 0 ? "" : `; to leave once all have passed: ${named(leaving.map((member) => member.host))}`}`,
    data: { rollout_id: id, generation, wave: 1, placements: members.length + start.arriving.length, leaving: leaving.length },
  });
  return id;
}

async function findBase(tx: Tx, deployment: DeploymentRecord, { views, staying, leaving }: RolloutStart): Promise<GenerationRecord | undefined> {
  const applied = views.filter((view) => staying.has(view.placement.id) || leaving.has(view.placement.id)).map((view) => view.placement.appliedGeneration);
  const earlier = await tx.listRollouts({ deploymentId: deployment.id, newestFirst: true, limit: 100 });
  const generation = chooseBase(applied, earlier);
  return generation === undefined ? undefined : tx.findGeneration(deployment.id, generation);
}
