/** The operator API: requests are strict (an unknown field is a typo that would otherwise do nothing), replies are documented. */
import {
  AGENT_PHASES, CERT_STATUSES, COMPONENT_STATES, DEPLOYMENT_STATUSES, DESIRED_STATES, DRIFT_ACTIONS, EVENT_SEVERITIES, FAILURE_CODES, HOST_STATUSES,
  LIFECYCLE_PHASES, LIFECYCLE_STATUSES, MEMBER_STATES, OBSERVED_STATES, OPERATIONS, RECONCILE_MODES, ROLES, ROLLBACK_STATES, ROLLOUT_ACTIONS, ROLLOUT_STATUSES, UPDATE_ORDERS,
} from "@skep/core";
import { z } from "zod";
import { cleanText, counterSchema, idSchema, labelsSchema, listOf, nameSchema, pageQuery, refSchema } from "./common.ts";
import { bootReport } from "./boot.ts";
import { bundleSchema } from "./enrol.ts";
import { PLAN_ACTIONS, stepSchema } from "./commands.ts";
import { componentSchema, containerSchema, probeSchema, specSchema } from "./spec.ts";

const time = z.string();
const timeOrNull = z.string().nullable();

// ---- hosts
export const hostView = z.object({
  id: idSchema,
  name: z.string(),
  status: z.enum(HOST_STATUSES),
  status_because: z.string().nullable(),
  schedulable: z.boolean(),
  labels: z.record(z.string(), z.string()),
  notes: z.string().nullable(),
  address: z.string().nullable(),
  agent_port: z.int(),
  agent_url: z.string().nullable(),
  agent_version: z.string().nullable(),
  session_epoch: counterSchema,
  last_heartbeat_at: timeOrNull,
  created_at: time,
  enrolled_at: timeOrNull,
  decommissioned_at: timeOrNull,
  /** How the agent's boot sequence stood with its last beat; null = it has none, or an older master does not say. */
  boot: bootReport.nullable().default(null),
});
export type HostJson = z.infer<typeof hostView>;
export const hostList = listOf(hostView);
export const createHostRequest = z.strictObject({
  name: nameSchema,
  address: cleanText(255).min(1).optional(),
  agent_port: z.int().min(0).max(65535).default(8444),
  labels: labelsSchema.default({}),
  notes: cleanText(2000).optional(),
  allowed_cidr: z.union([z.cidrv4(), z.cidrv6()]).optional(),
  mode: z.enum(["csr", "with_key"]).default("csr"),
  /** How long the bundle's token is good, seconds. */
  ttl_s: z.int().min(10).max(86_400).default(900),
});
export const createHostReply = z.object({ host: hostView, bundle: bundleSchema });
export const bundleRequest = z.strictObject({ mode: z.enum(["csr", "with_key"]).default("csr"), ttl_s: z.int().min(10).max(86_400).default(900) });
export const updateHostRequest = z.strictObject({ schedulable: z.boolean().optional(), labels: labelsSchema.optional(), notes: cleanText(2000).optional(), address: cleanText(255).min(1).optional(), agent_port: z.int().min(0).max(65535).optional() });
export const deleteHostQuery = z.strictObject({ force: z.stringbool().default(false) });
export const hostListQuery = z.strictObject({ ...pageQuery, status: z.enum(HOST_STATUSES).optional(), label: z.union([z.string().max(320), z.array(z.string().max(320)).max(16)]).optional() });

