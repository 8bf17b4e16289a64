/**
 * Evening out on request. A host's load is its number of placements. Placements go along the shortest chains of hosts that
 * lower one load by bringing another up to less; when no such chain is left, loads are as even as the filters allow
 * (within 1 of each other where nothing is filtered). Deterministic, and every placement moves once at most.
 */
import type { DeploymentId, HostId, PlacementId } from "../ids.ts";

export interface Movable {
  readonly deploymentId: DeploymentId;
  readonly deployment: string;
  readonly placements: readonly { readonly id: PlacementId; readonly hostId: HostId }[];
  /** Hosts where it has a placement that is not for moving. */
  readonly fixed: readonly HostId[];
  /** Hosts that could take a placement of it; those it has need not be among them. */
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

interface Chain {
  readonly steps: readonly { readonly item: Movable; readonly from: HostId; readonly to: HostId }[];
  /** Hosts that were looked at in vain. */
  readonly reached: readonly HostId[];
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export function planRebalance(hosts: readonly RebalanceHost[], movables: readonly Movable[]): readonly PlannedMove[] {
  const order = [...hosts].sort((a, b) => compare(a.name, b.name) || compare(a.id, b.id)).map((host) => host.id);
  const rank = new Map(order.map((id, index) => [id, index]));
  const load = new Map(hosts.map((host) => [host.id, host.load]));
  const loadOf = (id: HostId): number => load.get(id)!;
  const items = [...movables].sort((a, b) => compare(a.deployment, b.deployment) || compare(a.deploymentId, b.deploymentId));
  const byRank = (a: HostId, b: HostId): number => rank.get(a)! - rank.get(b)!;
  // In the hosts' own order: chains are followed in the order of these sets, and that of the facts must not be seen in the plan.
  const known = (ids: readonly HostId[]): Set<HostId> => new Set(ids.filter((id) => rank.has(id)).sort(byRank));
  const homes = new Map(items.map((item) => [item, known(item.placements.map((one) => one.hostId))]));
  /** Where each has placements by now: those of one deployment are all alike, so only the hosts count. */
  const at = new Map(items.map((item) => [item, new Set(homes.get(item))]));
  const allowed = new Map(items.map((item) => [item, known([...item.eligible, ...homes.get(item)!].filter((id) => !item.fixed.includes(id)))]));
  const on = new Map<HostId, Set<Movable>>(order.map((id) => [id, new Set(items.filter((item) => homes.get(item)!.has(id)))]));

  /** The shortest chain from one host to any that is lighter by two, the lightest of those. */
  const chainFrom = (source: HostId): Chain => {
    const came = new Map<HostId, { readonly from: HostId; readonly item: Movable } | undefined>([[source, undefined]]);
    for (let level: HostId[] = [source]; level.length > 0; ) {
      const next: HostId[] = [];
      for (const here of level) {
        // What has moved already goes on, or home, rather than another: that costs no further move.
        const fitting = [...on.get(here)!].sort((a, b) => Number(homes.get(a)!.has(here)) - Number(homes.get(b)!.has(here)) || items.indexOf(a) - items.indexOf(b));
        for (const homewards of [true, false]) {
          for (const item of fitting) {
            for (const to of homewards ? homes.get(item)! : allowed.get(item)!) {
              if (came.has(to) || !allowed.get(item)!.has(to) || at.get(item)!.has(to)) continue;
              came.set(to, { from: here, item });
              next.push(to);
            }
          }
        }
      }
      const [end] = next.filter((id) => loadOf(id) <= loadOf(source) - 2).sort((a, b) => loadOf(a) - loadOf(b) || rank.get(a)! - rank.get(b)!);
      if (end !== undefined) {
        const steps: { item: Movable; from: HostId; to: HostId }[] = [];
        for (let to = end, step = came.get(to); step !== undefined; to = step.from, step = came.get(to)) steps.unshift({ ...step, to });
        return { steps, reached: [] };
      }
      level = next;
    }
    return { steps: [], reached: [...came.keys()] };
  };

  const nextChain = (): Chain["steps"] => {
    const lightest = Math.min(...load.values());
    const hopeless = new Set<HostId>();
    for (const source of [...order].sort((a, b) => loadOf(b) - loadOf(a) || rank.get(a)! - rank.get(b)!)) {
      if (loadOf(source) < lightest + 2) return [];
      if (hopeless.has(source)) continue;
      const { steps, reached } = chainFrom(source);
      if (steps.length > 0) return steps;
      // Whatever can be reached from there could be reached from here.
      for (const id of reached) hopeless.add(id);
    }
    return [];
  };

  for (let steps = nextChain(); steps.length > 0; steps = nextChain()) {
    for (const { item, from, to } of steps) {
      at.get(item)!.delete(from);
      at.get(item)!.add(to);
      on.get(from)!.delete(item);
      on.get(to)!.add(item);
    }
    load.set(steps[0]!.from, loadOf(steps[0]!.from) - 1);
    load.set(steps.at(-1)!.to, loadOf(steps.at(-1)!.to) + 1);
  }
  return items.flatMap((item): PlannedMove[] => {
    const gained = [...at.get(item)!].filter((id) => !homes.get(item)!.has(id)).sort(byRank);
    const left = [...homes.get(item)!].filter((id) => !at.get(item)!.has(id)).sort(byRank);
    return left.map((from, index) => ({ placementId: item.placements.find((one) => one.hostId === from)!.id, deploymentId: item.deploymentId, deployment: item.deployment, from, to: gained[index]! }));
  });
}
