/** Looking things up as a caller names them: a name or an id, and a refusal that says which one was not found. */
import { SkepError, isUuid, type DeploymentRecord, type HostId, type HostRecord, type HostView, type PlacementView, type Reads } from "@skep/core";

export async function requireHost(reads: Pick<Reads, "findHost">, ref: string): Promise<HostRecord> {
  const host = await reads.findHost(ref);
  if (host === undefined) throw new SkepError("host_not_found", `no host ${ref}`);
  return host;
}

export async function requireHostView(reads: Pick<Reads, "findHostView">, ref: string): Promise<HostView> {
  const view = await reads.findHostView(ref);
  if (view === undefined) throw new SkepError("host_not_found", `no host ${ref}`);
  return view;
}

export async function requireDeployment(reads: Pick<Reads, "findDeployment">, ref: string): Promise<DeploymentRecord> {
  const deployment = await reads.findDeployment(ref);
  if (deployment === undefined) throw new SkepError("deployment_not_found", `no deployment ${ref}`);
  return deployment;
}

/** The largest number of names kept; one is a few dozen bytes. */
const MAX_NAMES = 50_000;

export interface HostNames {
  /** Names by id; a host that is gone from the ledger keeps its id as its name. */
  of(ids: Iterable<HostId>): Promise<ReadonlyMap<HostId, string>>;
}

/** Rows carry host ids, people read names. A host's name never changes, so it may be remembered. */
export function createHostNames(store: Pick<Reads, "findHost">): HostNames {
  const known = new Map<HostId, string>();
  return {
    of: async (ids) => {
      const wanted = [...new Set(ids)];
      for (const id of wanted) {
        if (known.has(id)) continue;
        const host = await store.findHost(id);
        if (host === undefined) continue;
        if (known.size >= MAX_NAMES) known.clear();
        known.set(id, host.name);
      }
      return new Map(wanted.map((id) => [id, known.get(id) ?? id]));
    },
  };
}

/** Cursors of lists are ids. Anything else was never ours. */
export function pageOf(query: { readonly limit: number; readonly cursor?: string | undefined }): { limit: number; after: string | undefined } {
  if (query.cursor !== undefined && !isUuid(query.cursor)) throw new SkepError("cursor_mismatch", "The cursor is not one of this list.");
  // One more than asked for tells whether there is a next page.
  return { limit: query.limit + 1, after: query.cursor };
}

export function cutPage<T>(rows: readonly T[], limit: number, idOf: (row: T) => string): { items: readonly T[]; next: string | null } {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, next: rows.length > limit && last !== undefined ? idOf(last) : null };
}

/** Of the deployment's placements, those on one host if one is named. */
export async function placementsOn(reads: Pick<Reads, "listPlacements" | "findHost">, deployment: DeploymentRecord, hostRef: string | undefined): Promise<readonly PlacementView[]> {
  const views = await reads.listPlacements({ deploymentId: deployment.id });
  if (hostRef === undefined) return views;
  const host = await requireHost(reads, hostRef);
  return views.filter((view) => view.placement.hostId === host.id);
}

/** `label=k=v`, once or several times; all must hold. */
export function labelsOf(given: string | string[] | undefined): Record<string, string> | undefined {
  if (given === undefined) return undefined;
  return Object.fromEntries(
    (Array.isArray(given) ? given : [given]).map((text): [string, string] => {
      const at = text.indexOf("=");
      if (at < 1) throw new SkepError("invalid_request", "The query is not valid.", { errors: [{ pointer: "/label", message: "must be name=value" }] });
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}