export const HEALTH_SUMMARIES = ["healthy", "degraded", "unhealthy", "unknown"] as const;
export const hostHealth = z.object({
  host_id: idSchema,
  name: z.string(),
  health: z.enum(HEALTH_SUMMARIES),
  status: z.enum(HOST_STATUSES),
  liveness: z.object({ last_heartbeat_at: timeOrNull, age_ms: z.number().nullable(), missed: z.int(), boot_id: z.string().nullable(), agent_version: z.string().nullable(), phase: z.enum(AGENT_PHASES).nullable() }),
  reachability: z.object({ state: z.enum(["unknown", "reachable", "unreachable"]), last_probe_at: timeOrNull, last_ok_at: timeOrNull, consecutive_failures: z.int().nullable(), last_error: z.string().nullable() }),
  /** Null until host health (issue 3) measures them: an invented figure would be a lie. */
  breaker: z.null(),
  metrics: z.null(),
  resources: z.record(z.string(), z.number()).nullable(),
  placements: z.object({ running: z.int(), degraded: z.int(), failed: z.int(), unknown: z.int() }),
  cert: z.object({ sha256: z.string(), not_after: time }).nullable(),
  boot: bootReport.nullable().default(null),
  reasons: z.array(z.object({ code: z.string(), message: z.string(), next: z.string() })),
});
export type HostHealthJson = z.infer<typeof hostHealth>;
export const heartbeatRing = z.object({ items: z.array(z.object({ received_at: time, seq: counterSchema, phase: z.enum(AGENT_PHASES).nullable(), changed: z.boolean() })) });
export const certList = z.object({ items: z.array(z.object({ sha256: z.string(), status: z.enum(CERT_STATUSES), not_before: time, not_after: time, retire_at: timeOrNull })) });
export const checkReply = z.object({ items: z.array(z.object({ host_id: idSchema, name: z.string(), ok: z.boolean(), ms: z.number(), error: z.string().nullable() })) });
export const checkRequest = z.strictObject({ hosts: z.array(refSchema).max(200).optional() });
export const fleetHealth = z.object({
  hosts: z.record(z.string(), z.int()),
  open_rows: z.record(z.string(), z.int()),
  deployments: z.record(z.string(), z.int()),
  listening_since: time,
  warm: z.boolean(),
});

// ---- deployments
export const placementRequest = z.strictObject({
  hosts: z.array(refSchema).min(1).max(1000).optional(),
  replicas: z.int().min(1).max(1000).optional(),
  constraints: labelsSchema.optional(),
}).refine((p) => p.hosts === undefined || p.replicas === undefined, "give hosts or replicas, not both");
/** How a change in place goes through the placements; what is left out has a safe default (docs/rollouts.md). */
export const rolloutRequest = z.strictObject({
  max_parallel: z.union([z.int().min(1).max(1000), z.string().regex(/^([1-9][0-9]?|100)%$/, "must be a number or a share from 1% to 100%")]).optional(),
  min_healthy_s: z.int().min(0).max(86_400).optional(),
  progress_deadline_s: z.int().min(1).max(86_400).optional(),
  canary: z.int().min(0).max(1000).optional(),
  auto_promote: z.boolean().optional(),
  auto_rollback: z.boolean().optional(),
  /** The same as the spec's update_order. */
  order: z.enum(UPDATE_ORDERS).optional(),
});
export type RolloutRequest = z.infer<typeof rolloutRequest>;
export const deployRequest = z.strictObject({
  name: nameSchema,
  spec: specSchema,
  placement: placementRequest.default({ replicas: 1 }),
  reconcile: z.enum(RECONCILE_MODES).default("auto"),
  timeout_s: z.int().min(1).max(86_400).optional(),
  /** Kept with the deployment, for its later changes too. */
  rollout: rolloutRequest.optional(),
  /** Deploy over an existing deployment of that name instead of refusing. */
  replace: z.boolean().default(false),
  dry_run: z.boolean().default(false),
});
export type DeployRequest = z.infer<typeof deployRequest>;

