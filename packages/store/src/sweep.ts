/** What the sweep and the liveness pass look at: rows, hosts and the database's now, in one snapshot. */
import type { HostView, Instant, JobId, JobInventory, SweepCase } from "@skep/core";
import { and, asc, eq, gt, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { known } from "./db.ts";
import { findViews, hostOf } from "./hosts.ts";
import { isOpen, lifecycleOf } from "./lifecycle-row.ts";
import { readNow } from "./clock.ts";
import { hostLiveness, hostReports, hosts, lifecycle } from "./schema/index.ts";

/** `db` is a repeatable-read transaction. */
export async function sweepCases(db: Db, limit: number, after: string | undefined): Promise<{ now: Instant; cases: readonly SweepCase[] }> {
  const now = await readNow(db);
  const rows = await db
    .select({ row: lifecycle, host: hosts, liveness: hostLiveness, report: hostReports })
    .from(lifecycle)
    .innerJoin(hosts, eq(hosts.id, lifecycle.hostId))
    .leftJoin(hostLiveness, eq(hostLiveness.hostId, lifecycle.hostId))
    .leftJoin(hostReports, eq(hostReports.hostId, lifecycle.hostId))
    .where(and(isOpen(), after === undefined ? undefined : gt(lifecycle.id, after as JobId)))
    .orderBy(asc(lifecycle.id))
    .limit(limit);
  return { now, cases: rows.map(({ row, host, liveness, report }) => ({ row: lifecycleOf(row), host: hostOf(host), inventory: inventoryOf(liveness, report) })) };
}

type LivenessRow = typeof hostLiveness.$inferSelect;
type ReportRow = typeof hostReports.$inferSelect;

/** The report's list, as old and as often repeated as the newest full beat of the same agent process says. */
function inventoryOf(liveness: LivenessRow | null, report: ReportRow | null): JobInventory | undefined {
  if (liveness === null || report === null || liveness.snapshotAt === null || liveness.bootId !== report.bootId) return undefined;
  return {
    receivedAt: liveness.snapshotAt,
    bootId: report.bootId,
    opSeq: liveness.opSeq ?? report.opSeq,
    jobIds: known(report.jobIds),
    truncated: report.jobsTruncated,
    beats: liveness.seq - report.sinceSeq + 1,
  };
}

/**
 * Hosts whose status their silence, or its end, might change. Those that are unreachable and silent are left out: a
 * fleet's dead would fill every page.
 */
export async function silentHosts(db: Db, olderThanMs: number, limit: number): Promise<{ now: Instant; hosts: readonly HostView[] }> {
  const now = await readNow(db);
  const isSilent = sql`${hostLiveness.lastHeartbeatAt} < now() - ${olderThanMs}::double precision * interval '1 millisecond'`;
  const where = sql`(${hosts.status} IN ('active', 'suspect') AND ${isSilent}) OR (${hosts.status} IN ('suspect', 'unreachable') AND NOT (${isSilent}))`;
  return { now, hosts: await findViews(db, where, [asc(hostLiveness.lastHeartbeatAt), asc(hosts.id)], limit) };
}
