/** Desired state and its generations. */
import type { DeploymentId, DeploymentStatus, DesiredState, FailoverWish, PlacementRequest, ReconcileMode, RolloutWish, Spec } from "@skep/core";
import { pgTable, primaryKey, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at, counter, freeText, json } from "./columns.ts";

export const deployments = pgTable("deployments", {
  id: uuid("id").$type<DeploymentId>().primaryKey(),
  name: text("name").notNull(),
  generation: counter("generation").notNull(),
  desired: text("desired").$type<DesiredState>().notNull(),
  reconcile: text("reconcile").$type<ReconcileMode>().notNull(),
  placement: json<PlacementRequest>("placement").notNull(),
  rollout: json<RolloutWish>("rollout").notNull(),
  failover: json<FailoverWish>("failover").notNull().default({}),
  status: text("status").$type<DeploymentStatus>().notNull().default("pending"),
  lastError: freeText("last_error"),
  createdAt: at("created_at").notNull().default(NOW),
  updatedAt: at("updated_at").notNull().default(NOW),
  deletedAt: at("deleted_at"),
  version: counter("version").notNull().default(1),
});

export const deploymentGenerations = pgTable(
  "deployment_generations",
  {
    deploymentId: uuid("deployment_id").$type<DeploymentId>().notNull(),
    generation: counter("generation").notNull(),
    spec: json<Spec>("spec").notNull(),
    specHash: text("spec_hash").notNull(),
    createdAt: at("created_at").notNull().default(NOW),
  },
  (table) => [primaryKey({ columns: [table.deploymentId, table.generation] })],
);
