/**
 * What agents say. Beats of many hosts share a transaction, and the answer follows the commit: 204 means that it is
 * in PostgreSQL. Deltas are applied even from a beat whose snapshot is old; a snapshot never goes back in time.
 */
import {
  NO_TRACES, SkepError, decideBootEvent, toIso, type BeatResult, type BootReport, type DeltaResult, type Delivery, type HostId, type Instant, type JobId, type LifecycleRow, type ProgressNote, type Tx,
} from "@skep/core";
import type { HeartbeatReply, HeartbeatRequest, PendingJob, RegisterReply, RegisterRequest } from "@skep/protocol";
import type { ControlDeps } from "../ports.ts";
import { readBeat, reportOfDelta, type Ack, type BeatParts } from "./beat-parts.ts";
import { createGroupCommit } from "./group-commit.ts";
import { applyReports, refreshDeployment, type IncomingReport } from "./outcome.ts";
import { pendingJobOf } from "./delivery.ts";
import { toldDeltas, traceDeltas, type ToldDelta } from "./trace-deltas.ts";

const MAX_BATCH = 500;
/** How long a beat without deltas waits for company, ms: with 333 beats a second, some seven share a commit. */
const WINDOW_MS = 20;
/** Jobs offered in one reply; the rest comes with the next. */
const MAX_OFFERED = 16;
/** Registrations in one transaction. Each is four statements; more would hold the batch's locks too long. */
const MAX_REGISTRATIONS = 50;
/** A stage may have a hundred members, each with its own words; the report has them all. */
const MAX_EVENT_CHARS = 1_000;
const BOOT_SEVERITY = { "boot.blocked": "error", "boot.degraded": "warning", "boot.complete": "info" } as const;
/** Bounds what is remembered in memory for convenience; forgetting costs one query or one repeated event. */
const MAX_REMEMBERED = 20_000;

interface Flushed {
  /** The database's time of the batch, when it has anything to answer. */
  readonly at: Instant | undefined;
  readonly result: BeatResult;
  readonly acks: readonly Ack[];
  readonly told: readonly ToldDelta[];
  readonly pending: readonly LifecycleRow[];
  readonly cancels: readonly LifecycleRow[];
}

export interface Beats {
  register(hostId: HostId, request: RegisterRequest): Promise<RegisterReply>;
  beat(hostId: HostId, request: HeartbeatRequest): Promise<HeartbeatReply | undefined>;
  drain(): Promise<void>;
}

