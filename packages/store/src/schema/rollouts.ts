/** One row for each change in place: where it stands, and each placement's part in it. */
import type { DeploymentId, PlacementRequest, RolloutAction, RolloutId, RolloutMember, RolloutPolicy, RolloutStatus } from "@skep/core";
import { boolean, integer, pgTable, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at, counter, freeText, json } from "./columns.ts";

type Desired = "running" | "stopped";

export const rollouts = pgTable("rollouts", {
  id: uuid("id").$type<RolloutId>().primaryKey(),
  deploymentId: uuid("deployment_id").$type<DeploymentId>().notNull(),
  deployment: text("deployment").notNull(),
  action: text("action").$type<RolloutAction>().notNull(),
  status: text("status").$type<RolloutStatus>().notNull(),
  generation: counter("generation").notNull(),
  desired: text("desired").$type<Desired>().notNull(),
  baseGeneration: counter("base_generation"),
  baseDesired: text("base_desired").$type<Desired>().notNull(),
  basePlacement: json<PlacementRequest>("base_placement"),
  rollbackGeneration: counter("rollback_generation"),
  policy: json<RolloutPolicy>("policy").notNull(),
  components: json<readonly string[]>("components"),
  patchedGeneration: counter("patched_generation"),
  whole: boolean("whole").notNull(),
  timeoutS: integer("timeout_s"),
  wave: integer("wave").notNull(),
  promoted: boolean("promoted").notNull().default(false),
  members: json<readonly RolloutMember[]>("members").notNull(),
  because: freeText("because").notNull(),
  progressAt: at("progress_at").notNull().default(NOW),
  createdAt: at("created_at").notNull().default(NOW),
  updatedAt: at("updated_at").notNull().default(NOW),
  completedAt: at("completed_at"),
  version: counter("version").notNull().default(1),
});