/** What a mutate may change of one component; absent = as it is. */
export const componentPatch = z.strictObject({
  command: z.array(z.string().max(4096)).min(1).max(256).optional(),
  env: z.record(z.string(), z.string().max(4096).nullable()).optional(),
  // The component's own fields without their defaults: what a patch leaves out must stay as it is.
  ports: componentSchema.shape.ports.removeDefault().optional(),
  probe: probeSchema.nullable().optional(),
  restart: componentSchema.shape.restart.removeDefault().optional(),
  stop_timeout_s: z.int().min(0).max(600).optional(),
  /** Field by field: what is not named stays as it is. */
  container: containerSchema.partial().optional(),
  noop: componentSchema.shape.noop,
});
export const mutateRequest = z.strictObject({
  components: z.record(nameSchema, componentPatch).optional(),
  /** Set on every component, or null to unset. */
  env: z.record(z.string(), z.string().max(4096).nullable()).optional(),
  desired: z.enum(["running", "stopped"]).optional(),
  restart: z.boolean().optional(),
  timeout_s: z.int().min(1).max(86_400).optional(),
  /** For this change only. */
  rollout: rolloutRequest.optional(),
  dry_run: z.boolean().default(false),
}).refine((m) => m.components !== undefined || m.env !== undefined || m.desired !== undefined || m.restart === true, "nothing to change: give components, env, desired or restart");
export type MutateRequest = z.infer<typeof mutateRequest>;
export const redeployRequest = z.strictObject({ timeout_s: z.int().min(1).max(86_400).optional(), rollout: rolloutRequest.optional() }).default({});
export const rollbackRequest = z.strictObject({ generation: counterSchema.min(1), timeout_s: z.int().min(1).max(86_400).optional(), rollout: rolloutRequest.optional() });
export const teardownRequest = z.strictObject({ force: z.boolean().default(false), /** Named volumes go too; without it they are kept. */ volumes: z.boolean().default(false), timeout_s: z.int().min(1).max(86_400).optional() }).default({ force: false, volumes: false });

