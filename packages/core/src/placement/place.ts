/**
 * Where a deployment goes. One filter for every path, explicit host or not: a host that could not take the work
 * would otherwise be the way around every rule (faults S10). Deterministic; every rejected host has its reason.
 */
import type { HostId } from "../ids.ts";
import type { HostStatus } from "../liveness/decide-host.ts";
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
}

export interface Rejection {
  readonly host: string;
  readonly because: string;
}

export type PlaceOutcome =
  | { readonly kind: "placed"; readonly hosts: readonly Candidate[]; readonly rejected: readonly Rejection[] }
  | { readonly kind: "no_eligible_host"; readonly wanted: number; readonly rejected: readonly Rejection[] };

export function place(
  candidates: readonly Candidate[],
  request: { readonly named?: readonly HostId[] | undefined; readonly replicas?: number | undefined; readonly constraints?: Readonly<Record<string, string>> | undefined; readonly spec: Spec },
): PlaceOutcome {
  const rejected: Rejection[] = [];
  const eligible: Candidate[] = [];
  const pool = request.named === undefined ? candidates : candidates.filter((host) => request.named?.includes(host.id));
  for (const host of pool) {
    // A host that already holds the placement keeps it: its work waits for it rather than moving by itself.
    const because = host.holds ? holdRejection(host, request.spec) : rejection(host, request.constraints ?? {}, request.spec);
    if (because === undefined) eligible.push(host);
    else rejected.push({ host: host.name, because });
  }
  const wanted = request.named === undefined ? (request.replicas ?? 1) : request.named.length;
  if (eligible.length < wanted) return { kind: "no_eligible_host", wanted, rejected };
  const order = (a: Candidate, b: Candidate): number => Number(b.holds) - Number(a.holds) || a.load - b.load || (a.name < b.name ? -1 : 1);
  return { kind: "placed", hosts: [...eligible].sort(order).slice(0, wanted), rejected };
}

/** A driver that does not answer now is waited for; what the host does not allow is refused on every path (faults S6). */
function holdRejection(host: Candidate, spec: Spec): string | undefined {
  return host.status === "decommissioned" ? "decommissioned" : allowanceRejection(spec, host.capabilities);
}

function rejection(host: Candidate, constraints: Readonly<Record<string, string>>, spec: Spec): string | undefined {
  if (host.status !== "active") return STATUS_REASONS[host.status];
  if (!host.schedulable) return "cordoned";
  for (const [key, value] of Object.entries(constraints)) {
    if (host.labels[key] !== value) return `label ${key} is ${host.labels[key] ?? "not set"}, ${value} is required`;
  }
  return driverRejection(spec, host.capabilities) ?? allowanceRejection(spec, host.capabilities);
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
