/** Hosts: reading them, and changes that say what they believed. */
import { isUuid } from "@skep/core";
import type { BootReport, HostId, HostLiveness, HostQuery, HostRecord, HostReport, HostStatus, HostView, OrphanRecord, Reachability, RingBeat, Tx } from "@skep/core";
import { and, asc, eq, gt, inArray, isNotNull, isNull, ne, or, sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import type { Db } from "./db.ts";
import { afterId, first, known } from "./db.ts";
import { hostHeartbeats, hostLiveness, hostReachability, hostReports, hosts, hostSessions } from "./schema/index.ts";
import { burnTokens } from "./tokens.ts";
import { revokeCerts } from "./certs.ts";

export async function findHost(db: Db, idOrName: string): Promise<HostRecord | undefined> {
  const row = await first(db.select().from(hosts).where(isNamed(idOrName)).orderBy(idFirst(idOrName)).limit(1));
  return row && hostOf(row);
}

export async function findHostView(db: Db, idOrName: string): Promise<HostView | undefined> {
  return first(findViews(db, isNamed(idOrName), [idFirst(idOrName)], 1));
}

/** Which hosts a list is of; nothing of where its page begins. */
export const hostsWhere = (query: Pick<HostQuery, "status" | "labels" | "live" | "ids">): SQL | undefined =>
  and(
    query.status === undefined ? undefined : eq(hosts.status, query.status),
    query.labels === undefined ? undefined : sql`${hosts.labels} @> ${JSON.stringify(query.labels)}::jsonb`,
    // Said even beside a status: only so the index of live names serves the order by name.
    query.live === true ? ne(hosts.status, "decommissioned") : undefined,
    query.ids === undefined ? undefined : sql`${hosts.id} = ANY (${sql.param([...query.ids])}::uuid[])`,
  );

export async function listHosts(db: Db, query: HostQuery): Promise<readonly HostView[]> {
  const where = and(
    hostsWhere(query),
    query.after === undefined ? undefined : gt(hosts.id, afterId<HostId>(query.after)),
    query.byName?.after === undefined ? undefined : sql`(${hosts.name}, ${hosts.id}) > (${query.byName.after.name}, ${query.byName.after.id}::uuid)`,
  );
  return findPage(db, where, query.byName === undefined ? [asc(hosts.id)] : [asc(hosts.name), asc(hosts.id)], query.limit);
}

export async function listOrphans(db: Db, limit: number): Promise<readonly OrphanRecord[]> {
  const rows = await db
    .select({ hostId: hosts.id, hostName: hosts.name, reportedAt: hostReports.receivedAt, orphans: hostReports.orphans })
    .from(hostReports)
    .innerJoin(hosts, eq(hosts.id, hostReports.hostId))
    .where(and(ne(hosts.status, "decommissioned"), sql`jsonb_array_length(${hostReports.orphans}) > 0`))
    .orderBy(asc(hosts.id))
    .limit(limit);
  return rows.flatMap(({ orphans, ...host }) => (orphans ?? []).map((placement) => ({ ...host, placement }))).slice(0, limit);
}

/** Oldest first; at most 64. */
export async function listRing(db: Db, hostId: HostId): Promise<readonly RingBeat[]> {
  const rows = await db.select().from(hostHeartbeats).where(eq(hostHeartbeats.hostId, hostId)).orderBy(hostHeartbeats.receivedAt, hostHeartbeats.seq);
  return rows.map(({ receivedAt, seq, phase, changed }) => ({ receivedAt, seq, phase: known(phase), changed }));
}

export async function insertHost(db: Db, host: Parameters<Tx["insertHost"]>[0]): Promise<"inserted" | "host_exists"> {
  const row = await db.insert(hosts).values(host).onConflictDoNothing().returning({ id: hosts.id });
  if (row.length === 0) return "host_exists";
  await db.insert(hostReachability).values({ hostId: host.id });
  return "inserted";
}

export async function casHostStatus(db: Db, id: HostId, from: HostStatus, to: HostStatus, because: string): Promise<boolean> {
  const heard = to === "enrolled" || to === "active";
  const rows = await db
    .update(hosts)
    .set({
      status: to,
      statusBecause: because,
      version: sql`${hosts.version} + 1`,
      ...(heard ? { enrolledAt: sql`coalesce(${hosts.enrolledAt}, now())` } : {}),
      ...(to === "decommissioned" ? { decommissionedAt: sql`now()` } : {}),
    })
    // The tombstone never moves, whatever the caller believed.
    .where(and(eq(hosts.id, id), eq(hosts.status, from), ne(hosts.status, "decommissioned")))
    .returning({ id: hosts.id });
  return rows.length > 0;
}

export async function updateHost(db: Db, id: HostId, patch: Parameters<Tx["updateHost"]>[1]): Promise<void> {
  await db.update(hosts).set({ ...patch, version: sql`${hosts.version} + 1` }).where(eq(hosts.id, id));
}

export async function recordProbe(db: Db, id: HostId, ok: boolean, error: string | undefined): Promise<void> {
  await db
    .update(hosts)
    .set({ lastProbeAt: sql`now()`, lastProbeOk: ok, lastProbeError: ok ? null : (error ?? null), version: sql`${hosts.version} + 1` })
    .where(eq(hosts.id, id));
}

export async function resetBreakers(db: Db, id: HostId): Promise<void> {
  await db.update(hosts).set({ breakerResets: sql`${hosts.breakerResets} + 1`, version: sql`${hosts.version} + 1` }).where(eq(hosts.id, id));
}

export async function decommissionHost(db: Db, id: HostId): Promise<boolean> {
  const rows = await db
    .update(hosts)
    .set({
      status: "decommissioned",
      statusBecause: "decommissioned by an operator",
      schedulable: false,
      decommissionedAt: sql`now()`,
      // The next epoch belongs to nobody: a beat of the closed session is stale.
      sessionEpoch: sql`${hosts.sessionEpoch} + 1`,
      sessionBootId: null,
      version: sql`${hosts.version} + 1`,
    })
    .where(and(eq(hosts.id, id), ne(hosts.status, "decommissioned")))
    .returning({ id: hosts.id });
  if (rows.length === 0) return false;
  await revokeCerts(db, id);
  await burnTokens(db, id);
  await closeSessions(db, id);
  // Nobody asks it any more, and what was seen of it goes with it.
  await db.delete(hostReachability).where(eq(hostReachability.hostId, id));
  return true;
}

export async function openSession(db: Db, id: HostId, registration: Parameters<Tx["openSession"]>[1]): Promise<{ sessionEpoch: number } | undefined> {
  const { bootId, hostBootId, agentVersion, agentUrl } = registration;
  const row = await first(
    db
      .update(hosts)
      .set({ sessionEpoch: sql`${hosts.sessionEpoch} + 1`, sessionBootId: bootId, agentVersion, agentUrl: agentUrl ?? null, version: sql`${hosts.version} + 1` })
      .where(and(eq(hosts.id, id), ne(hosts.status, "decommissioned")))
      .returning({ sessionEpoch: hosts.sessionEpoch }),
  );
  if (row === undefined) return undefined;
  await closeSessions(db, id);
  await db.insert(hostSessions).values({ hostId: id, sessionEpoch: row.sessionEpoch, bootId, hostBootId, agentVersion, agentUrl: agentUrl ?? null });
  return row;
}

async function closeSessions(db: Db, id: HostId): Promise<void> {
  await db.update(hostSessions).set({ closedAt: sql`now()` }).where(and(eq(hostSessions.hostId, id), isNull(hostSessions.closedAt)));
}

/** By id, or by the name of a host that is not decommissioned. A name may look like an id: the id goes first. */
function isNamed(idOrName: string): SQL | undefined {
  const byName = and(eq(hosts.name, idOrName), ne(hosts.status, "decommissioned"));
  return isUuid(idOrName) ? or(eq(hosts.id, idOrName as HostId), byName) : byName;
}

const idFirst = (idOrName: string): SQL => sql`(${hosts.id}::text = ${idOrName}) DESC`;

/** Hosts with what was last heard of them; `where` and `order` may speak of that too. */
export async function findViews(db: Db, where: SQL | undefined, order: readonly SQL[], limit: number): Promise<readonly HostView[]> {
  const rows = await db
    .select({ host: hosts, liveness: hostLiveness, report: hostReports, reachability: hostReachability })
    .from(hosts)
    .leftJoin(hostReachability, eq(hostReachability.hostId, hosts.id))
    .leftJoin(hostLiveness, eq(hostLiveness.hostId, hosts.id))
    .leftJoin(hostReports, eq(hostReports.hostId, hosts.id))
    .where(where)
    .orderBy(...order)
    .limit(limit);
  return rows.map(viewOf);
}

/**
 * The same where both speak of `hosts` alone. The page is cut first, and the rest is looked up for its hosts one by one:
 * joined as tables, PostgreSQL reads the others from their beginning for every page, and a walk through the fleet costs
 * the square of it. (`limit` keeps it from joining them after all; there is at most one row each.)
 */
async function findPage(db: Db, where: SQL | undefined, order: readonly SQL[], limit: number): Promise<readonly HostView[]> {
  // Under the table's own name, so that `order` means the same inside and outside.
  const page = db.select().from(hosts).where(where).orderBy(...order).limit(limit).as("hosts");
  const rows = await db
    .select()
    .from(page)
    .leftJoinLateral(db.select().from(hostReachability).where(eq(hostReachability.hostId, page.id)).limit(1).as("reachability"), sql`true`)
    .leftJoinLateral(db.select().from(hostLiveness).where(eq(hostLiveness.hostId, page.id)).limit(1).as("liveness"), sql`true`)
    .leftJoinLateral(db.select().from(hostReports).where(eq(hostReports.hostId, page.id)).limit(1).as("report"), sql`true`)
    .orderBy(...order);
  return rows.map((row) => viewOf({ host: row.hosts, liveness: row.liveness, report: row.report, reachability: row.reachability }));
}

type HostRow = typeof hosts.$inferSelect;
type LivenessRow = typeof hostLiveness.$inferSelect;
type ReportRow = typeof hostReports.$inferSelect;
type ReachabilityRow = typeof hostReachability.$inferSelect;

const viewOf = (row: { host: HostRow; liveness: LivenessRow | null; report: ReportRow | null; reachability: ReachabilityRow | null }): HostView => ({
  host: hostOf(row.host),
  reachability: row.reachability === null ? undefined : reachabilityOf(row.reachability),
  liveness: row.liveness === null ? undefined : livenessOf(row.liveness),
  report: row.report === null ? undefined : reportOf(row.report),
});

export const hostOf = (row: HostRow): HostRecord => ({
  id: row.id,
  name: row.name,
  status: row.status,
  statusBecause: known(row.statusBecause),
  schedulable: row.schedulable,
  labels: row.labels,
  notes: known(row.notes),
  address: known(row.address),
  agentPort: row.agentPort,
  agentUrl: known(row.agentUrl),
  allowedCidr: known(row.allowedCidr),
  agentVersion: known(row.agentVersion),
  sessionEpoch: row.sessionEpoch,
  sessionBootId: known(row.sessionBootId),
  breakerResets: row.breakerResets,
  lastProbe: row.lastProbeAt === null ? undefined : { at: row.lastProbeAt, ok: row.lastProbeOk === true, error: known(row.lastProbeError) },
  createdAt: row.createdAt,
  enrolledAt: known(row.enrolledAt),
  decommissionedAt: known(row.decommissionedAt),
  version: row.version,
});

export const reachabilityOf = (row: ReachabilityRow): Reachability => ({
  ...row,
  changedAt: known(row.changedAt),
  lastProbeAt: known(row.lastProbeAt),
  lastOkAt: known(row.lastOkAt),
  lastError: known(row.lastError),
});

const livenessOf = (row: LivenessRow): HostLiveness => ({
  hostId: row.hostId,
  lastHeartbeatAt: row.lastHeartbeatAt,
  bootId: known(row.bootId),
  seq: row.seq,
  opSeq: known(row.opSeq),
  phase: known(row.phase),
  observedAt: known(row.observedAt),
});

const reportOf = (row: ReportRow): HostReport => ({
  hostId: row.hostId,
  bootId: row.bootId,
  opSeq: row.opSeq,
  receivedAt: row.receivedAt,
  sinceSeq: row.sinceSeq,
  jobIds: known(row.jobIds),
  jobsTruncated: row.jobsTruncated,
  resources: known(row.resources),
  capabilities: row.capabilities,
  observedError: known(row.observedError),
  boot: known(row.boot),
  orphans: row.orphans ?? [],
  cert: row.certSha256 === null || row.certNotAfter === null ? undefined : { sha256: row.certSha256, notAfter: row.certNotAfter },
});

/** How these hosts' boots stood by their last reports. */
export async function bootReports(db: Db, hostIds: readonly HostId[]): Promise<ReadonlyMap<HostId, BootReport>> {
  if (hostIds.length === 0) return new Map();
  const rows = await db.select({ hostId: hostReports.hostId, boot: hostReports.boot }).from(hostReports).where(and(inArray(hostReports.hostId, [...hostIds]), isNotNull(hostReports.boot)));
  return new Map(rows.flatMap(({ hostId, boot }) => (boot === null ? [] : [[hostId, boot] as const])));
}
