/** A master's reply, item by item: one item this agent cannot read (a newer master's) never costs the others. */
import { CANCEL_REASONS, OPERATIONS } from "@skep/core";
import { ackSchema, idSchema, parseItems, pendingJob, traceparentSchema, type PendingJob } from "@skep/protocol";
import { z } from "zod";
import type { CancelAsk } from "../executor/types.ts";

const cancelItem = z.object({
  job_id: idSchema,
  reason: z.string().optional(),
  placement_id: idSchema.optional(),
  operation: z.enum(OPERATIONS).optional(),
  deployment: z.string().max(63).optional(),
  generation: z.int().min(0).optional(),
  epoch: z.int().min(0).optional(),
  traceparent: traceparentSchema,
});

export interface ReadReply {
  readonly acked: readonly z.infer<typeof ackSchema>[];
  readonly pendingJobs: readonly PendingJob[];
  readonly cancelJobs: readonly { readonly jobId: string; readonly ask: CancelAsk }[];
  readonly nextIntervalMs: number | undefined;
  readonly rotateCert: boolean;
  /** What could not be read, for the log. */
  readonly unread: readonly { readonly list: string; readonly index: number; readonly error: string }[];
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value.slice(0, 1_000) : []);
const REASONS: readonly string[] = CANCEL_REASONS;

export function readReply(json: unknown): ReadReply {
  const reply = Object(json) as Record<string, unknown>;
  const acked = parseItems(ackSchema, listOf(reply["acked"]), "acked");
  const pending = parseItems(pendingJob, listOf(reply["pending_jobs"]), "pending_jobs");
  // The wire page's own form of a cancel is a bare job id.
  const cancels = parseItems(cancelItem, listOf(reply["cancel_jobs"]).map((item) => (typeof item === "string" ? { job_id: item } : item)), "cancel_jobs");
  const interval = reply["next_interval_ms"];
  return {
    acked: acked.good,
    pendingJobs: pending.good,
    cancelJobs: cancels.good.map(({ job_id: jobId, reason, ...target }) => ({ jobId, ask: { reason: (REASONS.includes(reason ?? "") ? reason : "operator") as CancelAsk["reason"], ...target } })),
    nextIntervalMs: typeof interval === "number" && Number.isFinite(interval) ? interval : undefined,
    rotateCert: reply["rotate_cert"] === true,
    unread: [...acked.rejected, ...pending.rejected, ...cancels.rejected],
  };
}
