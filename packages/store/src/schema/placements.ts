/** A deployment on a host, and, apart from it, what that host says of it. */
import type { DeploymentId, DesiredState, HostId, ObservedState, PlacementId, ReportedComponent } from "@skep/core";
import { integer, pgTable, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at, counter, json } from "./columns.ts";

export const placements = pgTable("placements", {
  id: uuid("id").$type<PlacementId>().primaryKey(),
  deploymentId: uuid("deployment_id").$type<DeploymentId>().notNull(),
  hostId: uuid("host_id").$type<HostId>().notNull(),
  desired: text("desired").$type<DesiredState>().notNull(),
  epoch: counter("epoch").notNull(),
  generation: counter("generation").notNull(),
  appliedGeneration: counter("applied_generation"),
  reconcileAttempts: integer("reconcile_attempts").notNull().default(0),
  reconcileNotBefore: at("reconcile_not_before"),
  createdAt: at("created_at").notNull().default(NOW),
  removedAt: at("removed_at"),
  version: counter("version").notNull().default(1),
});

export const observed = pgTable("observed", {
  placementId: uuid("placement_id").$type<PlacementId>().primaryKey(),
  hostId: uuid("host_id").$type<HostId>().notNull(),
  state: text("state").$type<ObservedState>().notNull(),
  generation: counter("generation").notNull(),
  epoch: counter("epoch").notNull(),
  specHash: text("spec_hash").notNull(),
  components: json<readonly ReportedComponent[]>("components").notNull(),
  changedAt: at("changed_at").notNull(),
});
