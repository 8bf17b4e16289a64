/** Webhooks and what is to be sent to them. A secret leaves this file with a claim and in no other way. */
import { isUuid } from "@skep/core";
import type { ClaimedWebhookDelivery, Tx, WebhookCounts, WebhookDelivery, WebhookDeliveryId, WebhookDeliveryQuery, WebhookId, WebhookRecord } from "@skep/core";
import { and, asc, desc, eq, getTableColumns, inArray, lt, ne, or, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { afterId, first, known, rowsOf } from "./db.ts";
import { webhookDeliveries, webhooks } from "./schema/index.ts";

const { secret: secretColumn, ...shown } = getTableColumns(webhooks);

const deliveryOf = (row: typeof webhookDeliveries.$inferSelect): WebhookDelivery => ({
  ...row, alertId: known(row.alertId), claimExpiresAt: known(row.claimExpiresAt), lastStatus: known(row.lastStatus), lastError: known(row.lastError), completedAt: known(row.completedAt),
});

export async function findWebhook(db: Db, idOrName: string): Promise<WebhookRecord | undefined> {
  const byName = eq(webhooks.name, idOrName);
  return first(db.select(shown).from(webhooks).where(isUuid(idOrName) ? or(eq(webhooks.id, idOrName as WebhookId), byName) : byName));
}

export async function listWebhooks(db: Db): Promise<readonly (WebhookRecord & { readonly deliveries: WebhookCounts })[]> {
  const rows = await db.select(shown).from(webhooks).orderBy(asc(webhooks.name));
  const counted = await db.select({
    webhookId: webhookDeliveries.webhookId,
    pending: sql<number>`(count(*) FILTER (WHERE ${webhookDeliveries.status} = 'pending'))::int`,
    dead: sql<number>`(count(*) FILTER (WHERE ${webhookDeliveries.status} = 'dead'))::int`,
  }).from(webhookDeliveries).where(ne(webhookDeliveries.status, "delivered")).groupBy(webhookDeliveries.webhookId);
  const counts = new Map(counted.map(({ webhookId, pending, dead }) => [webhookId, { pending, dead }]));
  return rows.map((webhook) => ({ ...webhook, deliveries: counts.get(webhook.id) ?? { pending: 0, dead: 0 } }));
}

export async function insertWebhook(db: Db, webhook: Parameters<Tx["insertWebhook"]>[0]): Promise<"inserted" | "webhook_exists"> {
  const rows = await db.insert(webhooks).values(webhook).onConflictDoNothing({ target: webhooks.name }).returning({ id: webhooks.id });
  return rows.length > 0 ? "inserted" : "webhook_exists";
}

export async function casWebhook(db: Db, id: WebhookId, expectedVersion: number, patch: Parameters<Tx["casWebhook"]>[2]): Promise<boolean> {
  const rows = await db.update(webhooks).set({ ...patch, updatedAt: sql`now()`, version: sql`${webhooks.version} + 1` })
    .where(and(eq(webhooks.id, id), eq(webhooks.version, expectedVersion))).returning({ id: webhooks.id });
  return rows.length > 0;
}

export async function deleteWebhook(db: Db, id: WebhookId): Promise<boolean> {
  return (await db.delete(webhooks).where(eq(webhooks.id, id)).returning({ id: webhooks.id })).length > 0;
}

export async function findWebhookDelivery(db: Db, id: string): Promise<WebhookDelivery | undefined> {
  if (!isUuid(id)) return undefined;
  const row = await first(db.select().from(webhookDeliveries).where(eq(webhookDeliveries.id, id as WebhookDeliveryId)));
  return row && deliveryOf(row);
}

export async function listWebhookDeliveries(db: Db, { webhookId, status, after, limit }: WebhookDeliveryQuery): Promise<readonly WebhookDelivery[]> {
  const rows = await db.select().from(webhookDeliveries).where(and(
    eq(webhookDeliveries.webhookId, webhookId),
    status === undefined ? undefined : eq(webhookDeliveries.status, status),
    after === undefined ? undefined : lt(webhookDeliveries.id, afterId<WebhookDeliveryId>(after)),
  )).orderBy(desc(webhookDeliveries.id)).limit(limit);
  return rows.map(deliveryOf);
}

/** Rows of one statement; a statement takes 65,535 parameters. */
const INSERT_ROWS = 1_000;

export async function insertWebhookDeliveries(db: Db, rows: Parameters<Tx["insertWebhookDeliveries"]>[0]): Promise<void> {
  for (let from = 0; from < rows.length; from += INSERT_ROWS) await db.insert(webhookDeliveries).values(rows.slice(from, from + INSERT_ROWS));
}

export async function casWebhookDelivery(db: Db, id: WebhookDeliveryId, expectedVersion: number, { retryMs, ...columns }: Parameters<Tx["casWebhookDelivery"]>[2]): Promise<boolean> {
  const rows = await db.update(webhookDeliveries).set({
    ...columns, claimExpiresAt: null, version: sql`${webhookDeliveries.version} + 1`,
    completedAt: columns.status === "pending" ? null : sql`now()`,
    ...(retryMs === undefined ? {} : { nextAttemptAt: sql`now() + ${retryMs}::double precision * interval '1 millisecond'` }),
  }).where(and(eq(webhookDeliveries.id, id), eq(webhookDeliveries.version, expectedVersion))).returning({ id: webhookDeliveries.id });
  return rows.length > 0;
}

/** Ranked first and locked afterwards, because a window does not go with FOR UPDATE; the lock looks at the row anew. */
export async function claimWebhookDeliveries(db: Db, limit: number, perWebhook: number, claimMs: number): Promise<readonly ClaimedWebhookDelivery[]> {
  const claimed = await rowsOf<{ id: WebhookDeliveryId }>(
    db.execute(sql`
      WITH busy AS (
        SELECT webhook_id, count(*) AS n FROM webhook_deliveries WHERE status = 'pending' AND claim_expires_at > now() GROUP BY webhook_id
      ), ranked AS (
        SELECT d.id, row_number() OVER (PARTITION BY d.webhook_id ORDER BY d.next_attempt_at, d.created_at, d.id) + coalesce(b.n, 0) AS nth
        FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id AND w.enabled LEFT JOIN busy b ON b.webhook_id = d.webhook_id
        WHERE d.status = 'pending' AND d.next_attempt_at <= now() AND (d.claim_expires_at IS NULL OR d.claim_expires_at <= now())
          AND NOT EXISTS (SELECT 1 FROM webhook_deliveries e WHERE e.webhook_id = d.webhook_id AND e.alert_id = d.alert_id AND e.status = 'pending'
                          AND (e.created_at, e.id) < (d.created_at, d.id))
      )
      UPDATE webhook_deliveries SET attempt = attempt + 1, claim_expires_at = now() + ${claimMs}::double precision * interval '1 millisecond', version = version + 1
      WHERE id IN (
        SELECT d.id FROM webhook_deliveries d JOIN ranked r ON r.id = d.id
        WHERE r.nth <= ${perWebhook} AND d.status = 'pending' AND (d.claim_expires_at IS NULL OR d.claim_expires_at <= now())
        ORDER BY d.next_attempt_at, d.id LIMIT ${limit}
        FOR UPDATE OF d SKIP LOCKED)
      RETURNING id`),
  );
  if (claimed.length === 0) return [];
  const rows = await db.select({ delivery: webhookDeliveries, webhook: shown, secret: secretColumn }).from(webhookDeliveries)
    .innerJoin(webhooks, eq(webhooks.id, webhookDeliveries.webhookId))
    .where(inArray(webhookDeliveries.id, claimed.map((row) => row.id)))
    .orderBy(asc(webhookDeliveries.createdAt), asc(webhookDeliveries.id));
  return rows.map(({ delivery, webhook, secret }) => ({ delivery: deliveryOf(delivery), webhook, secret }));
}
