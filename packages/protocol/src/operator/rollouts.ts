/** Rollouts: a change in place, wave by wave. */
import { MEMBER_STATES, ROLLBACK_STATES, ROLLOUT_ACTIONS, ROLLOUT_STATUSES } from "@skep/core";
import { z } from "zod";
import { counterSchema, idSchema, listOf, pageQuery, refSchema } from "../common.ts";
import { time, timeOrNull } from "./time.ts";
import { rolloutPolicyView, placementView, deploymentView } from "./deployments.ts";

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
  /** `total` are those that are to have the new generation; `leaving` go once all of them have passed. */
  counts: z.object({ total: z.int(), waiting: z.int(), open: z.int(), passed: z.int(), refused: z.int(), skipped: z.int(), leaving: z.int(), taken_back: z.int(), left: z.int() }),
  because: z.string(),
  /** `arriving`: new in this change; it has no earlier version, and the way back tears it down. */
  placements: z.array(z.object({
    placement_id: idSchema, host_id: idSchema, host: z.string(), state: z.enum(MEMBER_STATES), arriving: z.boolean(), wave: z.int().nullable(), lifecycle_id: idSchema.nullable(),
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
