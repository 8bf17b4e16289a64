/**
 * Agent → master. The envelope is strict enough to be trusted and loose enough to be served: one malformed item never
 * costs the beat, so lists are parsed item by item (`parseItems`), and the seed's minimal body is a valid beat.
 */
import { AGENT_PHASES, COMPONENT_STATES, DELTA_RESULTS, JOB_STATUSES, OBSERVED_STATES, OPERATIONS } from "@skep/core";
import { z } from "zod";
import { cleanText, counterSchema, idSchema, nameSchema, traceparentSchema } from "./common.ts";
import { pendingJob, stepSchema } from "./commands.ts";

export const HEARTBEAT_LIMIT_BYTES = 1_048_576;
/** What an agent packs into one beat; on 413 it halves this. */
export const HEARTBEAT_BUDGET_BYTES = 262_144;
export const DELTA_LIMIT_BYTES = 8_192;
export const MAX_DELTAS = 500;
export const MAX_PLACEMENTS = 500;

const hash = z.string().regex(/^[0-9a-f]{64}$/);

export const reportedComponent = z.object({
  name: nameSchema,
  state: z.enum(COMPONENT_STATES),
  restarts: counterSchema.default(0),
  ports: z.record(z.string().max(63), z.int().min(1).max(65535)).optional(),
  since: z.string().max(40).optional(),
  error: cleanText(2000).optional(),
  drift: z.array(cleanText(300)).max(20).optional(),
});
export const reportedPlacement = z.object({
  placement_id: idSchema,
  deployment: nameSchema,
  epoch: counterSchema,
  generation: counterSchema,
  spec_hash: hash,
  state: z.enum(OBSERVED_STATES),
  components: z.array(reportedComponent).max(100),
});

export const jobInventoryItem = z.object({
  job_id: idSchema,
  operation: z.enum(OPERATIONS),
  status: z.enum(JOB_STATUSES),
  started_at: z.string().max(40).optional(),
  /** Grows only when real work moved on (G2). */
  progress: counterSchema.optional(),
  /** What it is doing: pull, create, start, healthy, … */
  phase: cleanText(63).optional(),
});

/** A delta with an id of its own; `cancelled` is ours, beyond the wire page, so that a cancel is told apart from a failure. */
export const delta = z.object({
  delta_id: idSchema,
  job_id: idSchema,
  placement_id: idSchema,
  deployment: nameSchema,
  operation: z.enum(OPERATIONS),
  status: z.enum(["running", "succeeded", "failed", "cancelled"]),
  error: z.string().max(2000).optional(),
  error_code: z.string().max(100).optional(),
  steps: z.array(stepSchema).max(200).optional(),
  generation: counterSchema,
  epoch: counterSchema,
  started_at: z.string().max(40).optional(),
  completed_at: z.string().max(40).optional(),
  /** The span that sends it; older agents say none. */
  traceparent: traceparentSchema,
});
export type Delta = z.infer<typeof delta>;

/** The seed's own delta: no ids. Applies only where exactly one open row of that name and operation exists. */
export const seedDelta = z.object({
  name: nameSchema.optional(),
  deployment: nameSchema.optional(),
  decky_name: nameSchema.optional(),
  operation: z.enum(OPERATIONS),
  status: z.enum(["running", "succeeded", "failed"]),
  error: z.string().max(2000).optional(),
  completed_at: z.string().max(40).optional(),
});
export type SeedDelta = z.infer<typeof seedDelta>;

export const heartbeatRequest = z.object({
  host_uuid: idSchema,
  agent_version: cleanText(64).min(1),
  protocol: z.int().optional(),
  boot_id: z.string().min(1).max(64).optional(),
  host_boot_id: z.string().max(64).optional(),
  session_epoch: counterSchema.optional(),
  seq: counterSchema.optional(),
  op_seq: counterSchema.optional(),
  sent_at: z.string().max(40).optional(),
  phase: z.enum(AGENT_PHASES).optional(),
  interval_ms: z.int().optional(),
  // Judged item by item by the master; here only their outer shape.
  status: z.record(z.string(), z.unknown()),
  jobs: z.array(z.unknown()).max(1000).nullable().optional(),
  jobs_truncated: z.boolean().optional(),
  lifecycle: z.array(z.unknown()).max(MAX_DELTAS).optional(),
  topology: z.unknown().optional(),
  resources: z.record(z.string().max(63), z.number()).optional(),
  capabilities: z.array(cleanText(255)).max(100).optional(),
  boot: z.unknown().optional(),
  labels: z.unknown().optional(),
  cert: z.object({ sha256: hash, not_after: z.string().max(40) }).optional(),
});
export type HeartbeatRequest = z.infer<typeof heartbeatRequest>;

export const ackSchema = z.object({ delta_id: z.string(), result: z.enum(DELTA_RESULTS), because: z.string().optional() });
export const heartbeatReply = z.object({
  server_time: z.string(),
  acked: z.array(ackSchema),
  /** Items that could not be read; they are not acknowledged unless they carried a readable delta_id. */
  rejected: z.array(z.object({ list: z.string(), index: z.int(), error: z.string() })).default([]),
  pending_jobs: z.array(pendingJob).default([]),
  cancel_jobs: z.array(z.object({ job_id: idSchema, reason: z.string(), placement_id: idSchema, operation: z.enum(OPERATIONS), deployment: nameSchema, generation: counterSchema, epoch: counterSchema, traceparent: traceparentSchema })).default([]),
  next_interval_ms: z.int().optional(),
  rotate_cert: z.boolean().optional(),
});
export type HeartbeatReply = z.infer<typeof heartbeatReply>;

export const registerRequest = z.object({
  boot_id: z.string().min(1).max(64),
  host_boot_id: z.string().max(64),
  agent_version: cleanText(64).min(1),
  agent_url: z.url({ protocol: /^https$/ }).max(255).optional(),
  op_seq: counterSchema,
  placements: z.array(z.unknown()).max(MAX_PLACEMENTS).nullable().optional(),
  jobs: z.array(z.unknown()).max(1000).nullable().optional(),
});
export type RegisterRequest = z.infer<typeof registerRequest>;
export const registerReply = z.object({
  session_epoch: counterSchema,
  floors: z.array(z.object({ placement_id: idSchema, epoch: counterSchema, generation: counterSchema })),
  server_time: z.string(),
  interval_ms: z.int(),
});
export type RegisterReply = z.infer<typeof registerReply>;

export const rotateRequest = z.object({ csr_pem: z.string().max(8192) });
export const certReply = z.object({ cert_pem: z.string(), chain_pem: z.string(), not_after: z.string() });
export type CertReply = z.infer<typeof certReply>;

/** Parses a list item by item: what is good comes back, what is not is named. */
export function parseItems<T>(schema: z.ZodType<T>, list: readonly unknown[], name: string): { good: T[]; rejected: { list: string; index: number; error: string }[] } {
  const good: T[] = [];
  const rejected: { list: string; index: number; error: string }[] = [];
  list.forEach((item, index) => {
    const parsed = schema.safeParse(item);
    if (parsed.success) good.push(parsed.data);
    else rejected.push({ list: name, index, error: parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ").slice(0, 300) });
  });
  return { good, rejected };
}
