/** Retention. What is deleted from the event ledger is remembered as a position, so that older cursors say "expired" and never "nothing happened". */
import type { Store } from "@skep/core";
import { sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";

/** A bound per call keeps the transaction short; the next call goes on. */
const BATCH = 10_000;

export async function retain(db: Db, limits: Parameters<Store["retain"]>[0]): ReturnType<Store["retain"]> {
  const [events] = await rowsOf<{ count: string }>(
    db.execute(sql`
      WITH doomed AS (
        SELECT id, xid FROM events
        WHERE at < now() - ${limits.eventsMs}::double precision * interval '1 millisecond' AND xid < pg_snapshot_xmin(pg_current_snapshot())
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
        SELECT scope, key FROM idempotency_keys WHERE created_at < now() - ${limits.idempotencyMs}::double precision * interval '1 millisecond'
        ORDER BY created_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED) RETURNING 1`),
  );
  // A day longer than they were good for, so that "expired" can still be told from "unknown".
  await db.execute(sql`DELETE FROM enrollment_tokens WHERE expires_at < now() - interval '1 day' AND id IN (
    SELECT id FROM enrollment_tokens WHERE expires_at < now() - interval '1 day' ORDER BY expires_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)`);
  const alerts = await rowsOf(
    db.execute(sql`
      DELETE FROM alerts WHERE id IN (
        SELECT id FROM alerts WHERE resolved_at < now() - ${limits.alertsMs}::double precision * interval '1 millisecond'
        ORDER BY resolved_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED) RETURNING 1`),
  );
  const webhookDeliveries = await rowsOf(
    db.execute(sql`
      DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries WHERE status = 'delivered' AND completed_at < now() - ${limits.alertsMs}::double precision * interval '1 millisecond'
        ORDER BY completed_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED) RETURNING 1`),
  );
  return { events: Number(events?.count ?? 0), idempotencyKeys: keys.length, alerts: alerts.length, webhookDeliveries: webhookDeliveries.length };
}
