/** Claiming rows for delivery. A row is marked sent, and that is committed, before anybody is told of it (rulings 6). */
import { OPEN_STATUSES } from "@skep/core";
import type { Delivery, JobId, LifecycleRow } from "@skep/core";
import { and, asc, eq, inArray, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";
import { hostOf } from "./hosts.ts";
import { lifecycleOf } from "./lifecycle-row.ts";
import { placementOf } from "./placements.ts";
import { deploymentGenerations, hosts, lifecycle, placements } from "./schema/index.ts";

/**
 * One statement, so that two dispatchers share the work and never a row. A row whose cancel was asked for before it
 * was ever sent is not sent any more: it can still end without the agent.
 */
export async function claimDispatchable(db: Db, limit: number, claimMs: number): Promise<readonly Delivery[]> {
  const claimed = await rowsOf<{ id: JobId }>(
    db.execute(sql`
      UPDATE lifecycle SET phase = 'sent', sent_at = coalesce(sent_at, now()), dispatch_attempts = dispatch_attempts + 1,
        claim_expires_at = now() + ${claimMs}::double precision * interval '1 millisecond', updated_at = now(), version = version + 1
      WHERE id IN (
        SELECT l.id FROM lifecycle l JOIN hosts h ON h.id = l.host_id
        WHERE l.status = 'pending' AND l.next_dispatch_at <= now()
          AND (l.claim_expires_at IS NULL OR l.claim_expires_at <= now())
          AND (l.cancel_reason IS NULL OR l.sent_at IS NOT NULL)
          AND h.status NOT IN ('pending', 'decommissioned')
        ORDER BY l.next_dispatch_at, l.id LIMIT ${limit}
        FOR UPDATE OF l SKIP LOCKED)
      RETURNING id`),
  );
  return deliveriesFor(db, claimed.map((row) => row.id));
}

export async function deliveriesFor(db: Db, ids: readonly JobId[]): Promise<readonly Delivery[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .select({ row: lifecycle, host: hosts, placement: placements, generation: deploymentGenerations })
    .from(lifecycle)
    .innerJoin(hosts, eq(hosts.id, lifecycle.hostId))
    .innerJoin(placements, eq(placements.id, lifecycle.placementId))
    .leftJoin(deploymentGenerations, and(eq(deploymentGenerations.deploymentId, lifecycle.deploymentId), eq(deploymentGenerations.generation, lifecycle.generation)))
    .where(inArray(lifecycle.id, [...ids]))
    .orderBy(asc(lifecycle.id));
  return rows.map(({ row, host, placement, generation }) => ({
    row: lifecycleOf(row),
    host: hostOf(host),
    placement: placementOf(placement, row.deployment),
    generation: generation ?? undefined,
  }));
}

/** Rows that were sent before are returned as they are: offering them again, beat after beat, writes nothing. */
export async function markSent(db: Db, ids: readonly JobId[]): Promise<readonly LifecycleRow[]> {
  if (ids.length === 0) return [];
  const pending = await db
    .select()
    .from(lifecycle)
    .where(and(inArray(lifecycle.id, [...ids]), eq(lifecycle.status, OPEN_STATUSES[0])))
    .orderBy(asc(lifecycle.id))
    .for("update");
  const unsent = pending.filter((row) => row.sentAt === null && row.cancelReason === null).map((row) => row.id);
  const marked = unsent.length === 0 ? [] : await db
    .update(lifecycle)
    .set({ phase: "sent", sentAt: sql`now()`, updatedAt: sql`now()`, version: sql`${lifecycle.version} + 1` })
    .where(inArray(lifecycle.id, unsent))
    .returning();
  const byId = new Map(marked.map((row) => [row.id, row]));
  return pending.flatMap((row) => (row.sentAt !== null ? [row] : (byId.get(row.id) ?? []))).map(lifecycleOf);
}
