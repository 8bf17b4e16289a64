/**
 * The journal's meaning: a fold over its records. Pure and total, so that the memory after a restart is the memory
 * before it. Records for jobs that are not known (pruned) are ignored.
 */
import type { Floor, JobEntry, JournalRecord, JournalSnapshot, PlacementEntry } from "./records.ts";

export interface JournalState {
  opSeq: number;
  readonly jobs: Map<string, JobEntry>;
  readonly placements: Map<string, PlacementEntry>;
  readonly floors: Map<string, Floor>;
}

/** Acknowledged jobs that can still be asked about. Fewer: a slow master gets 404 for what it did; more: a longer file. */
export const KEPT_ACKED_JOBS = 200;
/** Tombstones outlive that: a pruned one would let a very late delivery through. */
export const KEPT_TOMBSTONES = 1_000;

const NIL_UUID = "00000000-0000-0000-0000-000000000000";

export const emptyState = (): JournalState => ({ opSeq: 0, jobs: new Map(), placements: new Map(), floors: new Map() });

export function applyRecord(state: JournalState, record: JournalRecord): void {
  if ("opSeq" in record) state.opSeq = Math.max(state.opSeq, record.opSeq);
  switch (record.kind) {
    case "accepted": {
      const { command } = record;
      state.jobs.set(command.job_id, {
        jobId: command.job_id, operation: command.operation, placementId: command.placement_id, deployment: command.deployment,
        generation: command.generation, epoch: command.epoch, opSeq: record.opSeq, bootId: record.bootId, acceptedAt: record.at,
        status: "accepted", begun: false, wanted: {}, steps: [], acked: false, tombstone: false, command, traceparent: record.traceparent,
      });
      if (record.refused !== true) raiseFloor(state, { placementId: command.placement_id, epoch: command.epoch, generation: command.generation });
      return;
    }
    case "begun":
      return change(state, record.jobId, { begun: true, wanted: record.wanted, startedAt: record.at, status: "running" });
    case "step": {
      const steps = state.jobs.get(record.jobId)?.steps ?? [];
      return change(state, record.jobId, { steps: [...steps, record.step] });
    }
    case "ended":
      change(state, record.jobId, {
        status: record.status, completedAt: record.at, deltaId: record.deltaId, endedSeq: record.opSeq, steps: record.steps,
        error: record.error, errorCode: record.errorCode, acked: false, command: undefined,
        ...(record.traceparent === undefined ? {} : { traceparent: record.traceparent }),
      });
      if (record.placement === null) {
        const placementId = state.jobs.get(record.jobId)?.placementId;
        if (placementId !== undefined) state.placements.delete(placementId);
      } else if (record.placement !== undefined) state.placements.set(record.placement.placementId, record.placement);
      return;
    case "tombstone": {
      const { target } = record;
      state.jobs.set(record.jobId, {
        jobId: record.jobId, operation: target?.operation ?? "deploy", placementId: target?.placementId ?? NIL_UUID, deployment: target?.deployment ?? "unknown",
        generation: target?.generation ?? 0, epoch: target?.epoch ?? 0, opSeq: record.opSeq, bootId: record.bootId, acceptedAt: record.at,
        status: "cancelled", begun: false, wanted: {}, completedAt: record.at, steps: [], deltaId: record.deltaId, endedSeq: record.opSeq,
        acked: record.deltaId === undefined, tombstone: true, traceparent: record.traceparent,
      });
      return;
    }
    case "floors":
      for (const floor of record.floors) raiseFloor(state, floor);
      return;
    case "acked":
      for (const jobId of record.jobIds) change(state, jobId, { acked: true });
      return;
    case "snapshot":
      restore(state, record.snapshot);
      return;
  }
}

function change(state: JournalState, jobId: string, patch: Partial<JobEntry>): void {
  const entry = state.jobs.get(jobId);
  if (entry !== undefined) state.jobs.set(jobId, { ...entry, ...patch });
}

/** Floors only rise: each part by itself, because a command is refused when either is below. */
function raiseFloor(state: JournalState, floor: Floor): void {
  const old = state.floors.get(floor.placementId);
  state.floors.set(floor.placementId, {
    placementId: floor.placementId,
    epoch: Math.max(old?.epoch ?? 0, floor.epoch),
    generation: Math.max(old?.generation ?? 0, floor.generation),
  });
}

function restore(state: JournalState, snapshot: JournalSnapshot): void {
  state.opSeq = snapshot.opSeq;
  state.jobs.clear();
  state.placements.clear();
  state.floors.clear();
  for (const job of snapshot.jobs) state.jobs.set(job.jobId, job);
  for (const placement of snapshot.placements) state.placements.set(placement.placementId, placement);
  for (const floor of snapshot.floors) state.floors.set(floor.placementId, floor);
}

/** Drops acknowledged jobs that nobody can reasonably ask about any more; the last success of each placement stays. */
export function prune(state: JournalState): void {
  const lastSuccess = new Map<string, JobEntry>();
  const acked: JobEntry[] = [];
  for (const job of state.jobs.values()) {
    if (job.status === "succeeded" && job.opSeq > (lastSuccess.get(job.placementId)?.opSeq ?? -1)) lastSuccess.set(job.placementId, job);
    if (job.acked) acked.push(job);
  }
  acked.sort((a, b) => b.opSeq - a.opSeq);
  const old = [...acked.filter((job) => job.tombstone).slice(KEPT_TOMBSTONES), ...acked.filter((job) => !job.tombstone).slice(KEPT_ACKED_JOBS)];
  for (const job of old) {
    if (lastSuccess.get(job.placementId)?.jobId !== job.jobId) state.jobs.delete(job.jobId);
  }
}

export const snapshotOf = (state: JournalState): JournalSnapshot => ({
  opSeq: state.opSeq,
  jobs: [...state.jobs.values()],
  placements: [...state.placements.values()],
  floors: [...state.floors.values()],
});
