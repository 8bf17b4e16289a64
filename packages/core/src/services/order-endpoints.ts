/** In which order callers are sent to healthy endpoints. Deterministic: the same facts and the same turn, the same order. */
import { byHost, type Endpoint, type Service } from "./build-service.ts";
import { groupBy } from "./group-by.ts";

/**
 * `ordered`: as `placement.hosts` names them, otherwise by name · `round_robin`: the same, begun one placement further
 * with every turn · `least_loaded`: the host with the fewest running placements first, then the lowest load.
 */
export const SERVICE_STRATEGIES = ["ordered", "round_robin", "least_loaded"] as const;
export type ServiceStrategy = (typeof SERVICE_STRATEGIES)[number];

/** `turn` counts questions; only round_robin looks at it. */
export function orderEndpoints({ deployment }: Pick<Service, "deployment">, endpoints: readonly Endpoint[], strategy: ServiceStrategy, turn: number): readonly Endpoint[] {
  const wish = deployment.placement.hosts ?? [];
  const rank = ({ host, hostId }: Endpoint): number => {
    const at = wish.findIndex((ref) => ref === host || ref === hostId);
    return at < 0 ? wish.length : at;
  };
  const ordered = [...endpoints].sort((a, b) => rank(a) - rank(b) || byHost(a, b));
  if (strategy === "ordered") return ordered;
  if (strategy === "least_loaded") return [...endpoints].sort((a, b) => a.load.running - b.load.running || byLoad(a, b) || byHost(a, b));
  // Placement by placement: one with two ports is not two turns.
  const groups = [...groupBy(ordered, (endpoint) => endpoint.placementId).values()];
  const start = groups.length === 0 ? 0 : turn % groups.length;
  return [...groups.slice(start), ...groups.slice(0, start)].flat();
}

/** A host that does not say how busy it is comes after those that do. */
function byLoad({ load: { perCpu: a } }: Endpoint, { load: { perCpu: b } }: Endpoint): number {
  if (a === b) return 0;
  if (a === undefined) return 1;
  return b === undefined ? -1 : a - b;
}
