/**
 * Lifecycle rows. Every write names the version it decided on and finds the row open; what it does not find is news
 * for the caller. The trigger behind it freezes terminal rows against everybody else.
 */
import { DISPATCH_DEADLINE_MS, cleanTraceparent, isTerminal, isUuid } from "@skep/core";
import type { HostId, JobId, LifecycleQuery, LifecycleRow, NewLifecycleRow, Operation, ProgressNote, RowChange } from "@skep/core";
import { and, asc, desc, eq, gt, inArray, lt, or, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { afterId, first, rowsOf } from "./db.ts";
import { isOpen, lifecycleOf } from "./lifecycle-row.ts";
import { hosts, lifecycle } from "./schema/index.ts";
import { cleanText, toJson } from "./schema/columns.ts";

export async function findLifecycle(db: Db, id: string): Promise<LifecycleRow | undefined> {
  if (!isUuid(id)) return undefined;
  const row = await first(db.select().from(lifecycle).where(eq(lifecycle.id, id as JobId)));
  return row && lifecycleOf(row);
}

export async function listLifecycle(db: Db, query: LifecycleQuery): Promise<readonly LifecycleRow[]> {
  const { ids, deployment, host, status, open, after, newestFirst } = query;
  const rows = await db
    .select()
    .from(lifecycle)
    .where(
      and(
        ids === undefined ? undefined : inArray(lifecycle.id, uuidsOf(ids)),
        deployment === undefined ? undefined : byIdOrName(lifecycle.deploymentId, deployment, eq(lifecycle.deployment, deployment)),
        host === undefined
          ? undefined
          : byIdOrName(lifecycle.hostId, host, sql`${lifecycle.hostId} IN (SELECT ${hosts.id} FROM ${hosts} WHERE ${hosts.name} = ${host} AND ${hosts.status} <> 'decommissioned')`),
        status === undefined ? undefined : eq(lifecycle.status, status),
        open === undefined ? undefined : open ? isOpen() : sql`NOT (${isOpen()})`,
        after === undefined ? undefined : newestFirst === true ? lt(lifecycle.id, afterId<JobId>(after)) : gt(lifecycle.id, afterId<JobId>(after)),
      ),
    )
    .orderBy(newestFirst === true ? desc(lifecycle.id) : asc(lifecycle.id))
    .limit(query.limit);
  return rows.map(lifecycleOf);
}

const byIdOrName = (column: Parameters<typeof eq>[0], idOrName: string, byName: ReturnType<typeof sql>) =>
  isUuid(idOrName) ? or(eq(column, idOrName), byName) : byName;

const uuidsOf = (ids: readonly string[]): JobId[] => ids.filter(isUuid) as JobId[];

export async function insertLifecycle(db: Db, row: NewLifecycleRow): Promise<"inserted" | "operation_in_progress"> {
  const inserted = await rowsOf(
    db.execute(sql`
      INSERT INTO lifecycle (id, placement_id, deployment_id, deployment, host_id, operation, generation, base_generation, epoch, timeout_s, retry_of, options, because, traceparent, dispatch_deadline)
      SELECT ${row.id}::uuid, ${row.placementId}::uuid, d.id, d.name, ${row.hostId}::uuid, ${row.operation}, ${row.generation}::bigint, ${row.baseGeneration ?? null}::bigint,
             ${row.epoch}::bigint, ${row.timeoutS}::integer, ${row.retryOf ?? null}::uuid, ${toJson(row.options ?? {})}::jsonb, ${cleanText(row.because)}, ${cleanTraceparent(row.traceparent) ?? null}::text, now() + ${DISPATCH_DEADLINE_MS}::integer * interval '1 millisecond'
      FROM deployments d WHERE d.id = ${row.deploymentId}::uuid
      ON CONFLICT (placement_id) WHERE status IN ('pending', 'running', 'lost') DO NOTHING
      RETURNING id`),
  );
  return inserted.length > 0 ? "inserted" : "operation_in_progress";
}

export async function lockLifecycle(db: Db, ids: readonly string[]): Promise<readonly LifecycleRow[]> {
  const wanted = uuidsOf(ids);
  if (wanted.length === 0) return [];
  return (await db.select().from(lifecycle).where(inArray(lifecycle.id, wanted)).orderBy(asc(lifecycle.id)).for("update")).map(lifecycleOf);
}

export async function casLifecycle(db: Db, change: RowChange): Promise<LifecycleRow | undefined> {
  const { status, phase, failureCode, error, because, steps, acceptedOpSeq, acceptedBootId, nextDispatchAt, cancelReason, agentCompletedAt } = change;
  const row = await first(
    db
      .update(lifecycle)
      .set({
        because,
        ...(status === undefined ? {} : { status }),
        ...(status === "running" ? { runningAt: sql`coalesce(${lifecycle.runningAt}, now())` } : {}),
        ...(status !== undefined && isTerminal(status) ? { completedAt: sql`now()`, claimExpiresAt: null } : {}),
        ...(phase === undefined ? {} : { phase }),
        ...(failureCode === undefined ? {} : { failureCode }),
        ...(error === undefined ? {} : { error }),
        ...(steps === undefined ? {} : { steps }),
        ...(acceptedOpSeq === undefined ? {} : { acceptedOpSeq }),
        ...(acceptedBootId === undefined ? {} : { acceptedBootId }),
        ...(nextDispatchAt === undefined ? {} : { nextDispatchAt }),
        ...(change.releaseClaim === true ? { claimExpiresAt: null } : {}),
        ...(cancelReason === undefined ? {} : wantCancel(cancelReason)),
        ...(agentCompletedAt === undefined ? {} : { agentCompletedAt }),
        ...(change.progress === undefined ? {} : { progress: change.progress, progressAt: sql`now()` }),
        ...(change.jobPhase === undefined ? {} : { jobPhase: change.jobPhase }),
        updatedAt: sql`now()`,
        version: sql`${lifecycle.version} + 1`,
      })
      .where(and(eq(lifecycle.id, change.id), eq(lifecycle.version, change.expectedVersion), isOpen()))
      .returning(),
  );
  return row && lifecycleOf(row);
}

export async function requestCancel(db: Db, id: JobId, expectedVersion: number, reason: NonNullable<RowChange["cancelReason"]>): Promise<LifecycleRow | undefined> {
  const row = await first(
    db
      .update(lifecycle)
      .set({ ...wantCancel(reason), updatedAt: sql`now()`, version: sql`${lifecycle.version} + 1` })
      .where(and(eq(lifecycle.id, id), eq(lifecycle.version, expectedVersion), isOpen()))
      .returning(),
  );
  return row && lifecycleOf(row);
}

/** The first reason stays: it decides what a confirmed cancel is called. */
const wantCancel = (reason: NonNullable<RowChange["cancelReason"]>) => ({
  cancelReason: sql<typeof reason>`coalesce(${lifecycle.cancelReason}, ${reason})`,
  cancelRequestedAt: sql`coalesce(${lifecycle.cancelRequestedAt}, now())`,
});

export async function openRowsOf(db: Db, hostIds: readonly HostId[]): Promise<readonly LifecycleRow[]> {
  if (hostIds.length === 0) return [];
  return (await db.select().from(lifecycle).where(and(inArray(lifecycle.hostId, [...hostIds]), isOpen())).orderBy(asc(lifecycle.id))).map(lifecycleOf);
}

export async function findOpenByName(db: Db, hostId: HostId, deployment: string, operation: Operation): Promise<readonly LifecycleRow[]> {
  const rows = await db
    .select()
    .from(lifecycle)
    .where(and(eq(lifecycle.hostId, hostId), eq(lifecycle.deployment, deployment), eq(lifecycle.operation, operation), isOpen()))
    .orderBy(asc(lifecycle.id));
  return rows.map(lifecycleOf);
}

/** Rows that are locked are skipped: progress is said again with every beat, and must never wait for, or deadlock with, a decision. */
export async function noteProgress(db: Db, notes: readonly ProgressNote[]): Promise<void> {
  if (notes.length === 0) return;
  await rowsOf(
    db.execute(sql`
      WITH input AS (
        SELECT * FROM unnest(${sql.param(notes.map((note) => note.id))}::uuid[], ${sql.param(notes.map((note) => note.progress))}::bigint[], ${sql.param(notes.map((note) => (note.jobPhase === undefined ? null : cleanText(note.jobPhase))))}::text[]) AS i (id, progress, job_phase)
      ), locked AS (
        SELECT l.id, i.progress, i.job_phase FROM lifecycle l JOIN input i USING (id)
        WHERE l.status = 'running' AND (l.progress, l.job_phase) IS DISTINCT FROM (i.progress, i.job_phase)
        ORDER BY l.id FOR UPDATE OF l SKIP LOCKED
      )
      UPDATE lifecycle l SET progress = n.progress, job_phase = n.job_phase, progress_at = CASE WHEN l.progress IS DISTINCT FROM n.progress THEN now() ELSE l.progress_at END
      FROM locked n WHERE l.id = n.id`),
  );
}
