/** Retention. What is deleted from the event ledger is remembered as a position, so that older cursors say "expired" and never "nothing happened". */
import type { Store, Tx } from "@skep/core";
import { sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";

/** A bound per call and table keeps the transaction short; the next call goes on. */
const BATCH = 10_000;

const ago = (ms: number): SQL => sql`(now() - ${ms}::double precision * interval '1 millisecond')`;

export async function retain(db: Db, limits: Parameters<Store["retain"]>[0]): ReturnType<Store["retain"]> {
  const [events] = await rowsOf<{ count: string }>(
    db.execute(sql`
      WITH doomed AS (
        SELECT id, xid FROM events
        WHERE at < ${ago(limits.eventsMs)} AND xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY xid, id LIMIT ${BATCH} FOR UPDATE SKIP LOCKED
      ), gone AS (
        DELETE FROM events e USING doomed d WHERE e.id = d.id RETURNING e.xid, e.id
      ), newest AS (
        SELECT xid, id FROM gone ORDER BY xid DESC, id DESC LIMIT 1
      ), noted AS (
        UPDATE cluster_meta m SET pruned_xid = n.xid, pruned_id = n.id FROM newest n WHERE (m.pruned_xid, m.pruned_id) < (n.xid, n.id)
      )
      SELECT count(*) AS count FROM gone`),
  );
  const keys = await rowsOf(
    db.execute(sql`
      DELETE FROM idempotency_keys WHERE (scope, key) IN (
        SELECT scope, key FROM idempotency_keys WHERE created_at < ${ago(limits.idempotencyMs)}
        ORDER BY created_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED) RETURNING 1`),
  );
  // A day longer than they were good for, so that "expired" can still be told from "unknown".
  await db.execute(sql`DELETE FROM enrollment_tokens WHERE expires_at < now() - interval '1 day' AND id IN (
    SELECT id FROM enrollment_tokens WHERE expires_at < now() - interval '1 day' ORDER BY expires_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)`);
  const alerts = await rowsOf(
    db.execute(sql`
      DELETE FROM alerts WHERE id IN (
        SELECT id FROM alerts WHERE resolved_at < ${ago(limits.alertsMs)}
        ORDER BY resolved_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED) RETURNING 1`),
  );
  const webhookDeliveries = await rowsOf(
    db.execute(sql`
      DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries WHERE status = 'delivered' AND completed_at < ${ago(limits.alertsMs)}
        ORDER BY completed_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED) RETURNING 1`),
  );
  const counts = { events: Number(events?.count ?? 0), idempotencyKeys: keys.length, alerts: alerts.length, webhookDeliveries: webhookDeliveries.length, ...(await retainHistory(db, limits.historyMs)) };
  return { ...counts, more: Object.values(counts).some((count) => count >= BATCH) };
}

/**
 * What a later decision reads again stays: what to go back to is chosen by what became of the generations that placements
 * have. The newest is one look into an index per row; "there is a newer one" is a join, whose cost is the square of what
 * one deployment or one host has.
 */
async function retainHistory(db: Db, historyMs: number): Promise<{ rollouts: number; moves: number; drains: number }> {
  const rollouts = await rowsOf(
    db.execute(sql`
      DELETE FROM rollouts WHERE id IN (
        SELECT r.id FROM rollouts r WHERE r.completed_at < ${ago(historyMs)}
          -- The newest one, by the database's clock and by its id: both are asked for.
          AND r.id <> (SELECT n.id FROM rollouts n WHERE n.deployment_id = r.deployment_id ORDER BY n.created_at DESC, n.id DESC LIMIT 1)
          AND r.id <> (SELECT n.id FROM rollouts n WHERE n.deployment_id = r.deployment_id ORDER BY n.id DESC LIMIT 1)
          AND NOT EXISTS (SELECT 1 FROM placements p WHERE p.deployment_id = r.deployment_id AND p.generation = r.generation AND p.removed_at IS NULL)
          AND NOT EXISTS (SELECT 1 FROM placements p WHERE p.deployment_id = r.deployment_id AND p.applied_generation = r.generation AND p.removed_at IS NULL)
        ORDER BY r.completed_at LIMIT ${BATCH} FOR UPDATE OF r SKIP LOCKED) RETURNING 1`),
  );
  // A host's last drain is shown with the host; a drain stays as long as one of its moves.
  const isOver = (drain: SQL): SQL => sql`${drain}.completed_at < ${ago(historyMs)}
    AND ${drain}.id <> (SELECT n.id FROM drains n WHERE n.host_id = ${drain}.host_id ORDER BY n.created_at DESC, n.id DESC LIMIT 1)`;
  const moves = await rowsOf(
    db.execute(sql`
      DELETE FROM moves WHERE id IN (
        SELECT m.id FROM moves m WHERE m.completed_at < ${ago(historyMs)}
          AND (m.drain_id IS NULL OR EXISTS (SELECT 1 FROM drains d WHERE d.id = m.drain_id AND ${isOver(sql`d`)}))
        ORDER BY m.completed_at LIMIT ${BATCH} FOR UPDATE OF m SKIP LOCKED) RETURNING 1`),
  );
  const drains = await rowsOf(
    db.execute(sql`
      DELETE FROM drains WHERE id IN (
        SELECT d.id FROM drains d WHERE ${isOver(sql`d`)} AND NOT EXISTS (SELECT 1 FROM moves m WHERE m.drain_id = d.id)
        ORDER BY d.completed_at LIMIT ${BATCH} FOR UPDATE OF d SKIP LOCKED) RETURNING 1`),
  );
  return { rollouts: rollouts.length, moves: moves.length, drains: drains.length };
}

/** Ranked first and locked afterwards, because a window does not go with FOR UPDATE; the lock looks at the row anew: it may be on its way again. */
export async function dropDeadLetters(db: Db, limits: Parameters<Tx["dropDeadLetters"]>[0]): ReturnType<Tx["dropDeadLetters"]> {
  const rows = await rowsOf<{ webhook_id: string; webhook: string; expired: string; surplus: string }>(
    db.execute(sql`
      WITH ranked AS (
        SELECT id, completed_at < ${ago(limits.deadLettersMs)} AS expired, row_number() OVER (PARTITION BY webhook_id ORDER BY completed_at DESC, id DESC) AS nth
        FROM webhook_deliveries WHERE status = 'dead'
      ), doomed AS (
        SELECT d.id, r.expired FROM webhook_deliveries d JOIN ranked r ON r.id = d.id
        WHERE d.status = 'dead' AND (r.expired OR r.nth > ${limits.deadLettersPerWebhook})
        ORDER BY d.completed_at, d.id LIMIT ${BATCH} FOR UPDATE OF d SKIP LOCKED
      ), gone AS (
        DELETE FROM webhook_deliveries d USING doomed WHERE d.id = doomed.id RETURNING d.webhook_id, doomed.expired
      )
      SELECT w.id AS webhook_id, w.name AS webhook, count(*) FILTER (WHERE g.expired) AS expired, count(*) FILTER (WHERE NOT g.expired) AS surplus
      FROM gone g JOIN webhooks w ON w.id = g.webhook_id GROUP BY w.id, w.name ORDER BY w.name`),
  );
  const dropped = rows.map((row) => ({ webhookId: row.webhook_id, webhook: row.webhook, expired: Number(row.expired), surplus: Number(row.surplus) }));
  return { dropped, more: dropped.reduce((sum, { expired, surplus }) => sum + expired + surplus, 0) >= BATCH };
}
