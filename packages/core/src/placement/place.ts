/**
 * Where a deployment goes. One filter for every path, explicit host or not: a host that could not take the work
 * would otherwise be the way around every rule (faults S10). Deterministic; every rejected host has its reason.
 */
import type { HostId } from "../ids.ts";
import type { HostStatus } from "../liveness/decide-host.ts";

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
  request: { readonly named?: readonly HostId[] | undefined; readonly replicas?: number | undefined; readonly constraints?: Readonly<Record<string, string>> | undefined },
): PlaceOutcome {
  const rejected: Rejection[] = [];
  const eligible: Candidate[] = [];
  const pool = request.named === undefined ? candidates : candidates.filter((host) => request.named?.includes(host.id));
  for (const host of pool) {
    // A host that already holds the placement keeps it: its work waits for it rather than moving by itself.
    const because = host.holds ? holdRejection(host) : rejection(host, request.constraints ?? {});
    if (because === undefined) eligible.push(host);
    else rejected.push({ host: host.name, because });
  }
  const wanted = request.named === undefined ? (request.replicas ?? 1) : request.named.length;
  if (eligible.length < wanted) return { kind: "no_eligible_host", wanted, rejected };
  const order = (a: Candidate, b: Candidate): number => Number(b.holds) - Number(a.holds) || a.load - b.load || (a.name < b.name ? -1 : 1);
  return { kind: "placed", hosts: [...eligible].sort(order).slice(0, wanted), rejected };
}

function holdRejection(host: Candidate): string | undefined {
  return host.status === "decommissioned" ? "decommissioned" : undefined;
}

function rejection(host: Candidate, constraints: Readonly<Record<string, string>>): string | undefined {
  if (host.status !== "active") return STATUS_REASONS[host.status];
  if (!host.schedulable) return "cordoned";
  for (const [key, value] of Object.entries(constraints)) {
    if (host.labels[key] !== value) return `label ${key} is ${host.labels[key] ?? "not set"}, ${value} is required`;
  }
  return undefined;
}

const STATUS_REASONS: Readonly<Record<Exclude<HostStatus, "active">, string>> = {
  pending: "not enrolled yet",
  enrolled: "enrolled, never heard from",
  suspect: "suspect: its heartbeat is late",
  unreachable: "unreachable",
  decommissioned: "decommissioned",
};
