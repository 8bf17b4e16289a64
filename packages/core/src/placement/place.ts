/**
 * Where a deployment goes. One filter for every path, explicit host or not: a host that could not take the work
 * would otherwise be the way around every rule (faults S10). Deterministic: the same facts in any order give the same
 * answer, and every rejected host has its reason.
 */
import type { HostId } from "../ids.ts";
import type { CircuitState } from "../breaker/breaker.ts";
import type { HostStatus } from "../liveness/decide-host.ts";
import type { Constraints, PlacementRequest, Strategy } from "../ports/records.ts";
import type { ReachabilityState } from "../reachability/record.ts";
import type { Spec } from "../spec/spec.ts";
import { allowancesOf, decideAllowances } from "./decide-allowances.ts";

export interface Candidate {
  readonly id: HostId;
  readonly name: string;
  readonly status: HostStatus;
  readonly schedulable: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** Placements it carries now. */
  readonly load: number;
  /** True when this deployment already has a placement there. */
  readonly holds: boolean;
  /** As its last full beat said: drivers and allowances. */
  readonly capabilities: readonly string[];
  /** What the prober says of the way from the masters to it; absent = not probed. */
  readonly reachability?: ReachabilityState | undefined;
  /** False for a host that no master ever reached, as behind NAT: it takes its work with its heartbeats, and always did. */
  readonly everReached?: boolean | undefined;
  /** The breaker of the master that decides; absent = it has no say. */
  readonly circuit?: CircuitState | undefined;
}

export interface Rejection {
  readonly host: string;
  readonly because: string;
}

export type PlaceOutcome =
  | { readonly kind: "placed"; readonly hosts: readonly Candidate[]; readonly rejected: readonly Rejection[] }
  | { readonly kind: "no_eligible_host"; readonly wanted: number; readonly rejected: readonly Rejection[] };

export interface PlaceRequest {
  /** Default spread. */
  readonly strategy?: Strategy | undefined;
  /** With `ordered`: the order of preference. Otherwise a pin: exactly these. */
  readonly named?: readonly HostId[] | undefined;
  readonly replicas?: number | undefined;
  readonly constraints?: Constraints | undefined;
  readonly spec: Spec;
}

/** What decides which hosts may be used: an operator's list is obeyed, everything else is chosen. */
export const isPinned = (placement: Pick<PlacementRequest, "strategy" | "hosts">): boolean => placement.hosts !== undefined && placement.strategy !== "ordered";

/** The label that `cheapest` reads: a non-negative number in any one currency. */
export const COST_LABEL = "cost_per_hour";

export function place(candidates: readonly Candidate[], request: PlaceRequest): PlaceOutcome {
  const { strategy = "spread", named } = request;
  const pinned = named !== undefined && strategy !== "ordered";
  const pool = named === undefined ? candidates : candidates.filter((host) => named.includes(host.id));
  const judged = [...pool].sort(byName).map((host) => ({ host, because: rejectionOf(host, request) }));
  const rejected = judged.flatMap(({ host, because }) => (because === undefined ? [] : [{ host: host.name, because }]));
  const eligible = judged.filter(({ because }) => because === undefined).map(({ host }) => host);
  const wanted = pinned ? named.length : (request.replicas ?? 1);
  if (eligible.length < wanted) return { kind: "no_eligible_host", wanted, rejected };
  // Whoever holds it keeps it, whatever the strategy would say today: a deploy must not undo a move.
  const order = (a: Candidate, b: Candidate): number => Number(b.holds) - Number(a.holds) || preference(a, b, strategy, named) || Number(isBeyondReach(a)) - Number(isBeyondReach(b)) || a.load - b.load || byName(a, b);
  return { kind: "placed", hosts: eligible.sort(order).slice(0, wanted), rejected };
}

function preference(a: Candidate, b: Candidate, strategy: Strategy, named: readonly HostId[] | undefined): number {
  switch (strategy) {
    case "spread":
      return 0;
    case "ordered":
      return (named?.indexOf(a.id) ?? 0) - (named?.indexOf(b.id) ?? 0);
    case "cheapest": {
      const [costA, costB] = [costOf(a), costOf(b)];
      if (costA === costB) return 0;
      // Only one that already holds it can be without a cost.
      return costA === undefined ? 1 : costB === undefined ? -1 : costA - costB;
    }
  }
}

