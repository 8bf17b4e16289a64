/** Placements that are not as desired, each with the last thing that was tried. */
import type { Instant, PlacementId, ReconcileCase } from "@skep/core";
import { and, asc, eq, gt, inArray, isNull, notExists, or, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { readNow } from "./clock.ts";
import { deploymentOf } from "./deployments.ts";
import { isOpen, lifecycleOf } from "./lifecycle-row.ts";
import { isSilentlyAbsent, observedOf, placementOf } from "./placements.ts";
import { rolloutOf } from "./rollouts.ts";
import { deployments, hostLiveness, hosts, lifecycle, observed, placements, rollouts } from "./schema/index.ts";

/** `db` is a repeatable-read transaction. Placements of which nothing is known yet are left alone. */
export async function reconcileCases(db: Db, limit: number, after: string | undefined, options: { readonly all?: boolean } = {}): Promise<{ now: Instant; cases: readonly ReconcileCase[] }> {
  const now = await readNow(db);
  const openRow = db.select({ one: sql`1` }).from(lifecycle).where(and(eq(lifecycle.placementId, placements.id), isOpen()));
  // By the database's clock: ids carry the clock of the master that made them, and masters disagree.
  const lastRow = db.select().from(lifecycle).where(eq(lifecycle.placementId, placements.id)).orderBy(sql`${lifecycle.createdAt} DESC, ${lifecycle.id} DESC`).limit(1).as("last_row");
  const newest = db.select({ id: rollouts.id }).from(rollouts).where(eq(rollouts.deploymentId, placements.deploymentId)).orderBy(sql`${rollouts.createdAt} DESC, ${rollouts.id} DESC`).limit(1).as("newest_rollout");
  const rows = await db
    .select({ placement: placements, deployment: deployments, hostName: hosts.name, hostStatus: hosts.status, observed, hostObservedAt: hostLiveness.observedAt, lastId: lastRow.id, rolloutId: newest.id })
    .from(placements)
    .innerJoin(deployments, eq(deployments.id, placements.deploymentId))
    .innerJoin(hosts, eq(hosts.id, placements.hostId))
    .leftJoin(observed, eq(observed.placementId, placements.id))
    .leftJoin(hostLiveness, eq(hostLiveness.hostId, placements.hostId))
    .leftJoinLateral(lastRow, sql`true`)
    .leftJoinLateral(newest, sql`true`)
    .where(
      and(
        isNull(placements.removedAt),
        isNull(deployments.deletedAt),
        options.all === true ? undefined : or(isNull(placements.reconcileNotBefore), sql`${placements.reconcileNotBefore} <= now()`),
        notExists(openRow),
        or(differs, wasTold),
        after === undefined ? undefined : gt(placements.id, after as PlacementId),
      ),
    )
    .orderBy(asc(placements.id))
    .limit(limit);
  const lastRows = await findRows(db, rows.flatMap((row) => row.lastId ?? []));
  const rolloutIds = [...new Set(rows.flatMap((row) => row.rolloutId ?? []))];
  const newestRollouts = new Map((rolloutIds.length === 0 ? [] : await db.select().from(rollouts).where(inArray(rollouts.id, rolloutIds))).map((row) => [row.id as string, rolloutOf(row)]));
  return {
    now,
    cases: rows.map((row) => ({
      placement: placementOf(row.placement, row.deployment.name),
      deployment: deploymentOf(row.deployment),
      hostName: row.hostName,
      hostStatus: row.hostStatus,
      observed: observedOf(row.placement, row.observed, row.hostObservedAt),
      lastRow: row.lastId === null ? undefined : lastRows.get(row.lastId),
      rollout: row.rolloutId === null ? undefined : newestRollouts.get(row.rolloutId),
    })),
  };
}

/**
 * An older generation or epoch that runs is not what is desired. A placement that should be gone and is still in the
 * books is a case whatever is seen there: its teardown was never recorded as done.
 */
const isOld = sql`(${observed.generation}, ${observed.epoch}) IS DISTINCT FROM (${placements.generation}, ${placements.epoch})`;
const differs = sql`CASE
  WHEN ${observed.placementId} IS NULL THEN ${isSilentlyAbsent()}
  WHEN ${placements.desired} = 'absent' THEN true
  ELSE ${observed.state} <> ${placements.desired} OR ${isOld} END`;

/** It was said to differ, and nobody repairs it: that it is as desired again is worth saying too. */
const wasTold = sql`(${deployments.reconcile} = 'report' AND ${placements.reconcileNotBefore} IS NOT NULL)`;

async function findRows(db: Db, ids: readonly (typeof lifecycle.$inferSelect)["id"][]) {
  if (ids.length === 0) return new Map<string, ReturnType<typeof lifecycleOf>>();
  const rows = await db.select().from(lifecycle).where(sql`${lifecycle.id} = ANY(${sql.param([...ids])}::uuid[])`);
  return new Map(rows.map((row) => [row.id as string, lifecycleOf(row)]));
}
