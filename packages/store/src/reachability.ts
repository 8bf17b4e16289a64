/**
 * What the prober claims and writes. A claim moves `due_at` and nothing else, a result everything but that: neither can
 * undo the other. Invariant: results lock rows in id order, and a claim waits for nobody's lock.
 */
import type { HostId, HostRecord, ProbeLane, Reachability, ReachabilityChange } from "@skep/core";
import { asc, inArray, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { preparedRowsOf } from "./db.ts";
import { hostOf, reachabilityOf } from "./hosts.ts";
import { toJson } from "./schema/columns.ts";
import { hostReachability, hosts } from "./schema/index.ts";

/** Of what is due, half a period overdue is a standstill: those are spread over the next period, and asked then. */
export async function claimProbes(db: Db, lane: ProbeLane, limit: number, everyMs: number): Promise<readonly HostRecord[]> {
  const claimed = await preparedRowsOf<{ host_id: HostId }>(db, "claim-probes", sql`
    WITH period AS (SELECT ${everyMs}::double precision * interval '1 millisecond' AS length),
    due AS (
      SELECT r.host_id, r.due_at, r.due_at <= now() - period.length / 2 AS stale
      FROM period, host_reachability r JOIN hosts h ON h.id = r.host_id
      WHERE r.due_at <= now() AND (r.consecutive_failures > 0) = ${lane === "failing"}::boolean
        AND h.status IN ('enrolled', 'active', 'suspect', 'unreachable')
        AND (h.agent_url IS NOT NULL OR (h.address IS NOT NULL AND h.agent_port <> 0))
      ORDER BY r.due_at, r.host_id
      FOR UPDATE OF r SKIP LOCKED
    ), taken AS (
      SELECT host_id FROM due WHERE NOT stale ORDER BY due_at, host_id LIMIT ${limit}
    ), moved AS (
      UPDATE host_reachability r
      SET due_at = CASE WHEN due.stale THEN now() + period.length * random() ELSE r.due_at + period.length * (0.9 + 0.2 * random()) END
      FROM due, period WHERE r.host_id = due.host_id AND (due.stale OR due.host_id IN (SELECT host_id FROM taken))
      RETURNING r.host_id, due.stale
    )
    SELECT host_id FROM moved WHERE NOT stale`);
  if (claimed.length === 0) return [];
  return (await db.select().from(hosts).where(inArray(hosts.id, claimed.map((row) => row.host_id)))).map(hostOf);
}

export async function lockReachability(db: Db, hostIds: readonly HostId[]): Promise<readonly Reachability[]> {
  if (hostIds.length === 0) return [];
  return (await db.select().from(hostReachability).where(inArray(hostReachability.hostId, [...hostIds])).orderBy(asc(hostReachability.hostId)).for("update")).map(reachabilityOf);
}

export async function casReachability(db: Db, changes: readonly ReachabilityChange[]): Promise<readonly HostId[]> {
  if (changes.length === 0) return [];
  const time = (at: number | undefined): string | undefined => (at === undefined ? undefined : new Date(at).toISOString());
  const input = toJson(changes.map((change) => ({
    host_id: change.hostId, state: change.state, failures: change.consecutiveFailures, successes: change.consecutiveSuccesses, changed_at: time(change.changedAt),
    last_probe_at: time(change.lastProbeAt), last_ok_at: time(change.lastOkAt), last_error: change.lastError, transitions: change.transitions, flapping: change.flapping, version: change.version,
  })));
  const written = await preparedRowsOf<{ host_id: HostId }>(db, "cas-reachability", sql`
    UPDATE host_reachability r
    SET state = i.state, consecutive_failures = i.failures, consecutive_successes = i.successes, changed_at = i.changed_at, last_probe_at = i.last_probe_at, last_ok_at = i.last_ok_at,
        last_error = i.last_error, transitions = i.transitions, flapping = i.flapping, version = r.version + 1
    FROM jsonb_to_recordset(${input}::jsonb) AS i (host_id uuid, state text, failures bigint, successes bigint, changed_at timestamptz, last_probe_at timestamptz, last_ok_at timestamptz,
      last_error text, transitions jsonb, flapping boolean, version bigint)
    WHERE r.host_id = i.host_id AND r.version = i.version
    RETURNING r.host_id`);
  return written.map((row) => row.host_id);
}