export const acceptedOperation = z.object({
  deployment_id: idSchema,
  name: z.string(),
  generation: counterSchema,
  /** Follow it: later waves open rows of their own. Null where nothing is changed in place. */
  rollout_id: idSchema.nullable(),
  /** The rows that are open so far. */
  lifecycle_ids: z.array(idSchema),
  placements: z.array(z.object({ placement_id: idSchema, host_id: idSchema, host: z.string(), lifecycle_id: idSchema.nullable(), operation: z.enum(OPERATIONS).nullable() })),
  warnings: z.array(z.string()),
});
export type AcceptedOperation = z.infer<typeof acceptedOperation>;
export const rolloutPolicyView = z.object({ max_parallel: z.union([z.int(), z.string()]), min_healthy_s: z.int(), progress_deadline_s: z.int(), canary: z.int(), auto_promote: z.boolean(), auto_rollback: z.boolean() });
export const operationPlan = z.object({
  status: z.literal("dry_run"),
  name: z.string(),
  generation: counterSchema,
  hosts: z.array(z.object({ host_id: idSchema, host: z.string(), plan: z.array(z.object({ component: z.string(), action: z.enum(PLAN_ACTIONS) })), warnings: z.array(z.string()) })),
  rejected: z.array(z.object({ host: z.string(), because: z.string() })),
  /** How it would go through the placements that stay; null where nothing is changed in place. */
  rollout: z.object({
    policy: rolloutPolicyView,
    waves: z.array(z.array(z.object({ host_id: idSchema, host: z.string() }))),
  }).nullable(),
  /** The spec as it would be against the present one, where there is one; `from` or `to` is null where it is not there. */
  changes: z.array(z.object({ path: z.string(), from: z.unknown(), to: z.unknown() })),
  warnings: z.array(z.string()),
});
export const observedView = z.object({
  state: z.enum(OBSERVED_STATES),
  generation: counterSchema,
  observed_at: time,
  components: z.array(z.object({ name: z.string(), state: z.enum(COMPONENT_STATES), restarts: z.int(), ports: z.record(z.string(), z.int()).nullable(), since: timeOrNull, error: z.string().nullable(), /** What differs from what was started, changed behind the agent's back. */ drift: z.array(z.string()).optional() })),
});
export const placementView = z.object({
  id: idSchema,
  deployment_id: idSchema,
  deployment: z.string(),
  host_id: idSchema,
  host: z.string(),
  desired: z.enum(DESIRED_STATES),
  epoch: counterSchema,
  generation: counterSchema,
  applied_generation: counterSchema.nullable(),
  /** What a person should read first: computed from desired, observed, the host's liveness and the open row. */
  state: z.enum(OBSERVED_STATES),
  because: z.string(),
  observed: observedView.nullable(),
  open_lifecycle_id: idSchema.nullable(),
  removed_at: timeOrNull,
});
export type PlacementJson = z.infer<typeof placementView>;
export const placementList = listOf(placementView);
export const placementQuery = z.strictObject({ ...pageQuery, deployment: refSchema.optional(), host: refSchema.optional() });
export const deploymentView = z.object({
  id: idSchema,
  name: z.string(),
  status: z.enum(DEPLOYMENT_STATUSES),
  desired: z.enum(DESIRED_STATES),
  generation: counterSchema,
  reconcile: z.enum(RECONCILE_MODES),
  placement: z.object({ hosts: z.array(z.string()).optional(), replicas: z.int().optional(), constraints: z.record(z.string(), z.string()).optional() }),
  last_error: z.string().nullable(),
  created_at: time,
  updated_at: time,
  deleted_at: timeOrNull,
});
export type DeploymentJson = z.infer<typeof deploymentView>;
// ---- rollouts
export const rolloutView = z.object({
  id: idSchema,
  deployment_id: idSchema,
  deployment: z.string(),
  action: z.enum(ROLLOUT_ACTIONS),
  status: z.enum(ROLLOUT_STATUSES),
  generation: counterSchema,
  /** What it would go back to; null = nothing else ever ran. */
  base_generation: counterSchema.nullable(),
  /** The new generation that carries the base's spec, once it goes back. */
  rollback_generation: counterSchema.nullable(),
  policy: rolloutPolicyView,
  components: z.array(z.string()).nullable(),
  wave: z.int(),
  /** How many waves it takes if nobody is left out. */
  waves: z.int(),
  counts: z.object({ total: z.int(), waiting: z.int(), open: z.int(), passed: z.int(), refused: z.int(), skipped: z.int(), taken_back: z.int(), left: z.int() }),
  because: z.string(),
  placements: z.array(z.object({
    placement_id: idSchema, host_id: idSchema, host: z.string(), state: z.enum(MEMBER_STATES), wave: z.int().nullable(), lifecycle_id: idSchema.nullable(),
    rollback: z.enum(ROLLBACK_STATES).nullable(), rollback_lifecycle_id: idSchema.nullable(), because: z.string().nullable(),
  })),
  created_at: time,
  updated_at: time,
  completed_at: timeOrNull,
});
export type RolloutJson = z.infer<typeof rolloutView>;
/** `waiting_for`: what it waits for right now, judged as it is read; null once it has ended. */
export const rolloutDetail = rolloutView.extend({ waiting_for: z.string().nullable() });
export type RolloutDetailJson = z.infer<typeof rolloutDetail>;
export const rolloutList = listOf(rolloutView);
export const rolloutListQuery = z.strictObject({ ...pageQuery, deployment: refSchema.optional(), open: z.stringbool().optional(), newest_first: z.stringbool().default(true) });
export const rolloutReply = z.object({ rollout_id: idSchema, deployment_id: idSchema, status: z.enum(ROLLOUT_STATUSES), because: z.string() });
export type RolloutReply = z.infer<typeof rolloutReply>;

export const deploymentDetail = deploymentView.extend({
  spec: z.unknown(),
  spec_hash: z.string(),
  placements: z.array(placementView),
  counts: z.object({ succeeded: z.int(), failed: z.int(), pending: z.int() }),
  /** The open rollout, or the last one. */
  rollout: rolloutView.nullable(),
  generations: z.array(z.object({ generation: counterSchema, spec_hash: z.string(), created_at: time })),
});
export const deploymentList = listOf(deploymentView);
export const deploymentListQuery = z.strictObject({ ...pageQuery, include_deleted: z.stringbool().default(false) });

