/**
 * Evening out on request. A host's load is its number of placements. Placements move along paths of hosts as long as that
 * lowers some load by bringing another up to less: when no such path is left, loads are as even as the filters allow
 * (within 1 of each other where nothing is filtered). Deterministic, and every placement moves once at most.
 */
import type { DeploymentId, HostId, PlacementId } from "../ids.ts";

export interface Movable {
  readonly placementId: PlacementId;
  readonly deploymentId: DeploymentId;
  readonly deployment: string;
  readonly hostId: HostId;
  /** Hosts that could take it; its own need not be among them. */
  readonly eligible: readonly HostId[];
}

export interface RebalanceHost {
  readonly id: HostId;
  readonly name: string;
  /** All placements it carries, those that cannot move included. */
  readonly load: number;
}

export interface PlannedMove {
  readonly placementId: PlacementId;
  readonly deploymentId: DeploymentId;
  readonly deployment: string;
  readonly from: HostId;
  readonly to: HostId;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** `held`: hosts that have a placement of the deployment, movable or not: one host never gets two. */
export function planRebalance(hosts: readonly RebalanceHost[], movables: readonly Movable[], held: ReadonlyMap<DeploymentId, readonly HostId[]>): readonly PlannedMove[] {
  const order = [...hosts].sort((a, b) => compare(a.name, b.name) || compare(a.id, b.id));
  const rank = new Map(order.map((host, index) => [host.id, index]));
  const load = new Map(order.map((host) => [host.id, host.load]));
  const loadOf = (id: HostId): number => load.get(id) ?? 0;
  const items = [...movables].filter((item) => rank.has(item.hostId)).sort((a, b) => compare(a.deployment, b.deployment) || compare(a.placementId, b.placementId));
  const at = new Map(items.map((item) => [item.placementId, item.hostId]));
  const occupied = new Map([...held].map(([id, ids]) => [id, new Set(ids)]));
  const mayGo = (item: Movable, to: HostId): boolean => (to === item.hostId || item.eligible.includes(to)) && occupied.get(item.deploymentId)?.has(to) !== true;

  /** The shortest way from one host to any that is lighter by two: each step is one placement going to the next host. */
  const pathFrom = (source: HostId): readonly { readonly item: Movable; readonly to: HostId }[] | undefined => {
    const came = new Map<HostId, { readonly from: HostId; readonly item: Movable } | undefined>([[source, undefined]]);
    let level: HostId[] = [source];
    while (level.length > 0) {
      const next: HostId[] = [];
      for (const here of level) {
        for (const { id: to } of order) {
          if (came.has(to)) continue;
          // What was moved before goes on rather than a second one: that costs no further move.
          const fitting = items.filter((one) => at.get(one.placementId) === here && mayGo(one, to));
          const item = fitting.find((one) => to === one.hostId) ?? fitting.find((one) => one.hostId !== here) ?? fitting[0];
          if (item === undefined) continue;
          came.set(to, { from: here, item });
          next.push(to);
        }
      }
      const [end] = next.filter((id) => loadOf(id) <= loadOf(source) - 2).sort((a, b) => loadOf(a) - loadOf(b) || rank.get(a)! - rank.get(b)!);
      if (end !== undefined) {
        const path: { item: Movable; to: HostId }[] = [];
        for (let to = end, step = came.get(to); step !== undefined; to = step.from, step = came.get(to)) path.unshift({ item: step.item, to });
        return path;
      }
      level = next;
    }
    return undefined;
  };

  for (;;) {
    const sources = [...order].sort((a, b) => loadOf(b.id) - loadOf(a.id) || rank.get(a.id)! - rank.get(b.id)!);
    const path = sources.map((host) => pathFrom(host.id)).find((one) => one !== undefined);
    if (path === undefined) break;
    for (const { item, to } of path) {
      const from = at.get(item.placementId)!;
      at.set(item.placementId, to);
      const places = occupied.get(item.deploymentId) ?? new Set<HostId>();
      places.delete(from);
      places.add(to);
      occupied.set(item.deploymentId, places);
      load.set(from, loadOf(from) - 1);
      load.set(to, loadOf(to) + 1);
    }
  }
  return items.flatMap(({ placementId, deploymentId, deployment, hostId }): PlannedMove[] => {
    const to = at.get(placementId)!;
    return to === hostId ? [] : [{ placementId, deploymentId, deployment, from: hostId, to }];
  });
}
