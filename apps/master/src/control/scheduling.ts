/** Loads what core's scheduler needs. */
import {
  NO_ALLOWANCES, SkepError, allowanceRejection, constraintRejection, decideAllowances, type Candidate, type CircuitState, type Constraints, type HostId, type HostRecord, type HostView, type PlacementRequest, type PlacementView, type Reads,
  type Rejection, type Spec, type Tx,
} from "@skep/core";

/** Hosts by the names or ids an operator gave; all unknown ones are named at once. */
export async function namedHosts(tx: Tx, refs: readonly string[] | undefined): Promise<readonly HostId[] | undefined> {
  if (refs === undefined) return undefined;
  const ids: HostId[] = [];
  const unknown: string[] = [];
  const twice: string[] = [];
  for (const ref of refs) {
    const host = await tx.findHost(ref);
    if (host === undefined || host.status === "decommissioned") unknown.push(ref);
    else if (ids.includes(host.id)) twice.push(ref);
    else ids.push(host.id);
  }
  if (unknown.length > 0) throw new SkepError("host_not_found", `no host ${unknown.join(", ")}`);
  if (twice.length > 0) {
    throw new SkepError("invalid_request", `named twice: ${twice.join(", ")}`, { errors: twice.map((name) => ({ pointer: "/placement/hosts", message: `${name} is named twice` })) });
  }
  return ids;
}

/** One host as the scheduler sees it: the only place where a host's facts become a candidate's. */
export const candidateOf = ({ host, report, reachability }: HostView, load: number, holds: boolean, circuit?: CircuitState): Candidate => ({
  id: host.id, name: host.name, status: host.status, schedulable: host.schedulable, labels: host.labels, load, holds, capabilities: report?.capabilities ?? [],
  reachability: reachability?.state, everReached: reachability === undefined || reachability.state === "unknown" ? undefined : reachability.lastOkAt !== undefined, circuit,
});

/**
 * Every host, with the placements it carries; `mine` are those of the deployment that is placed, `all` every placement
 * where they are at hand. `circuitOf` only where one master decides once: what several masters go on with (a drain, a
 * move) is decided by what the ledger says, or they would undo each other's choices.
 */
export async function candidates(
  reads: Pick<Reads, "listHosts" | "listPlacements">, mine: readonly PlacementView[], { all, circuitOf }: { readonly all?: readonly PlacementView[]; readonly circuitOf?: (host: HostRecord) => CircuitState } = {},
): Promise<readonly Candidate[]> {
  const hosts = await reads.listHosts({ limit: 10_000 });
  const placements = all ?? (await reads.listPlacements({}));
  const load = new Map<string, number>();
  for (const view of placements) load.set(view.placement.hostId, (load.get(view.placement.hostId) ?? 0) + 1);
  // What a move leaves behind is not held: a deploy must not keep the old placement and take the new one down.
  const staying = mine.filter((view) => view.placement.desired !== "absent");
  const held = new Set<string>((staying.length === 0 ? mine : staying).map((view) => view.placement.hostId));
  return hosts.map((view) => candidateOf(view, load.get(view.host.id) ?? 0, held.has(view.host.id), circuitOf?.(view.host)));
}

/** The hosts of a deployment's own list that there still are, in its order. */
export function preferredOf(placement: PlacementRequest, hosts: readonly Candidate[]): readonly HostId[] | undefined {
  return placement.hosts?.flatMap((ref) => hosts.find((host) => host.status !== "decommissioned" && (host.id === ref || host.name === ref))?.id ?? []);
}

/** Placements that stay although their host no longer meets the constraints: nothing moves by itself, and nobody should be surprised. */
export async function misplaced(reads: Pick<Reads, "findHost">, constraints: Constraints | undefined, views: readonly PlacementView[]): Promise<readonly Rejection[]> {
  if (constraints === undefined || Object.keys(constraints).length === 0) return [];
  const found: Rejection[] = [];
  for (const { placement, hostName } of views) {
    const because = placement.desired === "absent" ? undefined : constraintRejection((await reads.findHost(placement.hostId))?.labels ?? {}, constraints);
    if (because !== undefined) found.push({ host: hostName, because });
  }
  return found;
}

/**
 * A change in place is held to the same allowances as a new deployment: a spec that an earlier generation was allowed
 * may not be allowed any more. Throws `spec_refused` naming every host that refuses and why.
 */
export async function requireAllowed(tx: Tx, spec: Spec, views: readonly PlacementView[]): Promise<void> {
  if (decideAllowances(spec, NO_ALLOWANCES).length === 0) return;
  const refusals: { host: string; because: string }[] = [];
  for (const { placement, hostName } of views) {
    const because = allowanceRejection(spec, (await tx.findHostView(placement.hostId))?.report?.capabilities ?? []);
    if (because !== undefined) refusals.push({ host: hostName, because });
  }
  if (refusals.length === 0) return;
  throw new SkepError("spec_refused", refusals.map(({ host, because }) => `${host}: ${because}`).join("; ").slice(0, 2_000), {
    errors: refusals.map(({ host, because }) => ({ pointer: `/hosts/${host}`, message: because })),
  });
}