// ---- drift
export const driftItem = z.object({
  placement_id: idSchema,
  deployment_id: idSchema,
  deployment: z.string(),
  host_id: idSchema,
  host: z.string(),
  wanted: z.object({ state: z.enum(DESIRED_STATES), generation: counterSchema }),
  observed: z.object({ state: z.enum(OBSERVED_STATES), generation: counterSchema }),
  differences: z.array(z.string()),
  /** When its host first saw it as it still sees it. */
  since: time,
  action: z.enum(DRIFT_ACTIONS),
  /** Of `repair`: not before this. */
  repair_at: timeOrNull,
  because: z.string(),
});
export type DriftJson = z.infer<typeof driftItem>;
/** Something a host runs under our labels that nobody placed there. It is listed and never touched. */
export const orphanView = z.object({
  host_id: idSchema, host: z.string(), placement_id: idSchema, deployment: z.string(), generation: counterSchema, state: z.enum(OBSERVED_STATES),
  components: z.array(z.string()),
  /** Since when its oldest component is as it is; else since when its host reports it. */
  since: time,
});
export type OrphanJson = z.infer<typeof orphanView>;
/** Orphans come with the first page, at most 500 of them. */
export const driftReport = z.object({ items: z.array(driftItem), orphans: z.array(orphanView), more_orphans: z.boolean(), next_cursor: z.string().nullable() });
export const driftQuery = z.strictObject({ ...pageQuery, deployment: refSchema.optional(), host: refSchema.optional() });

// ---- lifecycle
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

// ---- events, explain, tokens
export const eventView = z.object({
  cursor: z.string(), at: time, kind: z.string(), severity: z.enum(EVENT_SEVERITIES), message: z.string(),
  host_id: z.string().nullable(), host: z.string().nullable(), deployment_id: z.string().nullable(), placement_id: z.string().nullable(), lifecycle_id: z.string().nullable(),
  data: z.record(z.string(), z.unknown()).nullable(),
});
export type EventJson = z.infer<typeof eventView>;
/** With `cursor`: events after it, oldest first, and the next cursor. Without: the newest `limit`. */
export const eventList = z.object({ items: z.array(eventView), next_cursor: z.string() });
export const eventQuery = z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).default(100), cursor: z.string().max(120).optional(), host: refSchema.optional(), deployment: refSchema.optional(), kind: z.string().max(63).optional() });

export const auditView = z.object({
  id: z.string(), at: time, actor: z.string(), action: z.string(), subject: z.string(), outcome: z.enum(["allowed", "denied"]), request_id: z.string().nullable(),
  detail: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).nullable(),
});
export type AuditJson = z.infer<typeof auditView>;
/** Newest first. */
export const auditList = listOf(auditView);
/** `action`: a prefix, for example `exec` or `token.create`. `actor`: whole, for example `token:<id>`. */
export const auditQuery = z.strictObject({ ...pageQuery, action: z.string().max(63).optional(), actor: cleanText(128).optional() });

export const EXPLAIN_KINDS = ["host", "deployment", "placement", "lifecycle"] as const;
export const explanation = z.object({
  kind: z.enum(EXPLAIN_KINDS), id: idSchema, name: z.string(),
  summary: z.string(),
  reasons: z.array(z.object({ code: z.string(), message: z.string(), next: z.string(), since: timeOrNull })),
  events: z.array(eventView),
});
export type Explanation = z.infer<typeof explanation>;

export const createTokenRequest = z.strictObject({ name: nameSchema, role: z.enum(ROLES), ttl_s: z.int().min(60).max(90 * 86_400).default(30 * 86_400) });
export const tokenView = z.object({ id: idSchema, name: z.string(), role: z.enum(ROLES), created_at: time, expires_at: time, revoked_at: timeOrNull });
export const createTokenReply = tokenView.extend({ token: z.string() });
export const tokenList = z.object({ items: z.array(tokenView), next_cursor: z.string().nullable() });
export const healthz = z.object({ status: z.literal("ok") });
export const readyz = z.object({ status: z.enum(["ready", "not_ready"]), checks: z.record(z.string(), z.string()) });
export const versionView = z.object({ version: z.string(), heartbeat_interval_ms: z.int(), trust_domain: z.string(), ca_sha256: z.string() });
