/** Drains, moves and rebalancing: placements on their way from one host to another. */
import { DRAIN_PLACEMENT_STATES, DRAIN_STATUSES, MOVE_REASONS, MOVE_STATUSES } from "@skep/core";
import { z } from "zod";
import { idSchema, listOf, pageQuery, refSchema } from "../common.ts";
import { time, timeOrNull } from "./time.ts";

export const drainRequest = z.strictObject({
  /** Placements that are pinned to the host by `hosts` are stopped; without it they hold the drain up. */
  stop_pinned: z.boolean().default(false),
  dry_run: z.boolean().default(false),
}).default({ stop_pinned: false, dry_run: false });
export type DrainRequest = z.infer<typeof drainRequest>;

const drainPlacement = z.object({
  placement_id: idSchema,
  deployment_id: idSchema,
  deployment: z.string(),
  state: z.enum(DRAIN_PLACEMENT_STATES),
  because: z.string(),
  /** Of a blocked one: what a person can do. */
  next: z.string().nullable(),
  to_host_id: idSchema.nullable(),
  to_host: z.string().nullable(),
  move_id: idSchema.nullable(),
});
export const drainPlan = z.object({ status: z.literal("dry_run"), host_id: idSchema, host: z.string(), because: z.string(), next: z.string().nullable(), stop_pinned: z.boolean(), placements: z.array(drainPlacement) });
export type DrainPlanJson = z.infer<typeof drainPlan>;
/** `because` and `placements` are judged as it is read, while it is open. */
export const drainView = z.object({
  id: idSchema,
  host_id: idSchema,
  host: z.string(),
  status: z.enum(DRAIN_STATUSES),
  because: z.string(),
  next: z.string().nullable(),
  stop_pinned: z.boolean(),
  placements: z.array(drainPlacement),
  created_at: time,
  updated_at: time,
  completed_at: timeOrNull,
});
export type DrainJson = z.infer<typeof drainView>;

export const moveView = z.object({
  id: idSchema,
  deployment_id: idSchema,
  deployment: z.string(),
  reason: z.enum(MOVE_REASONS),
  drain_id: idSchema.nullable(),
  status: z.enum(MOVE_STATUSES),
  from_placement_id: idSchema,
  from_host_id: idSchema,
  from_host: z.string(),
  to_placement_id: idSchema.nullable(),
  to_host_id: idSchema,
  to_host: z.string(),
  /** The old copy stops before the new one starts. */
  break_first: z.boolean(),
  cancel_requested: z.boolean(),
  because: z.string(),
  created_at: time,
  updated_at: time,
  completed_at: timeOrNull,
});
export type MoveJson = z.infer<typeof moveView>;
export const moveList = listOf(moveView);
export const moveListQuery = z.strictObject({ ...pageQuery, host: refSchema.optional(), deployment: refSchema.optional(), open: z.stringbool().optional(), newest_first: z.stringbool().default(true) });

export const rebalanceRequest = z.strictObject({ dry_run: z.boolean().default(false) }).default({ dry_run: false });
export const rebalanceReply = z.object({
  status: z.enum(["dry_run", "accepted", "nothing_to_do"]),
  moves: z.array(z.object({ deployment_id: idSchema, deployment: z.string(), placement_id: idSchema, from_host_id: idSchema, from_host: z.string(), to_host_id: idSchema, to_host: z.string(), move_id: idSchema.nullable() })),
  /** Placements on each host that takes part, now and once all moves have succeeded. */
  hosts: z.array(z.object({ host_id: idSchema, host: z.string(), before: z.int(), after: z.int() })),
  /** Deployments that were left out, and why. */
  left_out: z.array(z.object({ deployment: z.string(), because: z.string() })),
});
export type RebalanceReply = z.infer<typeof rebalanceReply>;
