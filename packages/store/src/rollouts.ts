/** Rollouts: written by compare-and-set under their deployment's lock; one open at most for each. */
import { OPEN_ROLLOUT_STATUSES, isOpenRollout, isUuid } from "@skep/core";
import type { NewRollout, RolloutId, RolloutPatch, RolloutQuery, RolloutRecord } from "@skep/core";
import { and, asc, desc, eq, gt, inArray, lt, not, sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import type { Db } from "./db.ts";
import { afterId, first, known } from "./db.ts";
import { rollouts } from "./schema/index.ts";

const isOpen = (): SQL => inArray(rollouts.status, [...OPEN_ROLLOUT_STATUSES]);

export const rolloutOf = (row: typeof rollouts.$inferSelect): RolloutRecord => ({
  ...row,
  baseGeneration: known(row.baseGeneration),
  basePlacement: known(row.basePlacement),
  rollbackGeneration: known(row.rollbackGeneration),
  components: known(row.components),
  patchedGeneration: known(row.patchedGeneration),
  timeoutS: known(row.timeoutS),
  completedAt: known(row.completedAt),
});

export async function findRollout(db: Db, id: string): Promise<RolloutRecord | undefined> {
  if (!isUuid(id)) return undefined;
  const row = await first(db.select().from(rollouts).where(eq(rollouts.id, id as RolloutId)));
  return row && rolloutOf(row);
}

export async function listRollouts(db: Db, { deploymentId, open, after, newestFirst, limit }: RolloutQuery): Promise<readonly RolloutRecord[]> {
  const rows = await db
    .select()
    .from(rollouts)
    .where(
      and(
        deploymentId === undefined ? undefined : eq(rollouts.deploymentId, deploymentId),
        open === undefined ? undefined : open ? isOpen() : not(isOpen()),
        after === undefined ? undefined : newestFirst === true ? lt(rollouts.id, afterId<RolloutId>(after)) : gt(rollouts.id, afterId<RolloutId>(after)),
      ),
    )
    .orderBy(newestFirst === true ? desc(rollouts.id) : asc(rollouts.id))
    .limit(limit);
  return rows.map(rolloutOf);
}

export async function insertRollout(db: Db, rollout: NewRollout): Promise<"inserted" | "rollout_open"> {
  const rows = await db.insert(rollouts).values(rollout).onConflictDoNothing().returning({ id: rollouts.id });
  return rows.length > 0 ? "inserted" : "rollout_open";
}

export async function casRollout(db: Db, id: RolloutId, expectedVersion: number, { progressed, ...columns }: RolloutPatch): Promise<boolean> {
  const ends = columns.status !== undefined && !isOpenRollout(columns.status);
  const rows = await db
    .update(rollouts)
    .set({
      ...columns,
      ...(progressed === true ? { progressAt: sql`now()` } : {}),
      ...(ends ? { completedAt: sql`now()` } : {}),
      updatedAt: sql`now()`,
      version: sql`${rollouts.version} + 1`,
    })
    .where(and(eq(rollouts.id, id), eq(rollouts.version, expectedVersion), isOpen()))
    .returning({ id: rollouts.id });
  return rows.length > 0;
}
