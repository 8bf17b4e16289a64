/** Loads what core's scheduler needs. */
import { NO_ALLOWANCES, SkepError, allowanceRejection, decideAllowances, type Candidate, type HostId, type PlacementView, type Spec, type Tx } from "@skep/core";

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

export async function candidates(tx: Tx, mine: readonly PlacementView[]): Promise<readonly Candidate[]> {
  const hosts = await tx.listHosts({ limit: 10_000 });
  const placements = await tx.listPlacements({});
  const load = new Map<string, number>();
  for (const view of placements) load.set(view.placement.hostId, (load.get(view.placement.hostId) ?? 0) + 1);
  const held = new Set<string>(mine.map((view) => view.placement.hostId));
  return hosts.map(({ host, report }) => ({
    id: host.id, name: host.name, status: host.status, schedulable: host.schedulable, labels: host.labels,
    load: load.get(host.id) ?? 0, holds: held.has(host.id), capabilities: report?.capabilities ?? [],
  }));
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