export function createBeats(deps: ControlDeps, options: { wentDeaf: () => void; rotateWanted: (hostId: HostId) => boolean }): Beats {
  const { tracer = NO_TRACES } = deps;
  /**
   * A snapshot's hash, of its text as it was read and not of its canonical form: sorting every key again costs half of
   * reading a beat. Keys in another order look like a change, which costs one write and nothing else.
   */
  const hashSnapshot = (snapshot: unknown): string => deps.hash(JSON.stringify(snapshot));
  /** Orphans already told of, so that one is one event and not one a beat. Bounded: forgetting only repeats an event. */
  const toldOrphans = new Set<string>();
  /** The snapshot each host sent last to this master, to skip a look at what cannot have changed. Never a reason to skip a write. */
  const lastHashes = new Map<HostId, string>();

  const flush = async (batch: readonly BeatParts[]): Promise<readonly Flushed[]> => {
    try {
      const flushed = await deps.store.transaction((tx) => write(tx, batch), { pool: "beats" });
      deps.failpoint("after_beat_commit");
      for (const parts of batch) {
        if (lastHashes.size > MAX_REMEMBERED) lastHashes.clear();
        if (parts.write.full !== undefined) lastHashes.set(parts.hostId, parts.write.full.snapshotHash);
      }
      return flushed;
    } catch (error) {
      if (error instanceof SkepError && error.retryable) options.wentDeaf();
      throw error;
    }
  };

  const write = async (tx: Tx, batch: readonly BeatParts[]): Promise<readonly Flushed[]> => {
    const hostIds = [...new Set(batch.map((parts) => parts.hostId))].sort();
    const reporting = batch.filter((parts) => parts.write.full?.placements !== undefined && lastHashes.get(parts.hostId) !== parts.write.full.snapshotHash).map((parts) => parts.hostId);
    const before = reporting.length === 0 ? [] : await tx.placementStates([...new Set(reporting)].sort());
    const booted = batch.filter((parts) => parts.write.full?.boot !== undefined && lastHashes.get(parts.hostId) !== parts.write.full.snapshotHash).map((parts) => parts.hostId);
    const boots = booted.length === 0 ? new Map<HostId, BootReport>() : await tx.bootReports([...new Set(booted)].sort());
    const results = await tx.writeBeats(batch.map((parts) => parts.write));

    const open = await tx.openRowsOf(hostIds);
    const byHost = groupRows(open);
    const incoming: (IncomingReport & { readonly parts: BeatParts; readonly deltaId: string | undefined })[] = [];
    const acks = new Map<BeatParts, Ack[]>(batch.map((parts) => [parts, parts.malformedDeltaIds.map((id) => ({ delta_id: id, result: "rejected" as DeltaResult, because: "malformed" }))]));
    for (const [index, parts] of batch.entries()) {
      if (results[index]!.was === undefined || results[index]!.sessionStale) continue;
      const from = { hostId: parts.hostId, bootId: parts.write.full?.bootId, actor: "agent" as const };
      for (const delta of parts.deltas) incoming.push({ ...from, parts, deltaId: delta.delta_id, rowId: delta.job_id, report: reportOfDelta(delta) });
      for (const delta of parts.seedDeltas) {
        const rows = await tx.findOpenByName(parts.hostId, delta.deployment ?? delta.name ?? delta.decky_name ?? "", delta.operation);
        if (rows.length !== 1) {
          deps.logger.warn({ host_id: parts.hostId, matches: rows.length, operation: delta.operation }, "a delta without an id fits no single open row");
          continue;
        }
        incoming.push({ ...from, parts, deltaId: undefined, rowId: rows[0]!.id, report: { status: delta.status, error: delta.error } });
      }
      // The journal's list says that work the master has not heard of is under way, or came back from being lost.
      for (const row of byHost.get(parts.hostId) ?? []) {
        const status = parts.jobs.get(row.id);
        if ((status === "accepted" || status === "running") && row.status !== "running" && !parts.deltas.some((delta) => delta.job_id === row.id)) {
          incoming.push({ ...from, parts, deltaId: undefined, rowId: row.id, report: { status: "running" } });
        }
      }
    }
    const verdicts = await applyReports(tx, incoming, deps.policy);
    for (const [index, item] of incoming.entries()) {
      const verdict = verdicts[index]!;
      if (item.deltaId === undefined) continue;
      acks.get(item.parts)!.push({ delta_id: item.deltaId, result: verdict.result, ...(verdict.result === "applied" ? {} : { because: verdict.because }) });
      if (verdict.result === "rejected") await auditRejected(tx, item, verdict.because);
      else if (verdict.result === "late") await noteLate(tx, item, verdict.because);
    }

    const moved = movedJobs(batch, results, open);
    if (moved.length > 0) await tx.noteProgress(moved);
    await noteTransitions(tx, batch, results);
    await noteBoots(tx, batch, results, boots);
    await refreshTouched(tx, batch, results, before, new Set(reporting));
    const after = incoming.length === 0 ? open : await tx.openRowsOf(hostIds);
    const answering = batch.some((parts) => parts.deltas.length > 0 || parts.rejected.length > 0) || after.length > 0;
    const at = answering ? await tx.now() : undefined;
    const flushed = batch.map((parts, index): Flushed => {
      const result = results[index]!;
      const rows = result.was === undefined || result.sessionStale || parts.minimal ? [] : after.filter((row) => row.hostId === parts.hostId);
      return { at, result, acks: acks.get(parts)!, told: toldDeltas(parts.deltas, acks.get(parts)!, byHost.get(parts.hostId) ?? []), pending: rows.filter(offerable), cancels: rows.filter((row) => row.cancelReason !== undefined && row.sentAt !== undefined) };
    });
    // Before a job is named in a reply, the ledger says that it was sent (rulings 6).
    const offered = flushed.flatMap((item) => item.pending.slice(0, MAX_OFFERED).map((row) => row.id));
    if (offered.length > 0) await tx.markSent(offered);
    deps.failpoint("before_beat_commit");
    return flushed;
  };

  /** The beat is committed: an offer that cannot be made now comes with the next beat, and costs this one nothing. */
  const offer = async (pending: readonly LifecycleRow[]): Promise<readonly Delivery[]> => {
    try {
      return await deps.store.deliveriesFor(pending.slice(0, MAX_OFFERED).map((row) => row.id as JobId));
    } catch (error) {
      if (!(error instanceof SkepError && error.retryable)) throw error;
      deps.logger.warn({ code: error.code }, "pending jobs could not be read for a heartbeat's reply");
      return [];
    }
  };

  /** The same job whether it is pushed or offered; the span says which way the agent took it. */
  const offeredJob = (delivery: Delivery): PendingJob | [] => {
    const { row, host } = delivery;
    const span = tracer.startSpan("offer", { parent: row.traceparent, kind: "producer", attributes: { deployment: row.deployment, host: host.name, operation: row.operation, generation: row.generation, lifecycleId: row.id } });
    span.end();
    return pendingJobOf(delivery, span.traceparent) ?? [];
  };

  const offerable = (row: LifecycleRow): boolean => deps.policy.dispatcherLoop && row.status === "pending" && row.cancelReason === undefined;

  /** Recomputes the deployments whose placements changed their word, and tells of placements nobody placed. */
  const refreshTouched = async (tx: Tx, batch: readonly BeatParts[], results: readonly BeatResult[], before: Awaited<ReturnType<Tx["placementStates"]>>, looked: ReadonlySet<HostId>): Promise<void> => {
    const touched = new Set<(typeof before)[number]["deploymentId"]>();
    for (const [index, parts] of batch.entries()) {
      const result = results[index]!;
      if (result.was === undefined || result.sessionStale) continue;
      // A host that was given up is back, or another master saw it change in between: all it carries is worth a look.
      if (result.was === "unreachable" || (result.changed && !looked.has(parts.hostId))) {
        for (const item of await tx.placementStates([parts.hostId])) touched.add(item.deploymentId);
      }
      if (!result.snapshotTaken) continue;
      const owned = before.filter((item) => item.hostId === parts.hostId);
      const reported = new Map((parts.write.full?.placements ?? []).map((item) => [item.placement_id, item]));
      for (const item of owned) {
        const now = reported.get(item.placementId);
        // The generation counts as much as the word: a placement that runs the old one is not what is wanted.
        if (result.changed && (item.state !== (now?.state ?? "absent") || (now !== undefined && item.generation !== now.generation))) touched.add(item.deploymentId);
      }
      for (const placement of reported.values()) {
        const key = `${parts.hostId} ${placement.placement_id}`;
        if (!looked.has(parts.hostId) || placement.state === "absent" || placement.state === "unknown" || owned.some((item) => item.placementId === placement.placement_id) || toldOrphans.has(key)) continue;
        if (toldOrphans.size > MAX_REMEMBERED) toldOrphans.clear();
        toldOrphans.add(key);
        await tx.appendEvent({ kind: "placement.orphan", severity: "warning", message: `the host reports ${placement.deployment} (${placement.state}), which is not placed there; it is left alone`, hostId: parts.hostId, data: { placement_id: placement.placement_id, generation: placement.generation } });
      }
    }
    for (const id of [...touched].sort()) await refreshDeployment(tx, id);
  };

  const batches = createGroupCommit<BeatParts, Flushed>({ clock: deps.clock, flush, maxItems: MAX_BATCH, windowMs: WINDOW_MS, lanes: 2 });

  /** After a master's restart the whole fleet registers at once: one commit each would outlast the agents' patience. */
  const registrations = createGroupCommit<{ hostId: HostId; request: RegisterRequest }, RegisterReply | undefined>({
    clock: deps.clock, maxItems: MAX_REGISTRATIONS, windowMs: 0, lanes: 2,
    flush: (items) => deps.store.transaction(async (tx) => {
      const replies: (RegisterReply | undefined)[] = [];
      // In id order, so that two batches cannot lock the same hosts crosswise.
      const order = items.map((item, index) => ({ ...item, index })).sort((a, b) => (a.hostId < b.hostId ? -1 : 1));
      for (const { hostId, request, index } of order) replies[index] = await openSession(tx, hostId, request);
      return items.map((_item, index) => replies[index]);
    }, { pool: "beats" }),
  });

  const openSession = async (tx: Tx, hostId: HostId, request: RegisterRequest): Promise<RegisterReply | undefined> => {
    const opened = await tx.openSession(hostId, { bootId: request.boot_id, hostBootId: request.host_boot_id, agentVersion: request.agent_version, agentUrl: request.agent_url });
    if (opened === undefined) return undefined;
    await tx.appendEvent({ kind: "host.registered", severity: "info", message: `the agent registered, session ${opened.sessionEpoch}`, hostId, data: { boot_id: request.boot_id, agent_version: request.agent_version } });
    const placements = await tx.listPlacements({ hostId });
    return {
      session_epoch: opened.sessionEpoch,
      // The wanted generation is the floor: a restored or rebuilt agent cannot act on anything older (faults F11).
      floors: placements.map(({ placement }) => ({ placement_id: placement.id, epoch: placement.epoch, generation: placement.generation })),
      server_time: toIso(await tx.now()),
      interval_ms: deps.timings.heartbeatIntervalMs,
    };
  };

  return {
    drain: async () => {
      await Promise.all([batches.drain(), registrations.drain()]);
    },

    async register(hostId, request) {
      const reply = await registrations.add({ hostId, request }, true);
      if (reply === undefined) throw new SkepError("host_unknown");
      return reply;
    },

    async beat(hostId, request) {
      const parts = readBeat(hostId, request, hashSnapshot);
      const urgent = parts.deltas.length + parts.seedDeltas.length > 0;
      const startedAt = deps.clock.now();
      const { at, result, acks, told, pending, cancels } = await batches.add(parts, urgent);
      for (const ack of acks) deps.observe?.onDelta(ack.result);
      traceDeltas(deps, hostId, startedAt, told);
      if (result.was === undefined) throw new SkepError("host_decommissioned");
      if (result.sessionStale) throw new SkepError("session_stale");
      const offered = pending.length === 0 ? [] : await offer(pending);
      const jobs = offered.flatMap(offeredJob);
      const interval = request.interval_ms !== undefined && request.interval_ms !== deps.timings.heartbeatIntervalMs ? deps.timings.heartbeatIntervalMs : undefined;
      const rotate = !parts.minimal && options.rotateWanted(hostId);
      const plain = acks.every((ack) => ack.result === "applied" || ack.result === "duplicate");
      const nothing = jobs.length === 0 && cancels.length === 0 && parts.rejected.length === 0 && plain && interval === undefined && !rotate;
      if (parts.minimal && parts.deltas.length === 0 && acks.length === 0) return undefined;
      if (nothing) return undefined;
      return {
        server_time: toIso(at ?? (await deps.store.now())),
        acked: acks.map((ack) => ({ ...ack })),
        rejected: parts.rejected,
        pending_jobs: jobs,
        cancel_jobs: cancels.map((row) => ({ job_id: row.id, reason: row.cancelReason ?? "operator", placement_id: row.placementId, operation: row.operation, deployment: row.deployment, generation: row.generation, epoch: row.epoch, ...(row.traceparent === undefined ? {} : { traceparent: row.traceparent }) })),
        ...(interval === undefined ? {} : { next_interval_ms: interval }),
        ...(rotate ? { rotate_cert: true } : {}),
      };
    },
  };
}

