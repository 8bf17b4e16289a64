/** Reads the parts of a beat item by item: what is malformed is named and skipped, never the beat (model: the seed's agent must be served). */
import {
  JOB_STATUSES, type BeatWrite, type DeltaResult, type HostId, type Instant, type JobReport, type JobStatus, type ProgressNote, type ReportedPlacement,
} from "@skep/core";
import {
  bootReport, delta as deltaSchema, jobInventoryItem, MAX_PLACEMENTS, parseItems, reportedPlacement, seedDelta, type Delta, type HeartbeatRequest, type SeedDelta,
} from "@skep/protocol";

export interface BeatParts {
  readonly hostId: HostId;
  readonly write: BeatWrite;
  readonly deltas: readonly Delta[];
  readonly seedDeltas: readonly SeedDelta[];
  /** Statuses by job id, as the journal lists them. */
  readonly jobs: ReadonlyMap<string, JobStatus>;
  /** What jobs say of their progress; those that say nothing are not in it. */
  readonly progress: ReadonlyMap<string, Omit<ProgressNote, "id">>;
  readonly rejected: { list: string; index: number; error: string }[];
  /** Delta ids that could be read off malformed deltas: acknowledged as rejected, or they would come for ever. */
  readonly malformedDeltaIds: readonly string[];
  readonly minimal: boolean;
}

export interface Ack {
  readonly delta_id: string;
  readonly result: DeltaResult;
  readonly because?: string | undefined;
}

export function readBeat(hostId: HostId, request: HeartbeatRequest, hash: (value: unknown) => string): BeatParts {
  const rejected: BeatParts["rejected"] = [];
  const deltas: Delta[] = [];
  const seedDeltas: SeedDelta[] = [];
  const malformedDeltaIds: string[] = [];
  (request.lifecycle ?? []).forEach((item, index) => {
    const full = deltaSchema.safeParse(item);
    if (full.success) return deltas.push(full.data);
    const named = typeof item === "object" && item !== null && "delta_id" in item ? item.delta_id : undefined;
    const plain = named === undefined ? seedDelta.safeParse(item) : undefined;
    if (plain?.success === true) return seedDeltas.push(plain.data);
    if (typeof named === "string") malformedDeltaIds.push(named.slice(0, 64));
    return rejected.push({ list: "lifecycle", index, error: full.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ").slice(0, 300) });
  });

  const { boot_id: bootId, seq, op_seq: opSeq, session_epoch: sessionEpoch } = request;
  if (bootId === undefined || seq === undefined || opSeq === undefined || sessionEpoch === undefined) {
    return { hostId, write: { hostId, agentVersion: request.agent_version }, deltas, seedDeltas, jobs: new Map(), progress: new Map(), rejected, malformedDeltaIds, minimal: true };
  }

  const listed = Array.isArray(request.jobs) ? parseItems(jobInventoryItem, request.jobs, "jobs") : undefined;
  rejected.push(...(listed?.rejected ?? []));
  const raw = request.status["placements"];
  const placements = Array.isArray(raw) ? parseItems(reportedPlacement, raw.slice(0, MAX_PLACEMENTS), "placements") : undefined;
  rejected.push(...(placements?.rejected ?? []));
  const observedError = typeof request.status["observed_error"] === "string" ? request.status["observed_error"].slice(0, 500) : undefined;
  // A list with an unreadable item is not a whole list: absence from it proves nothing.
  const jobsTruncated = request.jobs_truncated === true || (listed?.rejected.length ?? 0) > 0;
  const wholePlacements = placements === undefined || placements.rejected.length > 0 || placements.good.length !== (raw as unknown[]).length ? undefined : placements.good;
  const certAt = request.cert === undefined ? Number.NaN : Date.parse(request.cert.not_after);
  const boot = bootReport.safeParse(request.boot);
  const snapshot = {
    jobIds: listed?.good.map((job) => job.job_id),
    jobsTruncated,
    placements: wholePlacements as readonly ReportedPlacement[] | undefined,
    observedError: observedError ?? (wholePlacements === undefined && placements !== undefined ? "the placements could not be read whole" : undefined),
    resources: request.resources,
    capabilities: request.capabilities,
    cert: request.cert === undefined || Number.isNaN(certAt) ? undefined : { sha256: request.cert.sha256, notAfter: certAt as Instant },
    boot: boot.success ? boot.data : undefined,
  };
  return {
    hostId, deltas, seedDeltas, rejected, malformedDeltaIds, minimal: false,
    jobs: new Map((listed?.good ?? []).filter((job) => (JOB_STATUSES as readonly string[]).includes(job.status)).map((job) => [job.job_id, job.status])),
    progress: new Map((listed?.good ?? []).flatMap((job) => (job.progress === undefined ? [] : [[job.job_id, { progress: job.progress, jobPhase: job.phase }] as const]))),
    write: {
      hostId,
      agentVersion: request.agent_version,
      full: { bootId, sessionEpoch, seq, opSeq, phase: request.phase ?? "ready", ...snapshot, snapshotHash: hash({ bootId, opSeq, ...snapshot }) },
    },
  };
}

export function reportOfDelta(delta: Delta): JobReport {
  const completed = delta.completed_at === undefined ? Number.NaN : Date.parse(delta.completed_at);
  return {
    status: delta.status,
    placementId: delta.placement_id as NonNullable<JobReport["placementId"]>,
    operation: delta.operation,
    generation: delta.generation,
    error: delta.error,
    errorCode: delta.error_code,
    steps: delta.steps,
    agentCompletedAt: Number.isNaN(completed) ? undefined : (completed as Instant),
  };
}
