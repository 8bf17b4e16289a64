/** Deltas and job views: a journal entry in the words of the wire, fitted to the wire's limits. */
import type { StepResult } from "@skep/core";
import { DELTA_LIMIT_BYTES, type Delta, type JobView } from "@skep/protocol";
import type { JobEntry } from "../journal/records.ts";

const MAX_STEPS = 200;
const MAX_ERROR_CHARS = 2_000;

const stepsOf = (steps: readonly StepResult[]): { name: string; ok: boolean; ms: number; error?: string }[] =>
  steps.map((step) => ({ name: step.name.slice(0, 200), ok: step.ok, ms: step.ms, ...(step.error === undefined ? {} : { error: step.error.slice(0, MAX_ERROR_CHARS) }) }));

export function deltaOf(entry: JobEntry, deltaId: string, status: Delta["status"], traceparent = entry.traceparent): Delta {
  const ended = status !== "running";
  return fit({
    delta_id: deltaId, job_id: entry.jobId, placement_id: entry.placementId, deployment: entry.deployment, operation: entry.operation,
    status, generation: entry.generation, epoch: entry.epoch,
    ...(entry.startedAt === undefined ? {} : { started_at: entry.startedAt }),
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(ended && entry.completedAt !== undefined ? { completed_at: entry.completedAt } : {}),
    ...(ended && entry.error !== undefined ? { error: entry.error.slice(0, MAX_ERROR_CHARS) } : {}),
    ...(ended && entry.errorCode !== undefined ? { error_code: entry.errorCode.slice(0, 100) } : {}),
    ...(ended && entry.steps.length > 0 ? { steps: stepsOf(entry.steps.slice(-MAX_STEPS)) } : {}),
  });
}

const bytesOf = (delta: Delta): number => Buffer.byteLength(JSON.stringify(delta));

/** Failed steps are what a person needs; so errors are shortened first, then the steps that went well are dropped. */
function fit(delta: Delta): Delta {
  if (delta.steps === undefined || bytesOf(delta) <= DELTA_LIMIT_BYTES) return delta;
  let steps = delta.steps.map((step) => (step.error === undefined ? step : { ...step, error: step.error.slice(0, 200) }));
  if (bytesOf({ ...delta, steps }) <= DELTA_LIMIT_BYTES) return { ...delta, steps };
  steps = steps.filter((step) => !step.ok);
  while (steps.length > 0 && bytesOf({ ...delta, steps }) > DELTA_LIMIT_BYTES) steps = steps.slice(1);
  return { ...delta, steps };
}

/** What only the run of a job knows. */
export interface LiveJob {
  readonly progress: number;
  readonly phase: string;
}

export function viewOf(entry: JobEntry, live?: LiveJob): JobView {
  return {
    job_id: entry.jobId, placement_id: entry.placementId, deployment: entry.deployment, operation: entry.operation, status: entry.status,
    generation: entry.generation, epoch: entry.epoch, accepted_at: entry.acceptedAt, op_seq: entry.opSeq, boot_id: entry.bootId,
    steps: stepsOf(entry.steps.slice(-MAX_STEPS)), progress: live?.progress ?? entry.steps.length,
    ...(live === undefined ? {} : { phase: live.phase }),
    ...(entry.error === undefined ? {} : { error: entry.error }),
    ...(entry.errorCode === undefined ? {} : { error_code: entry.errorCode }),
    ...(entry.startedAt === undefined ? {} : { started_at: entry.startedAt }),
    ...(entry.completedAt === undefined ? {} : { completed_at: entry.completedAt }),
  };
}
