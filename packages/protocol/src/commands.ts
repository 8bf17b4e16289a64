/** Master → agent. Pushed over mTLS, or handed out in the heartbeat's reply: the same bytes, the same job id. */
import { JOB_STATUSES, OPERATIONS, AGENT_PHASES } from "@skep/core";
import { z } from "zod";
import { bootReport } from "./boot.ts";
import { cleanText, counterSchema, idSchema, nameSchema, traceparentSchema } from "./common.ts";
import { specSchema } from "./spec.ts";

const target = {
  job_id: idSchema,
  placement_id: idSchema,
  deployment: nameSchema,
  epoch: counterSchema,
  generation: counterSchema,
  session_epoch: counterSchema.optional(),
  timeout_s: z.int().min(1).max(86_400),
  /** The span that handed the job out (W3C). An agent that does not know it loses nothing but the trace. */
  traceparent: traceparentSchema,
};
const wanted = { spec: specSchema, spec_hash: z.string().regex(/^[0-9a-f]{64}$/), desired: z.enum(["running", "stopped"]).default("running"), dry_run: z.boolean().optional() };

// Unknown fields are ignored on the agent channel: an older agent must survive a newer master.
export const deployCommand = z.object({ ...target, ...wanted, operation: z.literal("deploy").default("deploy") });
export const mutateCommand = z.object({
  ...target, ...wanted, operation: z.literal("mutate").default("mutate"),
  base_generation: counterSchema,
  /** Only these components are touched; absent = whatever differs. */
  components: z.array(nameSchema).max(100).optional(),
});
export const teardownCommand = z.object({ ...target, operation: z.literal("teardown").default("teardown"), force: z.boolean().optional(), remove_volumes: z.boolean().optional() });
export type DeployCommand = z.infer<typeof deployCommand>;
export type MutateCommand = z.infer<typeof mutateCommand>;
export type TeardownCommand = z.infer<typeof teardownCommand>;
export const pendingJob = z.discriminatedUnion("operation", [
  deployCommand.extend({ operation: z.literal("deploy") }),
  mutateCommand.extend({ operation: z.literal("mutate") }),
  teardownCommand.extend({ operation: z.literal("teardown") }),
]);
export type PendingJob = z.infer<typeof pendingJob>;

export const acceptedReply = z.object({
  status: z.literal("accepted"),
  job_id: idSchema,
  duplicate: z.boolean(),
  op_seq: counterSchema,
  boot_id: z.string(),
  /** What the job has come to by now; `accepted` for a new one. */
  job_status: z.enum(JOB_STATUSES),
});
export type AcceptedReply = z.infer<typeof acceptedReply>;

export const PLAN_ACTIONS = ["create", "recreate", "remove", "keep"] as const;
export const dryRunReply = z.object({
  status: z.literal("dry_run"),
  plan: z.array(z.object({ component: z.string(), action: z.enum(PLAN_ACTIONS) })),
  warnings: z.array(z.string()),
});
export type DryRunReply = z.infer<typeof dryRunReply>;

export const stepSchema = z.object({ name: cleanText(200), ok: z.boolean(), error: cleanText(2000).optional(), ms: z.number().min(0) });

export const jobView = z.object({
  job_id: idSchema,
  placement_id: idSchema,
  deployment: z.string(),
  operation: z.enum(OPERATIONS),
  status: z.enum(JOB_STATUSES),
  generation: counterSchema,
  epoch: counterSchema,
  error: z.string().optional(),
  error_code: z.string().optional(),
  steps: z.array(stepSchema).optional(),
  accepted_at: z.string(),
  started_at: z.string().optional(),
  completed_at: z.string().optional(),
  /** Grows only when real work moved on (G2). */
  progress: counterSchema.optional(),
  /** What it is doing, while it runs. */
  phase: z.string().optional(),
  op_seq: counterSchema,
  boot_id: z.string(),
});
export type JobView = z.infer<typeof jobView>;

export const CANCEL_REASONS_WIRE = ["operator", "timeout", "absent", "dispatch_deadline", "rollout"] as const;
export const cancelRequest = z.object({
  reason: z.enum(CANCEL_REASONS_WIRE).default("operator"),
  /** Who the tombstone is for, when the agent does not know the job. */
  placement_id: idSchema.optional(),
  operation: z.enum(OPERATIONS).optional(),
  generation: counterSchema.optional(),
  deployment: nameSchema.optional(),
  epoch: counterSchema.optional(),
  traceparent: traceparentSchema,
});
/**
 * `cancelled`: stopped for certain, or sealed by a tombstone · `cancelling`: on its way, a delta will follow ·
 * with reason `absent` a job that is known is left alone and its status answered instead.
 */
export const cancelReply = z.object({ status: z.enum([...JOB_STATUSES, "cancelling"]), job_id: idSchema, job: jobView.optional() });
export type CancelReply = z.infer<typeof cancelReply>;

export const agentHealth = z.object({ status: z.literal("ok"), phase: z.enum(AGENT_PHASES), version: z.string(), boot_id: z.string(), host_id: z.string().optional(), boot: bootReport.optional() });
export type AgentHealth = z.infer<typeof agentHealth>;
