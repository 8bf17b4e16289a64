/**
 * Heartbeats, committed in groups. A beat that repeats the last snapshot writes one narrow row and its ring slot;
 * only a changed one is taken apart. One host never costs the others: what it wrote is cleaned, not refused.
 * Invariant: whatever locks a host's rows here has locked its liveness row first, in id order, so that two batches
 * cannot deadlock and a host's beats are applied one after the other.
 */
import { isUuid } from "@skep/core";
import type { BeatResult, BeatWrite, HostId, HostStatus } from "@skep/core";
import { sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { preparedRowsOf } from "./db.ts";
import { cleanText, toJson } from "./schema/columns.ts";

interface WrittenBeat {
  readonly host_id: HostId;
  readonly was: HostStatus;
  readonly stale: boolean;
  readonly taken: boolean | null;
  readonly changed: boolean | null;
}

/** Results in the order of the beats. A host may come twice: its beats are then written in that order. */
export async function writeBeats(db: Db, beats: readonly BeatWrite[]): Promise<readonly BeatResult[]> {
  const results: BeatResult[] = [];
  let rest = beats.map((beat, index) => ({ beat, index }));
  while (rest.length > 0) {
    const wave = new Map<HostId, (typeof rest)[number]>();
    const later: typeof rest = [];
    for (const item of rest) {
      if (wave.has(item.beat.hostId)) later.push(item);
      else wave.set(item.beat.hostId, item);
    }
    const written = await writeLiveness(db, [...wave.values()].map((item) => item.beat));
    const byHost = new Map(written.map((row) => [row.host_id, row]));
    for (const { beat, index } of wave.values()) {
      const row = byHost.get(beat.hostId);
      results[index] = { hostId: beat.hostId, was: row?.was, sessionStale: row?.stale ?? false, snapshotTaken: row?.taken ?? false, changed: row?.changed ?? false };
    }
    const changed = [...wave.values()].map((item) => item.beat).filter((beat) => byHost.get(beat.hostId)?.changed === true);
    if (changed.length > 0) await writeReports(db, changed);
    rest = later;
  }
  return results;
}

/** Newer = another agent process, or a later beat of the same. Evaluated on the locked row, so never on a stale one. */
const NEWER = sql.raw("(EXCLUDED.boot_id IS NOT NULL AND (l.boot_id IS DISTINCT FROM EXCLUDED.boot_id OR EXCLUDED.seq > l.seq))");
const taken = (column: string) => sql.raw(`${column} = CASE WHEN (EXCLUDED.boot_id IS NOT NULL AND (l.boot_id IS DISTINCT FROM EXCLUDED.boot_id OR EXCLUDED.seq > l.seq)) THEN EXCLUDED.${column} ELSE l.${column} END`);

async function writeLiveness(db: Db, beats: readonly BeatWrite[]): Promise<readonly WrittenBeat[]> {
  const column = <T>(pick: (beat: BeatWrite) => T | undefined) => sql.param(beats.map((beat) => pick(beat) ?? null));
  return preparedRowsOf<WrittenBeat>(
    db,
    "write-liveness",
    sql`
      WITH input AS (
        SELECT * FROM unnest(
          ${column((beat) => beat.hostId)}::uuid[], ${column((beat) => cleanText(beat.agentVersion))}::text[],
          ${column((beat) => beat.full && cleanText(beat.full.bootId))}::text[], ${column((beat) => beat.full?.seq)}::bigint[],
          ${column((beat) => beat.full?.opSeq)}::bigint[], ${column((beat) => beat.full?.phase)}::text[],
          ${column((beat) => beat.full && cleanText(beat.full.snapshotHash))}::text[], ${column((beat) => beat.full !== undefined && beat.full.placements !== undefined)}::boolean[],
          ${column((beat) => beat.full?.sessionEpoch)}::bigint[]
        ) AS i (host_id, agent_version, boot_id, seq, op_seq, phase, snapshot_hash, observing, session_epoch)
      ), live AS (
        SELECT i.*, h.status AS was, h.agent_version AS old_version, i.boot_id IS NOT NULL AND i.session_epoch <> h.session_epoch AS stale
        FROM input i JOIN hosts h ON h.id = i.host_id WHERE h.status <> 'decommissioned'
      ), beat AS (
        INSERT INTO host_liveness AS l (host_id, last_heartbeat_at, snapshot_at, observed_at, seq, op_seq, taken, changed, boot_id, phase, snapshot_hash)
        SELECT host_id, now(), CASE WHEN boot_id IS NOT NULL THEN now() END, CASE WHEN observing THEN now() END, coalesce(seq, 0), op_seq,
               boot_id IS NOT NULL, boot_id IS NOT NULL, boot_id, phase, snapshot_hash
        FROM live WHERE NOT stale ORDER BY host_id
        ON CONFLICT (host_id) DO UPDATE SET
          last_heartbeat_at = greatest(l.last_heartbeat_at, EXCLUDED.last_heartbeat_at),
          taken = ${NEWER},
          changed = ${NEWER} AND (l.boot_id IS DISTINCT FROM EXCLUDED.boot_id OR l.snapshot_hash IS DISTINCT FROM EXCLUDED.snapshot_hash),
          observed_at = CASE WHEN ${NEWER} AND EXCLUDED.observed_at IS NOT NULL THEN EXCLUDED.observed_at ELSE l.observed_at END,
          ${taken("snapshot_at")}, ${taken("seq")}, ${taken("op_seq")}, ${taken("boot_id")}, ${taken("phase")}, ${taken("snapshot_hash")}
        RETURNING host_id, seq, phase, taken, changed
      ), ring AS (
        INSERT INTO host_heartbeats (host_id, slot, changed, received_at, seq, phase)
        SELECT host_id, (seq % 64)::smallint, changed, now(), seq, phase FROM beat WHERE taken
        ON CONFLICT (host_id, slot) DO UPDATE SET changed = EXCLUDED.changed, received_at = EXCLUDED.received_at, seq = EXCLUDED.seq, phase = EXCLUDED.phase
      ), woken AS (
        UPDATE hosts h SET status = 'active', agent_version = live.agent_version, enrolled_at = coalesce(h.enrolled_at, now()), version = h.version + 1,
          status_because = CASE WHEN h.status = 'active' THEN h.status_because ELSE 'a heartbeat arrived' END
        FROM beat JOIN live USING (host_id)
        WHERE h.id = beat.host_id AND (live.was <> 'active' OR live.old_version IS DISTINCT FROM live.agent_version)
          AND h.status <> 'decommissioned'
        RETURNING h.id
      )
      SELECT live.host_id, live.was, live.stale, beat.taken, beat.changed FROM live LEFT JOIN beat USING (host_id)`,
  );
}

async function writeReports(db: Db, beats: readonly BeatWrite[]): Promise<void> {
  const input = toJson(
    beats.flatMap(({ hostId, full }) =>
      full === undefined
        ? []
        : {
            host_id: hostId,
            boot_id: full.bootId,
            op_seq: full.opSeq,
            seq: full.seq,
            job_ids: full.jobIds,
            jobs_truncated: full.jobsTruncated,
            resources: full.resources,
            capabilities: full.capabilities ?? [],
            observed_error: full.observedError,
            cert_sha256: full.cert?.sha256,
            cert_not_after: full.cert === undefined ? undefined : new Date(full.cert.notAfter).toISOString(),
            // An id that is not one names no placement of ours.
            boot: full.boot,
            placements: full.placements?.filter((placement) => isUuid(placement.placement_id)),
          },
    ),
  );
  await preparedRowsOf(db, "write-reports", sql`
    WITH input AS (
      SELECT * FROM jsonb_to_recordset(${input}::jsonb) AS i (host_id uuid, boot_id text, op_seq bigint, seq bigint, job_ids jsonb, jobs_truncated boolean,
        resources jsonb, capabilities jsonb, observed_error text, cert_sha256 text, cert_not_after timestamptz, boot jsonb, placements jsonb)
    ), report AS (
      INSERT INTO host_reports (host_id, boot_id, op_seq, received_at, since_seq, job_ids, jobs_truncated, resources, capabilities, observed_error, cert_sha256, cert_not_after, boot, orphans)
      SELECT host_id, boot_id, op_seq, now(), seq, job_ids, jobs_truncated, resources, capabilities, observed_error, cert_sha256, cert_not_after, boot,
        CASE WHEN jsonb_typeof(placements) = 'array' THEN (
          SELECT coalesce(jsonb_agg(e.item), '[]') FROM jsonb_array_elements(input.placements) AS e (item)
          WHERE e.item->>'state' NOT IN ('absent', 'unknown')
            AND NOT EXISTS (SELECT FROM placements p WHERE p.id = (e.item->>'placement_id')::uuid AND p.host_id = input.host_id AND p.removed_at IS NULL)) END
      FROM input ORDER BY host_id
      ON CONFLICT (host_id) DO UPDATE SET boot_id = EXCLUDED.boot_id, op_seq = EXCLUDED.op_seq, received_at = EXCLUDED.received_at, since_seq = EXCLUDED.since_seq,
        job_ids = EXCLUDED.job_ids, jobs_truncated = EXCLUDED.jobs_truncated, resources = EXCLUDED.resources, capabilities = EXCLUDED.capabilities,
        observed_error = EXCLUDED.observed_error, cert_sha256 = EXCLUDED.cert_sha256, cert_not_after = EXCLUDED.cert_not_after,
        boot = EXCLUDED.boot, orphans = coalesce(EXCLUDED.orphans, host_reports.orphans)
    ), listed AS (
      SELECT DISTINCT ON (i.host_id, x.placement_id) i.host_id, x.*
      FROM input i, jsonb_to_recordset(i.placements) AS x (placement_id uuid, state text, generation bigint, epoch bigint, spec_hash text, components jsonb)
      WHERE jsonb_typeof(i.placements) = 'array'
      ORDER BY i.host_id, x.placement_id
    )
    INSERT INTO observed AS o (placement_id, host_id, state, generation, epoch, spec_hash, components, changed_at)
    SELECT p.id, p.host_id, coalesce(x.state, 'absent'), coalesce(x.generation, old.generation, 0), coalesce(x.epoch, old.epoch, 0), coalesce(x.spec_hash, old.spec_hash, ''), coalesce(x.components, '[]'), now()
    FROM input i JOIN placements p ON p.host_id = i.host_id AND p.removed_at IS NULL LEFT JOIN listed x ON x.host_id = p.host_id AND x.placement_id = p.id
      LEFT JOIN observed old ON old.placement_id = p.id
    WHERE jsonb_typeof(i.placements) = 'array'
    ORDER BY p.id
    ON CONFLICT (placement_id) DO UPDATE SET host_id = EXCLUDED.host_id, state = EXCLUDED.state, generation = EXCLUDED.generation, epoch = EXCLUDED.epoch,
      spec_hash = EXCLUDED.spec_hash, components = EXCLUDED.components, changed_at = EXCLUDED.changed_at
    WHERE (o.host_id, o.state, o.generation, o.epoch, o.spec_hash, o.components)
      IS DISTINCT FROM (EXCLUDED.host_id, EXCLUDED.state, EXCLUDED.generation, EXCLUDED.epoch, EXCLUDED.spec_hash, EXCLUDED.components)`);
}
