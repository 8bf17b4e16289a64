/** Lifecycle rows as the API shows them. */
import { toIso, traceIdOf, type LifecycleRow } from "@skep/core";
import type { LifecycleJson } from "@skep/protocol";
import { timeOrNull } from "./time.ts";

export const lifecycleJson = (row: LifecycleRow, host: string): LifecycleJson => ({
  id: row.id,
  deployment_id: row.deploymentId,
  deployment: row.deployment,
  placement_id: row.placementId,
  host_id: row.hostId,
  host,
  operation: row.operation,
  status: row.status,
  phase: row.phase,
  generation: row.generation,
  epoch: row.epoch,
  error: row.error ?? null,
  failure_code: row.failureCode ?? null,
  because: row.because ?? null,
  steps: row.steps.map((step) => ({ name: step.name, ok: step.ok, ms: step.ms, ...(step.error === undefined ? {} : { error: step.error }) })),
  job_phase: row.jobPhase ?? null,
  progress: row.progress ?? null,
  progress_at: timeOrNull(row.progressAt),
  trace_id: traceIdOf(row.traceparent) ?? null,
  dispatch_attempts: row.dispatchAttempts,
  cancel_reason: row.cancelReason ?? null,
  retry_of: row.retryOf ?? null,
  started_at: toIso(row.createdAt),
  sent_at: timeOrNull(row.sentAt),
  running_at: timeOrNull(row.runningAt),
  updated_at: toIso(row.updatedAt),
  completed_at: timeOrNull(row.completedAt),
  agent_completed_at: timeOrNull(row.agentCompletedAt),
});
