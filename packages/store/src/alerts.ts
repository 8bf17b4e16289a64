/** Alerts and the cursor that makes them: whoever moves it writes them, in one transaction. */
import { isUuid } from "@skep/core";
import type { AlertCursor, AlertId, AlertQuery, AlertRecord, AlertTouch, EventCursor, HostId, DeploymentId, JobId, PlacementId, Instant, NewAlert } from "@skep/core";
import { and, asc, desc, eq, inArray, lt, lte, or, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { afterId, first, known } from "./db.ts";
import { alertCursor, alerts } from "./schema/index.ts";

const alertOf = (row: typeof alerts.$inferSelect): AlertRecord => ({
  ...row,
  hostId: known(row.hostId), host: known(row.host), deploymentId: known(row.deploymentId), deployment: known(row.deployment),
  placementId: known(row.placementId), lifecycleId: known(row.lifecycleId),
  resolvedAt: known(row.resolvedAt), resolvedBecause: known(row.resolvedBecause), notifiedAt: known(row.notifiedAt), notifyAt: known(row.notifyAt),
  acknowledgedAt: known(row.acknowledgedAt), acknowledgedBy: known(row.acknowledgedBy),
});

export async function findAlert(db: Db, id: string): Promise<AlertRecord | undefined> {
  if (!isUuid(id)) return undefined;
  const row = await first(db.select().from(alerts).where(eq(alerts.id, id as AlertId)));
  return row && alertOf(row);
}

export async function listAlerts(db: Db, { state, severities, hostId, deploymentId, after, limit }: AlertQuery): Promise<readonly AlertRecord[]> {
  const rows = await db.select().from(alerts).where(and(
    state === undefined ? undefined : eq(alerts.state, state),
    severities === undefined ? undefined : inArray(alerts.severity, [...severities]),
    hostId === undefined ? undefined : isUuid(hostId) ? eq(alerts.hostId, hostId as HostId) : sql`false`,
    deploymentId === undefined ? undefined : isUuid(deploymentId) ? eq(alerts.deploymentId, deploymentId as DeploymentId) : sql`false`,
    after === undefined ? undefined : lt(alerts.id, afterId<AlertId>(after)),
  )).orderBy(desc(alerts.id)).limit(limit);
  return rows.map(alertOf);
}

export async function readAlertCursor(db: Db): Promise<AlertCursor | undefined> {
  return first(db.select({
    cursor: alertCursor.cursor, version: alertCursor.version,
    noticeDue: sql<boolean>`EXISTS (SELECT 1 FROM ${alerts} WHERE ${alerts.notifyAt} <= now())`,
  }).from(alertCursor));
}

export async function casAlertCursor(db: Db, expectedVersion: number, cursor: EventCursor): Promise<boolean> {
  const moved = expectedVersion === 0
    ? await db.insert(alertCursor).values({ cursor }).onConflictDoNothing().returning({ version: alertCursor.version })
    : await db.update(alertCursor).set({ cursor, version: sql`${alertCursor.version} + 1` }).where(eq(alertCursor.version, expectedVersion)).returning({ version: alertCursor.version });
  return moved.length > 0;
}

export async function lockAlerts(db: Db, touch: AlertTouch, since: Instant, due: number): Promise<readonly AlertRecord[]> {
  // Chosen first and locked in id order: a LIMIT on the due ones must not limit the others.
  const dueIds = due === 0 ? [] : (await db.select({ id: alerts.id }).from(alerts).where(lte(alerts.notifyAt, sql`now()`)).orderBy(asc(alerts.notifyAt)).limit(due)).map((row) => row.id);
  const firing = and(eq(alerts.state, "firing"), or(
    inArray(alerts.hostId, touch.hosts as HostId[]), inArray(alerts.deploymentId, touch.deployments as DeploymentId[]),
    inArray(alerts.placementId, touch.placements as PlacementId[]), inArray(alerts.lifecycleId, touch.lifecycles as JobId[]),
  ));
  const ofKeys = and(inArray(alerts.key, [...touch.keys]), or(eq(alerts.state, "firing"), sql`greatest(${alerts.lastAt}, ${alerts.resolvedAt}, ${alerts.notifiedAt}) > ${new Date(since).toISOString()}::timestamptz`));
  const rows = await db.select().from(alerts).where(or(firing, ofKeys, inArray(alerts.id, dueIds))).orderBy(asc(alerts.id)).for("update");
  return rows.map(alertOf);
}

export async function lockAlert(db: Db, id: AlertId): Promise<AlertRecord | undefined> {
  if (!isUuid(id)) return undefined;
  const row = await first(db.select().from(alerts).where(eq(alerts.id, id)).for("update"));
  return row && alertOf(row);
}

export async function insertAlerts(db: Db, rows: readonly NewAlert[]): Promise<void> {
  if (rows.length > 0) await db.insert(alerts).values([...rows]);
}

export async function casAlert(db: Db, alert: AlertRecord): Promise<boolean> {
  const rows = await db.update(alerts).set({
    kind: alert.kind, message: alert.message, state: alert.state, count: alert.count, lastAt: alert.lastAt, told: alert.told,
    resolvedAt: alert.resolvedAt ?? null, resolvedBecause: alert.resolvedBecause ?? null, notifiedAt: alert.notifiedAt ?? null, notifyAt: alert.notifyAt ?? null,
    acknowledgedAt: alert.acknowledgedAt ?? null, acknowledgedBy: alert.acknowledgedBy ?? null, version: sql`${alerts.version} + 1`,
  }).where(and(eq(alerts.id, alert.id), eq(alerts.version, alert.version))).returning({ id: alerts.id });
  return rows.length > 0;
}
