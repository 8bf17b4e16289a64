/**
 * The event ledger, read so that nothing is ever skipped. An id is drawn before its transaction commits, so a reader
 * of "id > last" misses whoever commits late; a reader that stops at the oldest transaction still running does not.
 */
import { isUuid } from "@skep/core";
import type { DeploymentId, EventCursor, EventFilter, EventPage, EventRecord, HostId, NewEvent } from "@skep/core";
import { and, asc, desc, eq, sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import type { Db } from "./db.ts";
import { known, rowsOf } from "./db.ts";
import { events, hosts } from "./schema/index.ts";

const LAST_ID = "9223372036854775807";

interface Position {
  readonly lineage: string;
  readonly xid: string;
  readonly id: string;
}

export async function appendEvent(db: Db, event: NewEvent): Promise<void> {
  const { kind, severity, message, hostId, deploymentId, placementId, lifecycleId, data } = event;
  await db.insert(events).values({ kind, severity, message, hostId, deploymentId, placementId, lifecycleId, data: data ?? null });
}

export async function readEvents(db: Db, after: EventCursor | undefined, limit: number, filter: EventFilter = {}): Promise<EventPage> {
  const meta = await readMeta(db);
  const from = after === undefined ? { lineage: meta.lineage, xid: "0", id: "0" } : parseCursor(after);
  if (from === undefined || from.lineage !== meta.lineage || (after !== undefined && isBefore(from, meta.pruned))) return { kind: "expired" };
  // The horizon was read before the rows: what is below it was complete then and cannot change any more.
  const rows = await db
    .select({ event: events, hostName: hosts.name })
    .from(events)
    .leftJoin(hosts, eq(hosts.id, events.hostId))
    .where(and(sql`${events.xid} < ${meta.horizon}::xid8`, sql`(${events.xid}, ${events.id}) > (${from.xid}::xid8, ${from.id}::bigint)`, matches(filter)))
    .orderBy(asc(events.xid), asc(events.id))
    .limit(limit);
  const page = rows.map((row) => recordOf(row, meta.lineage));
  const last = page.at(-1);
  // A page that is not full has seen everything below the horizon, so an idle follower of a rare kind is never pruned away.
  const seen: Position = { lineage: meta.lineage, xid: String(BigInt(meta.horizon) - 1n), id: LAST_ID };
  const next = last !== undefined && rows.length === limit ? last.cursor : formatCursor(isBefore(seen, from) ? from : seen);
  return { kind: "page", events: page, next };
}

export async function recentEvents(db: Db, limit: number, filter: EventFilter = {}): Promise<readonly EventRecord[]> {
  const { lineage } = await readMeta(db);
  const rows = await db.select({ event: events, hostName: hosts.name }).from(events).leftJoin(hosts, eq(hosts.id, events.hostId)).where(matches(filter)).orderBy(desc(events.id)).limit(limit);
  return rows.reverse().map((row) => recordOf(row, lineage));
}

export async function eventHead(db: Db): Promise<EventCursor> {
  const { lineage, horizon } = await readMeta(db);
  return formatCursor({ lineage, xid: String(BigInt(horizon) - 1n), id: LAST_ID });
}

async function readMeta(db: Db): Promise<{ lineage: string; horizon: string; pruned: Pick<Position, "xid" | "id"> }> {
  const rows = await rowsOf<{ lineage: string; horizon: string; xid: string; id: string }>(
    db.execute(sql`SELECT lineage, pg_snapshot_xmin(pg_current_snapshot())::text AS horizon, pruned_xid::text AS xid, pruned_id::text AS id FROM cluster_meta`),
  );
  const row = rows[0]!;
  return { lineage: row.lineage, horizon: row.horizon, pruned: { xid: row.xid, id: row.id } };
}

function matches(filter: EventFilter): SQL | undefined {
  return and(
    filter.hostId === undefined ? undefined : isUuid(filter.hostId) ? eq(events.hostId, filter.hostId as HostId) : sql`false`,
    filter.deploymentId === undefined ? undefined : isUuid(filter.deploymentId) ? eq(events.deploymentId, filter.deploymentId as DeploymentId) : sql`false`,
    filter.kindPrefix === undefined ? undefined : sql`starts_with(${events.kind}, ${filter.kindPrefix})`,
  );
}

const recordOf = ({ event: row, hostName }: { event: typeof events.$inferSelect; hostName: string | null }, lineage: string): EventRecord => ({
  cursor: formatCursor({ lineage, xid: row.xid, id: String(row.id) }),
  at: row.at,
  kind: row.kind,
  severity: row.severity,
  message: row.message,
  hostId: known(row.hostId),
  hostName: known(hostName),
  deploymentId: known(row.deploymentId),
  placementId: known(row.placementId),
  lifecycleId: known(row.lifecycleId),
  data: known(row.data),
});

const CURSOR = /^([0-9a-f-]{36})\.(\d{1,19})\.(\d{1,19})$/;
const MAX_ID = BigInt(LAST_ID);

const formatCursor = ({ lineage, xid, id }: Position): EventCursor => `${lineage}.${xid}.${id}`;

/** undefined: nothing that we ever gave out. */
function parseCursor(cursor: EventCursor): Position | undefined {
  const [, lineage, xid, id] = CURSOR.exec(cursor) ?? [];
  if (lineage === undefined || xid === undefined || id === undefined || BigInt(id) > MAX_ID) return undefined;
  return { lineage, xid, id };
}

function isBefore(a: Pick<Position, "xid" | "id">, b: Pick<Position, "xid" | "id">): boolean {
  return BigInt(a.xid) === BigInt(b.xid) ? BigInt(a.id) < BigInt(b.id) : BigInt(a.xid) < BigInt(b.xid);
}
