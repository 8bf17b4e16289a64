/**
 * Heartbeats. Every accepted beat moves liveness; a snapshot is taken only when it is newer, and rewritten only when its
 * hash changed. A host speaks for its own placements only, and a list it could not make changes no observation.
 */
import { isDeepStrictEqual } from "node:util";
import type { BeatResult, BeatWrite, PlacementRecord, ReportedPlacement } from "@skep/core";
import { jsonCopy, type Context, type StoredReport } from "./state.ts";

const RING_SLOTS = 64;

export function writeBeats(context: Context, beats: readonly BeatWrite[]): BeatResult[] {
  return beats.map((beat) => writeBeat(context, beat));
}

function writeBeat(context: Context, beat: BeatWrite): BeatResult {
  const { state, now } = context;
  const host = state.hosts.get(beat.hostId);
  if (host === undefined || host.status === "decommissioned") return { hostId: beat.hostId, was: undefined, sessionStale: false, snapshotTaken: false, changed: false };

  const before = state.liveness.get(host.id);
  const { full } = beat;
  if (full !== undefined && full.sessionEpoch !== host.sessionEpoch) return { hostId: host.id, was: host.status, sessionStale: true, snapshotTaken: false, changed: false };
  const newer = full !== undefined && (before?.bootId !== full.bootId || full.seq > before.seq);
  const report = state.reports.get(host.id);
  const changed = newer && (report?.bootId !== full.bootId || report.snapshotHash !== full.snapshotHash);
  if (full !== undefined && newer) {
    state.liveness.set(host.id, {
      hostId: host.id, lastHeartbeatAt: now(), bootId: full.bootId, seq: full.seq, opSeq: full.opSeq, phase: full.phase,
      snapshotAt: now(), observedAt: full.placements === undefined ? before?.observedAt : now(),
    });
    if (changed) takeSnapshot(context, beat.hostId, full);
    addToRing(context, beat.hostId, full, changed);
  } else {
    state.liveness.set(host.id, {
      ...(before ?? { hostId: host.id, bootId: undefined, seq: 0, opSeq: undefined, phase: undefined, snapshotAt: undefined, observedAt: undefined }),
      lastHeartbeatAt: now(),
    });
  }
  if (host.status !== "active" || host.agentVersion !== beat.agentVersion) {
    const woken = host.status === "active" ? {} : { status: "active" as const, statusBecause: "a heartbeat arrived" };
    state.hosts.set(host.id, { ...host, ...woken, agentVersion: beat.agentVersion, enrolledAt: host.enrolledAt ?? now(), version: host.version + 1 });
  }
  return { hostId: host.id, was: host.status, sessionStale: false, snapshotTaken: newer, changed };
}

type FullBeat = NonNullable<BeatWrite["full"]>;

function takeSnapshot(context: Context, hostId: BeatWrite["hostId"], full: FullBeat): void {
  const { state, now } = context;
  const report: StoredReport = {
    hostId, bootId: full.bootId, opSeq: full.opSeq, receivedAt: now(), sinceSeq: full.seq, jobIds: jsonCopy(full.jobIds), jobsTruncated: full.jobsTruncated,
    resources: jsonCopy(full.resources), capabilities: full.capabilities === undefined ? [] : [...full.capabilities], observedError: full.observedError, cert: full.cert,
    boot: jsonCopy(full.boot), orphans: orphansOf(context, hostId, full),
    snapshotHash: full.snapshotHash,
  };
  state.reports.set(hostId, report);
  if (full.placements === undefined) return;
  const reported = new Map(full.placements.map((placement) => [placement.placement_id, placement]));
  for (const placement of state.placements.values()) {
    if (placement.hostId === hostId && placement.removedAt === undefined) observe(context, placement, reported.get(placement.id));
  }
}

/** What is reported and not placed there; a host that could not look leaves the last list. */
function orphansOf({ state }: Context, hostId: BeatWrite["hostId"], full: FullBeat): readonly ReportedPlacement[] {
  if (full.placements === undefined) return state.reports.get(hostId)?.orphans ?? [];
  return jsonCopy(full.placements.filter((seen) => {
    const placement = state.placements.get(seen.placement_id);
    return seen.state !== "absent" && seen.state !== "unknown" && (placement === undefined || placement.hostId !== hostId || placement.removedAt !== undefined);
  }));
}

function observe({ state, now }: Context, placement: PlacementRecord, seen: ReportedPlacement | undefined): void {
  const known = state.observed.get(placement.id);
  const source = { placementId: placement.id, hostId: placement.hostId };
  // A whole list that leaves it out says that nothing of it is there.
  const facts = seen === undefined
    ? { ...source, state: "absent" as const, generation: known?.generation ?? 0, epoch: known?.epoch ?? 0, specHash: known?.specHash ?? "", components: [] }
    : { ...source, state: seen.state, generation: seen.generation, epoch: seen.epoch, specHash: seen.spec_hash, components: jsonCopy(seen.components) };
  const { observedAt: _at, changedAt = now(), ...before } = known ?? {};
  state.observed.set(placement.id, { ...facts, observedAt: now(), changedAt: isDeepStrictEqual(before, facts) ? changedAt : now() });
}

function addToRing({ state, now }: Context, hostId: string, full: FullBeat, changed: boolean): void {
  const slot = full.seq % RING_SLOTS;
  const others = (state.rings.get(hostId)?.beats ?? []).filter((beat) => beat.seq % RING_SLOTS !== slot);
  state.rings.set(hostId, { beats: [...others, { receivedAt: now(), seq: full.seq, phase: full.phase, changed }] });
}
