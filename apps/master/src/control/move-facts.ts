/** What decisions about moves and drains are made from, read in one place for the pass and for people who ask. */
import {
  MAX_MOVES_OF_DEPLOYMENT, MAX_MOVES_OF_FLEET, decideMove, isActiveMove, latest, place, type Candidate, type DrainFacts, type DrainPlacement, type DrainRecord, type HostId, type HostView,
  type LifecycleRow, type MoveFacts, type MoveRecord, type MoveSide, type PlacementView, type Reads,
} from "@skep/core";
import { candidateOf, candidates, preferredOf } from "./scheduling.ts";

/** More open moves than any fleet has at once: a rebalance leaves as many waiting as it likes. */
const ALL = 10_000;
/** How far back the newest row of a placement is looked for, and the last end of an operation on a host. */
const ROWS = 200;
const HOST_ROWS = 500;

type MoveReads = Pick<Reads, "now" | "findDeployment" | "findGeneration" | "findHostView" | "listPlacements" | "listLifecycle" | "listRollouts" | "listMoves">;
type DrainReads = MoveReads & Pick<Reads, "listHosts">;

export interface LoadedMove {
  readonly facts: MoveFacts;
  /** A free one of the fleet's slots; undefined = there is none. */
  readonly slot: number | undefined;
}

export async function loadMove(reads: MoveReads, move: MoveRecord): Promise<LoadedMove> {
  const deployment = await reads.findDeployment(move.deploymentId);
  const views = await reads.listPlacements({ deploymentId: move.deploymentId });
  const side = async (id: string | undefined): Promise<MoveSide | undefined> => {
    const view = views.find((one) => one.placement.id === id);
    return view && { view, lastRow: await lastRowOf(reads, view) };
  };
  const others = (await reads.listMoves({ open: true, limit: ALL })).filter((one) => one.id !== move.id && isActiveMove(one.status));
  const taken = new Set(others.map((one) => one.slot));
  const slot = Array.from({ length: MAX_MOVES_OF_FLEET }, (_, index) => index).find((index) => !taken.has(index));
  const siblings = others.filter((one) => one.deploymentId === move.deploymentId);
  const facts: MoveFacts = {
    deployment,
    rolloutOpen: (await reads.listRollouts({ deploymentId: move.deploymentId, open: true, limit: 1 })).length > 0,
    from: await side(move.fromPlacementId),
    to: await side(move.toPlacementId),
    targetRejected: move.toPlacementId !== undefined || deployment === undefined ? undefined : await targetRejection(reads, move, deployment.placement, views),
    noTurn: siblings.length >= MAX_MOVES_OF_DEPLOYMENT ? `another placement of it is moving, from ${siblings[0]!.fromHost} to ${siblings[0]!.toHost}` : slot === undefined ? `${MAX_MOVES_OF_FLEET} moves are under way in the fleet, which is as many as may be` : undefined,
  };
  return { facts, slot };
}

async function targetRejection(reads: MoveReads, move: MoveRecord, { strategy, constraints }: NonNullable<Awaited<ReturnType<Reads["findDeployment"]>>>["placement"], views: readonly PlacementView[]): Promise<string | undefined> {
  if (views.some((view) => view.placement.hostId === move.toHostId)) return "it has a placement of it already";
  const target = await reads.findHostView(move.toHostId);
  const from = views.find((view) => view.placement.id === move.fromPlacementId);
  const spec = from === undefined ? undefined : (await reads.findGeneration(move.deploymentId, from.placement.generation))?.spec;
  // Without them there is nothing to move, which is for the decision itself to say.
  if (target === undefined || spec === undefined) return undefined;
  const outcome = place([candidateOf(target, 0, false)], { strategy, named: strategy === "ordered" ? [target.host.id] : undefined, replicas: 1, constraints, spec });
  return outcome.rejected[0]?.because;
}

/** What made the placement's last row makes the rows of its move, too: one trace tells of the request and of all that was done for it. */
export const originOf = async (reads: Pick<Reads, "listLifecycle">, view: PlacementView): Promise<string | undefined> => (await lastRowOf(reads, view))?.traceparent;

/** A host has one placement of a deployment at a time, so its newest row is among the newest of both. */
async function lastRowOf(reads: Pick<Reads, "listLifecycle">, { placement }: PlacementView): Promise<LifecycleRow | undefined> {
  return newestOf(await reads.listLifecycle({ deployment: placement.deploymentId, host: placement.hostId, limit: ROWS, newestFirst: true }), placement.id);
}

/** By the database's clock: ids carry that of the master that made them, and two masters' clocks differ. */
function newestOf(rows: readonly LifecycleRow[], placementId: string): LifecycleRow | undefined {
  return rows.filter((row) => row.placementId === placementId).reduce<LifecycleRow | undefined>((newest, row) => (newest === undefined || row.createdAt > newest.createdAt ? row : newest), undefined);
}

/** `drain`: undefined for a plan of one that does not exist. */
export async function loadDrain(reads: DrainReads, host: HostView, drain: Pick<DrainRecord, "id"> | undefined): Promise<DrainFacts> {
  const { id: hostId } = host.host;
  const all = await reads.listPlacements({});
  const hosts = await candidates(reads, [], { all });
  const openMoves = await reads.listMoves({ open: true, limit: ALL });
  const rolling = new Set((await reads.listRollouts({ open: true, limit: ALL })).map((rollout) => rollout.deploymentId));
  const rows = await reads.listLifecycle({ host: hostId, limit: HOST_ROWS, newestFirst: true });
  const placements: DrainPlacement[] = [];
  for (const view of all.filter((one) => one.placement.hostId === hostId)) {
    const { id, deploymentId, generation } = view.placement;
    const deployment = await reads.findDeployment(deploymentId);
    if (deployment === undefined) continue;
    placements.push({
      view, deployment, lastRow: newestOf(rows, id) ?? (await lastRowOf(reads, view)), spec: (await reads.findGeneration(deploymentId, generation))?.spec, rolloutOpen: rolling.has(deploymentId),
      held: all.filter((one) => one.placement.deploymentId === deploymentId).map((one) => one.placement.hostId),
      preferred: deployment.placement.strategy === "ordered" ? preferredOf(deployment.placement, hosts) : undefined,
    });
  }
  const told: MoveRecord[] = [];
  for (const move of openMoves) told.push(move.fromHostId === hostId ? await asOfNow(reads, move) : move);
  return {
    host, placements, candidates: expected(hosts, openMoves), openMoves: told,
    endedMoves: drain === undefined ? [] : await reads.listMoves({ drainId: drain.id, open: false, limit: ALL }),
    lastOperationAt: latest(...rows.map((row) => row.completedAt)),
  };
}

/** A move that has not begun will be on its new host: two drains must not both choose the emptiest one that there was. */
function expected(hosts: readonly Candidate[], openMoves: readonly MoveRecord[]): readonly Candidate[] {
  const coming = new Map<HostId, number>();
  for (const move of openMoves) if (move.toPlacementId === undefined) coming.set(move.toHostId, (coming.get(move.toHostId) ?? 0) + 1);
  return hosts.map((host) => ({ ...host, load: host.load + (coming.get(host.id) ?? 0) }));
}

/** The record's reason is from its last step; what it waits for is decided as it is asked. */
export async function asOfNow(reads: MoveReads, move: MoveRecord): Promise<MoveRecord> {
  const step = decideMove(move, (await loadMove(reads, move)).facts, await reads.now());
  return step.kind === "wait" ? { ...move, because: step.because } : move;
}
