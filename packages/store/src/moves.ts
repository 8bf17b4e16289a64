/** Moves and drains: written by compare-and-set; one open at most for each placement and for each host. */
import { OPEN_DRAIN_STATUSES, OPEN_MOVE_STATUSES, isOpenDrain, isOpenMove, isUuid } from "@skep/core";
import type { DrainId, DrainPatch, DrainRecord, HostId, MoveId, MovePatch, MoveQuery, MoveRecord, NewDrain, NewMove, Page } from "@skep/core";
import { and, asc, desc, eq, gt, inArray, lt, not, or, sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import type { Db } from "./db.ts";
import { afterId, first, known } from "./db.ts";
import { isUniqueViolation } from "./errors.ts";
import { drains, moves } from "./schema/index.ts";

const isOpen = (): SQL => inArray(moves.status, [...OPEN_MOVE_STATUSES]);

const moveOf = (row: typeof moves.$inferSelect): MoveRecord => ({
  ...row, drainId: known(row.drainId), toPlacementId: known(row.toPlacementId), slot: known(row.slot), completedAt: known(row.completedAt),
});
const drainOf = (row: typeof drains.$inferSelect): DrainRecord => ({ ...row, completedAt: known(row.completedAt) });

export async function findMove(db: Db, id: string): Promise<MoveRecord | undefined> {
  if (!isUuid(id)) return undefined;
  const row = await first(db.select().from(moves).where(eq(moves.id, id as MoveId)));
  return row && moveOf(row);
}

export async function listMoves(db: Db, { deploymentId, hostId, drainId, open, after, newestFirst, limit }: MoveQuery): Promise<readonly MoveRecord[]> {
  const rows = await db
    .select()
    .from(moves)
    .where(
      and(
        deploymentId === undefined ? undefined : eq(moves.deploymentId, deploymentId),
        hostId === undefined ? undefined : or(eq(moves.fromHostId, hostId), eq(moves.toHostId, hostId)),
        drainId === undefined ? undefined : eq(moves.drainId, drainId),
        open === undefined ? undefined : open ? isOpen() : not(isOpen()),
        after === undefined ? undefined : newestFirst === true ? lt(moves.id, afterId<MoveId>(after)) : gt(moves.id, afterId<MoveId>(after)),
      ),
    )
    .orderBy(newestFirst === true ? desc(moves.id) : asc(moves.id))
    .limit(limit);
  return rows.map(moveOf);
}

export async function insertMove(db: Db, move: NewMove): Promise<"inserted" | "move_open"> {
  const rows = await db.insert(moves).values(move).onConflictDoNothing().returning({ id: moves.id });
  return rows.length > 0 ? "inserted" : "move_open";
}

export async function casMove(db: Db, id: MoveId, expectedVersion: number, patch: MovePatch): Promise<boolean> {
  const ends = patch.status !== undefined && !isOpenMove(patch.status);
  const update = () =>
    db
      .update(moves)
      .set({
        ...patch,
        ...(patch.status === undefined ? {} : { progressAt: sql`now()` }),
        ...(ends ? { completedAt: sql`now()`, slot: null } : {}),
        updatedAt: sql`now()`,
        version: sql`${moves.version} + 1`,
      })
      .where(and(eq(moves.id, id), eq(moves.version, expectedVersion), isOpen()))
      .returning({ id: moves.id });
  if (patch.slot === undefined) return (await update()).length > 0;
  // Another master may take the slot at this moment, which is an answer and must not cost the transaction.
  await db.execute(sql`SAVEPOINT move_slot`);
  try {
    const rows = await update();
    await db.execute(sql`RELEASE SAVEPOINT move_slot`);
    return rows.length > 0;
  } catch (error) {
    if (!isUniqueViolation(error, "moves_one_per_slot")) throw error;
    await db.execute(sql`ROLLBACK TO SAVEPOINT move_slot`);
    return false;
  }
}

export async function findDrain(db: Db, hostId: HostId): Promise<DrainRecord | undefined> {
  // By the database's clock, the open one first: ids carry the clock of the master that made them.
  const open = inArray(drains.status, [...OPEN_DRAIN_STATUSES]);
  const row = await first(db.select().from(drains).where(eq(drains.hostId, hostId)).orderBy(desc(open), desc(drains.createdAt), desc(drains.id)).limit(1));
  return row && drainOf(row);
}

export async function listOpenDrains(db: Db, { after, limit }: Page): Promise<readonly DrainRecord[]> {
  const rows = await db
    .select()
    .from(drains)
    .where(and(inArray(drains.status, [...OPEN_DRAIN_STATUSES]), after === undefined ? undefined : gt(drains.id, afterId<DrainId>(after))))
    .orderBy(asc(drains.id))
    .limit(limit);
  return rows.map(drainOf);
}

export async function insertDrain(db: Db, drain: NewDrain): Promise<"inserted" | "drain_open"> {
  const rows = await db.insert(drains).values(drain).onConflictDoNothing().returning({ id: drains.id });
  return rows.length > 0 ? "inserted" : "drain_open";
}

export async function casDrain(db: Db, id: DrainId, expectedVersion: number, patch: DrainPatch): Promise<boolean> {
  const rows = await db
    .update(drains)
    .set({
      ...patch,
      ...(patch.status !== undefined && !isOpenDrain(patch.status) ? { completedAt: sql`now()` } : {}),
      updatedAt: sql`now()`,
      version: sql`${drains.version} + 1`,
    })
    .where(and(eq(drains.id, id), eq(drains.version, expectedVersion), inArray(drains.status, [...OPEN_DRAIN_STATUSES])))
    .returning({ id: drains.id });
  return rows.length > 0;
}
