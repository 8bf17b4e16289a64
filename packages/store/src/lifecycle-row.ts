/** A lifecycle row between the table and core's value. */
import { OPEN_STATUSES } from "@skep/core";
import type { LifecycleRow } from "@skep/core";
import { sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import { known } from "./db.ts";
import { lifecycle } from "./schema/index.ts";

/** Literals, not parameters: a prepared plan can only use the partial indexes when it sees the very same list. */
const OPEN_LIST = sql.raw(OPEN_STATUSES.map((status) => `'${status}'`).join(", "));
export const isOpen = (): SQL => sql`${lifecycle.status} IN (${OPEN_LIST})`;

export const lifecycleOf = (row: typeof lifecycle.$inferSelect): LifecycleRow => ({
  id: row.id,
  placementId: row.placementId,
  deploymentId: row.deploymentId,
  deployment: row.deployment,
  hostId: row.hostId,
  operation: row.operation,
  status: row.status,
  phase: row.phase,
  generation: row.generation,
  baseGeneration: known(row.baseGeneration),
  epoch: row.epoch,
  timeoutS: row.timeoutS,
  dispatchDeadline: row.dispatchDeadline,
  dispatchAttempts: row.dispatchAttempts,
  nextDispatchAt: row.nextDispatchAt,
  claimExpiresAt: known(row.claimExpiresAt),
  sentAt: known(row.sentAt),
  acceptedOpSeq: known(row.acceptedOpSeq),
  acceptedBootId: known(row.acceptedBootId),
  cancelRequestedAt: known(row.cancelRequestedAt),
  cancelReason: known(row.cancelReason),
  failureCode: known(row.failureCode),
  error: known(row.error),
  because: known(row.because),
  steps: row.steps,
  retryOf: known(row.retryOf),
  options: row.options,
  progress: known(row.progress),
  progressAt: known(row.progressAt),
  jobPhase: known(row.jobPhase),
  traceparent: known(row.traceparent),
  createdAt: row.createdAt,
  runningAt: known(row.runningAt),
  updatedAt: row.updatedAt,
  completedAt: known(row.completedAt),
  agentCompletedAt: known(row.agentCompletedAt),
  version: row.version,
});