/** Only of the newest snapshot, and only what differs from the row: a beat in which nothing moved writes nothing. */
function movedJobs(batch: readonly BeatParts[], results: readonly BeatResult[], open: readonly LifecycleRow[]): ProgressNote[] {
  const notes: ProgressNote[] = [];
  for (const [index, parts] of batch.entries()) {
    if (parts.progress.size === 0 || !results[index]!.snapshotTaken) continue;
    for (const row of open) {
      const said = row.hostId === parts.hostId ? parts.progress.get(row.id) : undefined;
      if (said !== undefined && (said.progress !== row.progress || said.jobPhase !== row.jobPhase)) notes.push({ id: row.id, ...said });
    }
  }
  return notes;
}

async function noteTransitions(tx: Tx, batch: readonly BeatParts[], results: readonly BeatResult[]): Promise<void> {
  for (const [index, parts] of batch.entries()) {
    const was = results[index]!.was;
    if (was === undefined || was === "active" || results[index]!.sessionStale) continue;
    await tx.appendEvent({ kind: "host.active", severity: "info", message: `the host is active: it was ${was} and sent a heartbeat`, hostId: parts.hostId, data: { was } });
  }
}

/** What the report of a boot adds to the last one. From the ledger and not from memory: another master may have heard the last. */
async function noteBoots(tx: Tx, batch: readonly BeatParts[], results: readonly BeatResult[], before: ReadonlyMap<HostId, BootReport>): Promise<void> {
  const known = new Map(before);
  for (const [index, { hostId, write: { full } }] of batch.entries()) {
    if (!results[index]!.changed || full?.boot === undefined) continue;
    const event = decideBootEvent(known.get(hostId), full.boot);
    known.set(hostId, full.boot);
    if (event === undefined) continue;
    const { stage, members, alerts } = full.boot;
    await tx.appendEvent({ kind: event.kind, severity: BOOT_SEVERITY[event.kind], message: event.message.slice(0, MAX_EVENT_CHARS), hostId, data: { stage, alerts, unhealthy: members.filter((member) => !member.healthy).map((member) => member.name) } });
  }
}

async function auditRejected(tx: Tx, item: IncomingReport, because: string): Promise<void> {
  await tx.appendAudit({ actor: `host:${item.hostId}`, action: "delta.apply", subject: `lifecycle:${item.rowId}`, outcome: "denied", detail: { because, status: item.report.status } });
  await tx.appendEvent({ kind: "delta.rejected", severity: "warning", message: `a delta of ${item.rowId} was rejected: ${because}`, hostId: item.hostId });
}

async function noteLate(tx: Tx, item: IncomingReport, because: string): Promise<void> {
  await tx.appendEvent({ kind: "delta.late", severity: "info", message: `a delta (${item.report.status}) came late: ${because}`, hostId: item.hostId, lifecycleId: item.rowId as JobId });
}

function groupRows(rows: readonly LifecycleRow[]): Map<HostId, LifecycleRow[]> {
  const groups = new Map<HostId, LifecycleRow[]>();
  for (const row of rows) groups.set(row.hostId, [...(groups.get(row.hostId) ?? []), row]);
  return groups;
}
