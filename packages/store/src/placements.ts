/**
 * Placements, each with what its host says of it. When something was observed is the host's business, not the row's:
 * a list that repeats itself renews every placement on it without a write (performance P1).
 */
import { isUuid } from "@skep/core";
import type { DeploymentId, HostId, HostPlacementFacts, Instant, ObservedRecord, ObservedState, Page, PlacementId, PlacementRecord, PlacementView, Tx } from "@skep/core";
import { and, asc, eq, gt, inArray, isNull, sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import type { Db } from "./db.ts";
import { afterId, known } from "./db.ts";
import { isOpen, lifecycleOf } from "./lifecycle-row.ts";
import { deployments, hostLiveness, hosts, lifecycle, observed, placements } from "./schema/index.ts";

type PlacementRow = typeof placements.$inferSelect;
type ObservedRow = typeof observed.$inferSelect;

export const placementOf = (row: PlacementRow, deployment: string): PlacementRecord => ({
  id: row.id,
  deploymentId: row.deploymentId,
  deployment,
  hostId: row.hostId,
  desired: row.desired,
  epoch: row.epoch,
  generation: row.generation,
  appliedGeneration: known(row.appliedGeneration),
  reconcileAttempts: row.reconcileAttempts,
  reconcileNotBefore: known(row.reconcileNotBefore),
  createdAt: row.createdAt,
  removedAt: known(row.removedAt),
  version: row.version,
});

/**
 * The host's whole list, taken since the placement exists, does not name it: it is absent there, although no beat
 * has changed and none was written. Without this a deploy that the host refused would look unknown for ever.
 */
export const isSilentlyAbsent = (): SQL => sql`${observed.placementId} IS NULL AND ${placements.createdAt} < ${hostLiveness.observedAt}`;

const isUnnamedSince = (createdAt: Instant, hostObservedAt: Instant | null): hostObservedAt is Instant => hostObservedAt !== null && hostObservedAt > createdAt;

export function observedOf(placement: PlacementRow, row: ObservedRow | null, hostObservedAt: Instant | null): ObservedRecord | undefined {
  const { id: placementId, hostId, createdAt, removedAt } = placement;
  if (row !== null) {
    const { state, generation, epoch, specHash, components, changedAt } = row;
    // A removed placement is no longer looked at: only what was written is known.
    const observedAt = removedAt !== null || hostObservedAt === null || hostObservedAt < changedAt ? changedAt : hostObservedAt;
    return { placementId, hostId, state, generation, epoch, specHash, components, observedAt, changedAt };
  }
  if (removedAt !== null || !isUnnamedSince(createdAt, hostObservedAt)) return undefined;
  return { placementId, hostId, state: "absent", generation: 0, epoch: 0, specHash: "", components: [], observedAt: hostObservedAt, changedAt: hostObservedAt };
}

const selectPlacements = (db: Db) =>
  db
    .select({
      placement: placements,
      deployment: deployments.name,
      hostName: hosts.name,
      hostStatus: hosts.status,
      observed,
      hostObservedAt: hostLiveness.observedAt,
      openRow: lifecycle,
    })
    .from(placements)
    .innerJoin(deployments, eq(deployments.id, placements.deploymentId))
    .innerJoin(hosts, eq(hosts.id, placements.hostId))
    .leftJoin(observed, eq(observed.placementId, placements.id))
    .leftJoin(hostLiveness, eq(hostLiveness.hostId, placements.hostId))
    .leftJoin(lifecycle, and(eq(lifecycle.placementId, placements.id), isOpen()));

const viewOf = (row: Awaited<ReturnType<typeof selectPlacements>>[number]): PlacementView => ({
  placement: placementOf(row.placement, row.deployment),
  hostName: row.hostName,
  hostStatus: row.hostStatus,
  observed: observedOf(row.placement, row.observed, row.hostObservedAt),
  openRow: row.openRow === null ? undefined : lifecycleOf(row.openRow),
});

export async function listPlacements(
  db: Db,
  query: { readonly deploymentId?: DeploymentId | undefined; readonly hostId?: HostId | undefined; readonly includeRemoved?: boolean | undefined } & Partial<Page>,
): Promise<readonly PlacementView[]> {
  const select = selectPlacements(db)
    .where(
      and(
        query.deploymentId === undefined ? undefined : eq(placements.deploymentId, query.deploymentId),
        query.hostId === undefined ? undefined : eq(placements.hostId, query.hostId),
        query.includeRemoved === true ? undefined : isNull(placements.removedAt),
        query.after === undefined ? undefined : gt(placements.id, afterId<PlacementId>(query.after)),
      ),
    )
    .orderBy(asc(placements.id));
  const rows = await (query.limit === undefined ? select : select.limit(query.limit));
  return rows.map(viewOf);
}

/** By id. */
export async function findPlacementViews(db: Db, where: SQL | undefined): Promise<readonly PlacementView[]> {
  return (await selectPlacements(db).where(where).orderBy(asc(placements.id))).map(viewOf);
}

export async function findPlacement(db: Db, id: PlacementId): Promise<PlacementView | undefined> {
  if (!isUuid(id)) return undefined;
  const rows = await selectPlacements(db).where(eq(placements.id, id));
  return rows[0] && viewOf(rows[0]);
}

export async function listPlacementFacts(db: Db, hostIds: readonly HostId[]): Promise<readonly HostPlacementFacts[]> {
  if (hostIds.length === 0) return [];
  const rows = await db
    .select({
      hostId: placements.hostId, hostStatus: hosts.status, desired: placements.desired, generation: placements.generation, createdAt: placements.createdAt,
      state: observed.state, observedGeneration: observed.generation, hostObservedAt: hostLiveness.observedAt,
      operation: lifecycle.operation, status: lifecycle.status, phase: lifecycle.phase,
    })
    .from(placements)
    .innerJoin(hosts, eq(hosts.id, placements.hostId))
    .leftJoin(observed, eq(observed.placementId, placements.id))
    .leftJoin(hostLiveness, eq(hostLiveness.hostId, placements.hostId))
    .leftJoin(lifecycle, and(eq(lifecycle.placementId, placements.id), isOpen()))
    .where(and(inArray(placements.hostId, [...hostIds]), isNull(placements.removedAt)));
  return rows.map(({ hostId, hostStatus, desired, generation, createdAt, state, observedGeneration, hostObservedAt, operation, status, phase }) => ({
    hostId,
    facts: {
      placement: { desired, generation, removedAt: undefined },
      observed: state !== null && observedGeneration !== null ? { state, generation: observedGeneration } : isUnnamedSince(createdAt, hostObservedAt) ? { state: "absent", generation: 0 } : undefined,
      hostStatus,
      openRow: operation !== null && status !== null && phase !== null ? { operation, status, phase } : undefined,
    },
  }));
}

/** Live placements of these hosts, and what each was last observed as. */
export async function placementStates(
  db: Db,
  hostIds: readonly HostId[],
): Promise<readonly { placementId: PlacementId; deploymentId: DeploymentId; hostId: HostId; state: ObservedState | undefined; generation: number | undefined }[]> {
  if (hostIds.length === 0) return [];
  const rows = await db
    .select({ placementId: placements.id, deploymentId: placements.deploymentId, hostId: placements.hostId, state: observed.state, generation: observed.generation })
    .from(placements)
    .leftJoin(observed, eq(observed.placementId, placements.id))
    .where(and(inArray(placements.hostId, [...hostIds]), isNull(placements.removedAt)))
    .orderBy(asc(placements.id));
  return rows.map((row) => ({ ...row, state: known(row.state), generation: known(row.generation) }));
}

export async function insertPlacement(db: Db, placement: Parameters<Tx["insertPlacement"]>[0]): Promise<void> {
  await db.insert(placements).values(placement);
}

export async function casPlacement(db: Db, id: PlacementId, expectedVersion: number, patch: Parameters<Tx["casPlacement"]>[2]): Promise<boolean> {
  const { removed, ...columns } = patch;
  const rows = await db
    .update(placements)
    .set({
      ...columns,
      ...(removed === undefined ? {} : { removedAt: removed ? sql`coalesce(${placements.removedAt}, now())` : null }),
      version: sql`${placements.version} + 1`,
    })
    .where(and(eq(placements.id, id), eq(placements.version, expectedVersion)))
    .returning({ id: placements.id });
  return rows.length > 0;
}
