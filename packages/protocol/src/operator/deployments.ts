/** Deployments and what is asked of them. */
import { COMPONENT_STATES, DEPLOYMENT_STATUSES, DESIRED_STATES, MAX_FALLBACKS, OBSERVED_STATES, OPERATIONS, RECONCILE_MODES, STRATEGIES, UPDATE_ORDERS } from "@skep/core";
import { z } from "zod";
import { cleanText, counterSchema, idSchema, labelName, listOf, nameSchema, pageQuery, refSchema } from "../common.ts";
import { PLAN_ACTIONS } from "../commands.ts";
import { componentSchema, containerSchema, probeSchema, specSchema } from "../spec.ts";
import { time, timeOrNull } from "./time.ts";

/** Labels a host must have: the value, or any of a list. */
export const constraintsSchema = z.record(labelName, z.union([cleanText(255), z.array(cleanText(255)).min(1).max(64)])).refine((constraints) => Object.keys(constraints).length <= 64, "at most 64 labels");
/** `hosts` pins the deployment to exactly these; with `ordered` they are the order of preference. */
export const placementRequest = z.strictObject({
  strategy: z.enum(STRATEGIES).optional(),
  hosts: z.array(refSchema).min(1).max(1000).optional(),
  replicas: z.int().min(1).max(1000).optional(),
  constraints: constraintsSchema.optional(),
}).refine((p) => p.hosts === undefined || p.replicas === undefined || p.strategy === "ordered", "give hosts or replicas, not both")
  .refine((p) => p.strategy !== "ordered" || p.hosts !== undefined, "ordered needs hosts: the order of preference")
  .refine((p) => p.strategy === undefined || p.strategy === "ordered" || p.hosts === undefined, "hosts pins it to exactly these: leave strategy out, or make it ordered")
  .refine((p) => p.strategy !== "ordered" || p.hosts === undefined || (p.replicas ?? 1) <= p.hosts.length, "more replicas than hosts in the order");
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
/** Who answers the deployment's callers while it cannot (docs/services.md). */
export const failoverRequest = z.strictObject({
  /** Other deployments, in the order in which they are tried. */
  fallbacks: z.array(refSchema).max(MAX_FALLBACKS).refine((refs) => new Set(refs).size === refs.length, "a fallback is named twice").optional(),
});
export type FailoverRequest = z.infer<typeof failoverRequest>;
export const deployRequest = z.strictObject({
  name: nameSchema,
  spec: specSchema,
  placement: placementRequest.default({ replicas: 1 }),
  reconcile: z.enum(RECONCILE_MODES).default("auto"),
  timeout_s: z.int().min(1).max(86_400).optional(),
  /** Kept with the deployment, for its later changes too. */
  rollout: rolloutRequest.optional(),
  /** Kept as well. */
  failover: failoverRequest.optional(),
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
  placement: z.object({ strategy: z.enum(STRATEGIES).optional(), hosts: z.array(z.string()).optional(), replicas: z.int().optional(), constraints: z.record(z.string(), z.union([z.string(), z.array(z.string())])).optional() }),
  /** An older master does not say. */
  failover: z.object({ fallbacks: z.array(z.string()) }).default({ fallbacks: [] }),
  last_error: z.string().nullable(),
  created_at: time,
  updated_at: time,
  deleted_at: timeOrNull,
});
export type DeploymentJson = z.infer<typeof deploymentView>;