/** By code units, so that no locale has a say; ids tell hosts of one name apart. */
const byName = (a: Candidate, b: Candidate): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/**
 * Why the host cannot have it; undefined = it can. One that already holds it keeps it through a cordon and a silence (its
 * work waits for it rather than moving by itself), but not against a constraint: where something may run is hard.
 */
export function rejectionOf(host: Candidate, { strategy, named, constraints = {}, spec }: PlaceRequest): string | undefined {
  if (host.holds) {
    if (host.status === "decommissioned") return "decommissioned";
    // A driver that does not answer now is waited for; what the host does not allow is refused on every path (faults S6).
    return constraintRejection(host.labels, constraints) ?? allowanceRejection(spec, host.capabilities);
  }
  if (host.status !== "active") return STATUS_REASONS[host.status];
  if (!host.schedulable) return "cordoned";
  // Whom an operator names gets it: work reaches the host with its heartbeats. Of its own accord nobody is sent where something has just broken.
  if (named === undefined || strategy === "ordered") {
    const because = networkTrouble(host);
    if (because !== undefined && host.everReached !== false) return because;
  }
  return constraintRejection(host.labels, constraints) ?? costRejection(host, strategy) ?? driverRejection(spec, host.capabilities) ?? allowanceRejection(spec, host.capabilities);
}

/** Why calls to it fail at present; undefined = nothing speaks against them. */
export function networkTrouble({ reachability, circuit }: Candidate): string | undefined {
  if (reachability === "unreachable") return "masters cannot reach it: their probes of its agent's port fail";
  return circuit === "open" ? "the circuit to it is open: calls to its agent failed and are not tried for now" : undefined;
}

const isBeyondReach = (host: Candidate): boolean => host.everReached === false && networkTrouble(host) !== undefined;

/** The first constraint, by its label's name, that the labels do not meet. */
export function constraintRejection(labels: Readonly<Record<string, string>>, constraints: Constraints): string | undefined {
  for (const key of Object.keys(constraints).sort()) {
    const wanted = [constraints[key]!].flat();
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    if (value === undefined || !wanted.includes(value)) return `label ${key} is ${value ?? "not set"}, ${wanted.join(" or ")} is required`;
  }
  return undefined;
}

function costRejection(host: Candidate, strategy: Strategy | undefined): string | undefined {
  if (strategy !== "cheapest" || costOf(host) !== undefined) return undefined;
  const label = Object.hasOwn(host.labels, COST_LABEL) ? host.labels[COST_LABEL] : undefined;
  return label === undefined ? `label ${COST_LABEL} is not set, cheapest needs it` : `label ${COST_LABEL} is ${JSON.stringify(label)}, which is not a non-negative number`;
}

function costOf({ labels }: Candidate): number | undefined {
  const label = Object.hasOwn(labels, COST_LABEL) ? labels[COST_LABEL] : undefined;
  return label === undefined || !/^\d{1,12}(\.\d{1,12})?$/.test(label) ? undefined : Number(label);
}

/** The seed's own agent reports no capabilities: what it can run is then its to say, except for containers. */
function driverRejection(spec: Spec, capabilities: readonly string[]): string | undefined {
  if (capabilities.includes(`driver:${spec.driver}`)) return undefined;
  const drivers = capabilities.filter((text) => text.startsWith("driver:")).map((text) => text.slice("driver:".length));
  if (spec.driver !== "docker" && drivers.length === 0) return undefined;
  return spec.driver === "docker" ? "no Docker engine answers there" : `it has no ${spec.driver} driver (it has: ${drivers.join(", ")})`;
}

/** Every problem in one sentence; undefined = the host allows all that the spec needs. */
export function allowanceRejection(spec: Spec, capabilities: readonly string[]): string | undefined {
  const problems = decideAllowances(spec, allowancesOf(capabilities));
  return problems.length === 0 ? undefined : problems.map((problem) => problem.message).join("; ");
}

const STATUS_REASONS: Readonly<Record<Exclude<HostStatus, "active">, string>> = {
  pending: "not enrolled yet",
  enrolled: "enrolled, never heard from",
  suspect: "suspect: its heartbeat is late",
  unreachable: "unreachable",
  decommissioned: "decommissioned",
};
