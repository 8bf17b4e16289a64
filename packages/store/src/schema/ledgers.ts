/** The append-only tables and the keys of repeated requests. */
import type { DeploymentId, EventSeverity, HostId, JobId, PlacementId } from "@skep/core";
import { sql } from "drizzle-orm";
import { bigserial, integer, pgTable, primaryKey, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at, freeText, json, xid8 } from "./columns.ts";

export const events = pgTable("events", {
  id: bigserial("id", { mode: "bigint" }).primaryKey(),
  xid: xid8("xid").notNull().default(sql`pg_current_xact_id()`),
  at: at("at").notNull().default(NOW),
  kind: text("kind").notNull(),
  severity: text("severity").$type<EventSeverity>().notNull(),
  message: freeText("message").notNull(),
  hostId: uuid("host_id").$type<HostId>(),
  deploymentId: uuid("deployment_id").$type<DeploymentId>(),
  placementId: uuid("placement_id").$type<PlacementId>(),
  lifecycleId: uuid("lifecycle_id").$type<JobId>(),
  data: json<Readonly<Record<string, unknown>>>("data"),
});

export const auditLog = pgTable("audit_log", {
  id: bigserial("id", { mode: "bigint" }).primaryKey(),
  at: at("at").notNull().default(NOW),
  actor: freeText("actor").notNull(),
  action: freeText("action").notNull(),
  subject: freeText("subject").notNull(),
  outcome: text("outcome").$type<"allowed" | "denied">().notNull(),
  requestId: freeText("request_id"),
  detail: json<Readonly<Record<string, string | number | boolean>>>("detail"),
});

export const idempotencyKeys = pgTable(
  "idempotency_keys",
  {
    scope: freeText("scope").notNull(),
    key: freeText("key").notNull(),
    bodyHash: freeText("body_hash").notNull(),
    createdAt: at("created_at").notNull().default(NOW),
    completedAt: at("completed_at"),
    status: integer("status"),
    body: json<unknown>("body"),
  },
  (table) => [primaryKey({ columns: [table.scope, table.key] })],
);
