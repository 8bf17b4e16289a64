/** Evening out on request: planned in core from one look at the ledger, and begun as moves that wait for their turn. */
import {
  isPinned, planRebalance, rejectionOf, type Candidate, type DeploymentId, type DeploymentRecord, type HostId, type Movable, type MoveId, type MoveRecord, type PlacementView, type PlannedMove, type RebalanceHost, type Tx,
} from "@skep/core";
import type { RebalanceReply } from "@skep/protocol";
import type { ControlDeps } from "../ports.ts";
import { accept } from "./accept.ts";
import type { MoveControl } from "./control.ts";
import { candidates } from "./scheduling.ts";

const ALL = 10_000;

interface Plan {
  readonly hosts: readonly RebalanceHost[];
  readonly moves: readonly PlannedMove[];
  readonly leftOut: readonly { readonly deployment: string; readonly because: string }[];
}

export function createRebalance(deps: ControlDeps, newId: () => string, wake: () => void): Pick<MoveControl, "rebalance"> {
  return {
    async rebalance(request, context) {
      if (request.dry_run) return { status: 200, body: replyOf("dry_run", await deps.store.transaction(planNow), new Map()), replayed: false };
      const reply = await accept(deps, context, async (tx) => {
        const plan = await planNow(tx);
        const names = new Map(plan.hosts.map((host) => [host.id, host.name]));
        const ids = new Map<string, string>();
        for (const move of plan.moves) {
          const id = newId() as MoveId;
          const inserted = await tx.insertMove({
            id, deploymentId: move.deploymentId, deployment: move.deployment, reason: "rebalance", drainId: undefined, status: "pending", fromPlacementId: move.placementId, fromHostId: move.from, fromHost: names.get(move.from)!,
            toHostId: move.to, toHost: names.get(move.to)!, toPlacementId: undefined, desired: "running", breakFirst: false, slot: undefined, because: `rebalance by ${context.actor}`,
          });
          if (inserted === "inserted") ids.set(move.placementId, id);
        }
        await tx.appendAudit({ actor: context.actor, action: "fleet.rebalance", subject: "fleet", outcome: "allowed", requestId: context.requestId, detail: { moves: plan.moves.length } });
        if (plan.moves.length > 0) await tx.appendEvent({ kind: "fleet.rebalance", severity: "info", message: `${plan.moves.length} placements move to even out the fleet's load, asked by ${context.actor}`, data: { moves: plan.moves.length } });
        return { status: 202, body: replyOf(plan.moves.length === 0 ? "nothing_to_do" : "accepted", plan, ids) };
      });
      wake();
      return reply;
    },
  };
}

async function planNow(tx: Tx): Promise<Plan> {
  const all = await candidates(tx, []);
  const views = await tx.listPlacements({});
  const openMoves = await tx.listMoves({ open: true, limit: ALL });
  const rolling = new Set((await tx.listRollouts({ open: true, limit: ALL })).map((rollout) => rollout.deploymentId));
  const loads = loadsOf(views, openMoves);
  // Only hosts that take new work take part: emptying one is what a drain is for.
  const part = all.filter((host) => host.status === "active" && host.schedulable);
  const leftOut: { deployment: string; because: string }[] = [];
  const movables: Movable[] = [];
  for (const deployment of await tx.listDeployments({ limit: ALL })) {
    const mine = views.filter((view) => view.placement.deploymentId === deployment.id);
    const because = reasonToStay(deployment, mine, openMoves, rolling);
    if (because === undefined) movables.push(...(await movableOf(tx, deployment, mine, part, leftOut)));
    else if (because !== "") leftOut.push({ deployment: deployment.name, because });
  }
  const hosts = part.map((host) => ({ id: host.id, name: host.name, load: loads.get(host.id) ?? 0 })).sort((a, b) => (a.name < b.name ? -1 : 1));
  return { hosts, moves: planRebalance(hosts, movables), leftOut: leftOut.sort((a, b) => (a.deployment < b.deployment ? -1 : 1)) };
}

/** As it will be once the open moves have ended. */
function loadsOf(views: readonly PlacementView[], openMoves: readonly MoveRecord[]): ReadonlyMap<HostId, number> {
  const loads = new Map<HostId, number>();
  for (const { placement } of views) {
    if (openMoves.some((move) => move.toPlacementId === placement.id)) continue;
    const move = openMoves.find((one) => one.fromPlacementId === placement.id);
    if (placement.desired === "absent" && move === undefined) continue;
    const at = move?.toHostId ?? placement.hostId;
    loads.set(at, (loads.get(at) ?? 0) + 1);
  }
  return loads;
}

/** Empty = it is none of a rebalance's business, and nobody expects it to be. */
function reasonToStay({ id, placement, desired }: DeploymentRecord, mine: readonly PlacementView[], openMoves: readonly MoveRecord[], rolling: ReadonlySet<DeploymentId>): string | undefined {
  if (desired !== "running" || mine.length === 0) return "";
  if (isPinned(placement)) return "pinned by hosts";
  if (placement.strategy !== undefined && placement.strategy !== "spread") return `its strategy is ${placement.strategy}`;
  if (rolling.has(id)) return "a rollout of it is open";
  if (openMoves.some((move) => move.deploymentId === id)) return "it is moving already";
  return mine.some((view) => view.openRow !== undefined) ? "an operation on it is open" : undefined;
}

async function movableOf(tx: Tx, deployment: DeploymentRecord, mine: readonly PlacementView[], part: readonly Candidate[], leftOut: { deployment: string; because: string }[]): Promise<readonly Movable[]> {
  const spec = (await tx.findGeneration(deployment.id, Math.max(...mine.map((view) => view.placement.generation))))?.spec;
  if (spec === undefined) return [];
  if (spec.stateful === true) {
    // It would have to stop for it: evenness is not worth an outage.
    leftOut.push({ deployment: deployment.name, because: "it is stateful: a move would stop it first" });
    return [];
  }
  const [running, others] = [mine.filter((view) => view.placement.desired === "running"), mine.filter((view) => view.placement.desired !== "running")];
  return [{
    deploymentId: deployment.id, deployment: deployment.name, placements: running.map(({ placement }) => ({ id: placement.id, hostId: placement.hostId })), fixed: others.map(({ placement }) => placement.hostId),
    eligible: part.filter((host) => rejectionOf(host, { constraints: deployment.placement.constraints, spec }) === undefined).map((host) => host.id),
  }];
}

function replyOf(status: RebalanceReply["status"], { hosts, moves, leftOut }: Plan, ids: ReadonlyMap<string, string>): RebalanceReply {
  const name = (id: HostId): string => hosts.find((host) => host.id === id)?.name ?? id;
  return {
    status,
    moves: moves.map((move) => ({
      deployment_id: move.deploymentId, deployment: move.deployment, placement_id: move.placementId, from_host_id: move.from, from_host: name(move.from), to_host_id: move.to, to_host: name(move.to), move_id: ids.get(move.placementId) ?? null,
    })),
    hosts: hosts.map((host) => ({ host_id: host.id, host: host.name, before: host.load, after: host.load - moves.filter((move) => move.from === host.id).length + moves.filter((move) => move.to === host.id).length })),
    left_out: leftOut.map((item) => ({ ...item })),
  };
}
