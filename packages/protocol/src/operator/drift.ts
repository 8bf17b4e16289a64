/** What differs from what is wanted, and what nobody placed. */
import { DESIRED_STATES, DRIFT_ACTIONS, OBSERVED_STATES } from "@skep/core";
import { z } from "zod";
import { counterSchema, idSchema, pageQuery, refSchema } from "../common.ts";
import { time, timeOrNull } from "./time.ts";

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
