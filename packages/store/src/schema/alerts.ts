/** Alerts, how far events have become alerts, and who is told of them. */
import type { AlertId, AlertState, DeploymentId, EventSeverity, HostId, JobId, PlacementId, WebhookDeliveryId, WebhookDeliveryStatus, WebhookFilter, WebhookId } from "@skep/core";
import { sql } from "drizzle-orm";
import { boolean, integer, pgTable, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at, counter, freeText, json } from "./columns.ts";

export const alertCursor = pgTable("alert_cursor", {
  one: boolean("one").primaryKey().default(true),
  cursor: text("cursor").notNull(),
  version: counter("version").notNull().default(1),
});

export const alerts = pgTable("alerts", {
  id: uuid("id").$type<AlertId>().primaryKey(),
  key: text("key").notNull(),
  rule: text("rule").notNull(),
  kind: text("kind").notNull(),
  severity: text("severity").$type<EventSeverity>().notNull(),
  state: text("state").$type<AlertState>().notNull(),
  title: freeText("title").notNull(),
  message: freeText("message").notNull(),
  next: freeText("next").notNull(),
  hostId: uuid("host_id").$type<HostId>(),
  host: text("host"),
  deploymentId: uuid("deployment_id").$type<DeploymentId>(),
  deployment: text("deployment"),
  placementId: uuid("placement_id").$type<PlacementId>(),
  lifecycleId: uuid("lifecycle_id").$type<JobId>(),
  count: counter("count").notNull(),
  firstAt: at("first_at").notNull(),
  lastAt: at("last_at").notNull(),
  resolvedAt: at("resolved_at"),
  resolvedBecause: freeText("resolved_because"),
  told: boolean("told").notNull(),
  notifiedAt: at("notified_at"),
  notifyAt: at("notify_at"),
  acknowledgedAt: at("acknowledged_at"),
  acknowledgedBy: freeText("acknowledged_by"),
  version: counter("version").notNull().default(1),
});

export const webhooks = pgTable("webhooks", {
  id: uuid("id").$type<WebhookId>().primaryKey(),
  name: text("name").notNull(),
  url: freeText("url").notNull(),
  filter: json<WebhookFilter>("filter").notNull(),
  /** The key of its signatures, so it cannot be kept as a hash. Read by the claim alone. */
  secret: text("secret").notNull(),
  enabled: boolean("enabled").notNull().default(true),
  createdAt: at("created_at").notNull().default(NOW),
  updatedAt: at("updated_at").notNull().default(NOW),
  version: counter("version").notNull().default(1),
});

export const webhookDeliveries = pgTable("webhook_deliveries", {
  id: uuid("id").$type<WebhookDeliveryId>().primaryKey(),
  webhookId: uuid("webhook_id").$type<WebhookId>().notNull(),
  alertId: uuid("alert_id").$type<AlertId>(),
  body: json<Readonly<Record<string, unknown>>>("body").notNull(),
  status: text("status").$type<WebhookDeliveryStatus>().notNull().default("pending"),
  attempt: integer("attempt").notNull().default(0),
  nextAttemptAt: at("next_attempt_at").notNull().default(NOW),
  claimExpiresAt: at("claim_expires_at"),
  lastStatus: integer("last_status"),
  lastError: freeText("last_error"),
  createdAt: at("created_at").notNull().default(sql`clock_timestamp()`),
  completedAt: at("completed_at"),
  version: counter("version").notNull().default(1),
});
