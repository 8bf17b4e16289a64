/**
 * Which hosts can be the first by attention. What `decideHealth` has a reason for is told here once more, and loosely: a
 * host that is named without need costs a judgement, one that is left out would be missing from the list. A test holds
 * the two together over random fleets (apps/master/test/http/attention.test.ts): whoever adds a reason there adds it here.
 */
import { CERT_WARN_DAYS, CERT_WARN_SHARE, DISK_LOW_SHARE } from "@skep/core";
import type { AttentionCandidates, AttentionQuery, HostId } from "@skep/core";
import { sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";
import { hostsWhere } from "./hosts.ts";
import { hosts } from "./schema/index.ts";

/** Wider than the rules by this much: numeric there, floating point here, and a moment later. */
const DISK_SHARE = DISK_LOW_SHARE * 1.01;
const CERT_MARGIN = "1 hour";

export async function attentionCandidates(db: Db, { calm, suspectAfterMs, openCircuits, ...query }: AttentionQuery): Promise<AttentionCandidates> {
  const { after } = calm;
  // Names by their bytes, as core compares them, whatever the database's collation.
  const rows = await rowsOf<{ id: HostId; calm: boolean }>(
    db.execute(sql`
      WITH certs AS (
        SELECT host_id, max(not_after) AS ends, min(not_before) AS begins FROM host_certs WHERE status IN ('active', 'retiring') GROUP BY host_id
      ), failing AS (
        SELECT p.host_id FROM placements p LEFT JOIN observed o ON o.placement_id = p.id WHERE p.removed_at IS NULL AND (p.desired = 'absent' OR o.state = 'failed')
      ), judged AS MATERIALIZED (
        SELECT ${hosts.id} AS id, ${hosts.name} COLLATE "C" AS name, (
          ${hosts.status} = 'active' AND ${hosts.schedulable}
          AND l.last_heartbeat_at >= now() - ${suspectAfterMs}::double precision * interval '1 millisecond'
          AND coalesce(l.phase = 'ready', true)
          AND r.observed_error IS NULL AND coalesce(r.boot->>'state' <> 'degraded', true)
          AND coalesce((r.resources->>'disk_bytes')::double precision <= 0 OR (r.resources->>'disk_free_bytes')::double precision >= ${DISK_SHARE} * (r.resources->>'disk_bytes')::double precision, true)
          AND coalesce(n.state <> 'unreachable' AND NOT n.flapping, true)
          AND coalesce(c.ends - now() > least(${CERT_WARN_DAYS} * interval '1 day', ${CERT_WARN_SHARE}::double precision * (c.ends - c.begins)) + ${CERT_MARGIN}::interval, true)
          AND ${hosts.id} NOT IN (SELECT host_id FROM failing)
          AND ${hosts.id} <> ALL (${sql.param([...openCircuits])}::uuid[])
        ) IS TRUE AS calm
        FROM ${hosts}
        LEFT JOIN host_liveness l ON l.host_id = ${hosts.id}
        LEFT JOIN host_reports r ON r.host_id = ${hosts.id}
        LEFT JOIN host_reachability n ON n.host_id = ${hosts.id}
        LEFT JOIN certs c ON c.host_id = ${hosts.id}
        WHERE ${hostsWhere(query) ?? sql`true`}
      )
      SELECT id, false AS calm FROM judged WHERE NOT calm
      UNION ALL
      (SELECT id, true FROM judged WHERE calm AND ${after === undefined ? sql`true` : sql`(name, id) > (${after.name}, ${after.id}::uuid)`} ORDER BY name, id LIMIT ${calm.limit})`),
  );
  return { ids: rows.map((row) => row.id), cut: rows.filter((row) => row.calm).length >= calm.limit };
}
