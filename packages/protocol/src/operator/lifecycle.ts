/** Lifecycle rows. */
import { FAILURE_CODES, LIFECYCLE_PHASES, LIFECYCLE_STATUSES, OPERATIONS } from "@skep/core";
import { z } from "zod";
import { cleanText, counterSchema, idSchema, pageQuery, refSchema } from "../common.ts";
import { stepSchema } from "../commands.ts";
import { time, timeOrNull } from "./time.ts";

export const lifecycleView = z.object({
  id: idSchema,
  deployment_id: idSchema,
  deployment: z.string(),
  placement_id: idSchema,
  host_id: idSchema,
  host: z.string(),
  operation: z.enum(OPERATIONS),
  status: z.enum(LIFECYCLE_STATUSES),
  phase: z.enum(LIFECYCLE_PHASES),
  generation: counterSchema,
  epoch: counterSchema,
  error: z.string().nullable(),
  failure_code: z.enum(FAILURE_CODES).nullable(),
  because: z.string().nullable(),
  steps: z.array(stepSchema),
  /** What its job was last said to be doing, and when real work last moved on; null while nothing is known of it. */
  job_phase: z.string().nullish(),
  progress: counterSchema.nullish(),
  progress_at: timeOrNull.optional(),
  /** Of the request that led to it: finds its spans and its log lines in every process (W3C trace id). */
  trace_id: z.string().nullish(),
  dispatch_attempts: z.int(),
  cancel_reason: z.string().nullable(),
  retry_of: idSchema.nullable(),
  /** When the operation was accepted. */
  started_at: time,
  sent_at: timeOrNull,
  running_at: timeOrNull,
  updated_at: time,
  completed_at: timeOrNull,
  agent_completed_at: timeOrNull,
});
export type LifecycleJson = z.infer<typeof lifecycleView>;
/** `rows` is the origin system's name for the same list, kept for its pollers. */
export const lifecycleList = z.object({ items: z.array(lifecycleView), rows: z.array(lifecycleView), next_cursor: z.string().nullable() });
export const lifecycleQuery = z.strictObject({
  ...pageQuery,
  ids: z.string().max(200 * 37).transform((text) => text.split(",").filter((id) => id !== "")).pipe(z.array(idSchema).min(1).max(200)).optional(),
  deployment: refSchema.optional(),
  host: refSchema.optional(),
  status: z.enum(LIFECYCLE_STATUSES).optional(),
  open: z.stringbool().optional(),
  newest_first: z.stringbool().default(true),
});
export const cancelLifecycleReply = z.object({ id: idSchema, status: z.enum(LIFECYCLE_STATUSES), because: z.string() });
/** An operator's word that a silent host will never answer. */
export const resolveLifecycleRequest = z.strictObject({ outcome: z.literal("host_lost"), note: cleanText(500).optional() });
