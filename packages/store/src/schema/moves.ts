/** Placements on their way from one host to another, and hosts that are being emptied. */
import type { DeploymentId, DrainId, DrainStatus, HostId, MoveId, MoveReason, MoveStatus, PlacementId } from "@skep/core";
import { boolean, integer, pgTable, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at, counter, freeText } from "./columns.ts";

export const drains = pgTable("drains", {
  id: uuid("id").$type<DrainId>().primaryKey(),
  hostId: uuid("host_id").$type<HostId>().notNull(),
  host: text("host").notNull(),
  status: text("status").$type<DrainStatus>().notNull(),
  stopPinned: boolean("stop_pinned").notNull(),
  because: freeText("because").notNull(),
  createdAt: at("created_at").notNull().default(NOW),
  updatedAt: at("updated_at").notNull().default(NOW),
  completedAt: at("completed_at"),
  version: counter("version").notNull().default(1),
});

export const moves = pgTable("moves", {
  id: uuid("id").$type<MoveId>().primaryKey(),
  deploymentId: uuid("deployment_id").$type<DeploymentId>().notNull(),
  deployment: text("deployment").notNull(),
  reason: text("reason").$type<MoveReason>().notNull(),
  drainId: uuid("drain_id").$type<DrainId>(),
  status: text("status").$type<MoveStatus>().notNull(),
  fromPlacementId: uuid("from_placement_id").$type<PlacementId>().notNull(),
  fromHostId: uuid("from_host_id").$type<HostId>().notNull(),
  fromHost: text("from_host").notNull(),
  toHostId: uuid("to_host_id").$type<HostId>().notNull(),
  toHost: text("to_host").notNull(),
  toPlacementId: uuid("to_placement_id").$type<PlacementId>(),
  desired: text("desired").$type<"running" | "stopped">().notNull(),
  breakFirst: boolean("break_first").notNull(),
  cancelRequested: boolean("cancel_requested").notNull().default(false),
  slot: integer("slot"),
  because: freeText("because").notNull(),
  progressAt: at("progress_at").notNull().default(NOW),
  createdAt: at("created_at").notNull().default(NOW),
  updatedAt: at("updated_at").notNull().default(NOW),
  completedAt: at("completed_at"),
  version: counter("version").notNull().default(1),
});
