/** Alerts, and the webhooks that are told of them. */
import { ALERT_STATES, EVENT_SEVERITIES, WEBHOOK_DELIVERY_STATUSES } from "@skep/core";
import { z } from "zod";
import { cleanText, counterSchema, idSchema, listOf, nameSchema, pageQuery, refSchema } from "../common.ts";
import { time, timeOrNull } from "./time.ts";

export const alertView = z.object({
  id: idSchema,
  /** `<rule>:<id of its subject>`: what makes it the same alert when it comes again. */
  key: z.string(),
  rule: z.string(),
  severity: z.enum(EVENT_SEVERITIES),
  state: z.enum(ALERT_STATES),
  title: z.string(),
  message: z.string(),
  /** What a person does next. */
  next: z.string(),
  /** Of the event that opened it last. */
  kind: z.string(),
  host_id: z.string().nullable(), host: z.string().nullable(), deployment_id: z.string().nullable(), deployment: z.string().nullable(),
  placement_id: z.string().nullable(), lifecycle_id: z.string().nullable(),
  count: counterSchema,
  first_at: time, last_at: time, resolved_at: timeOrNull, resolved_because: z.string().nullable(),
  /** When receivers were last told that it fires; null = nobody was told yet. */
  notified_at: timeOrNull,
  acknowledged_at: timeOrNull, acknowledged_by: z.string().nullable(),
  /** Grows with every change: of two deliveries about one alert the higher version is the later one. */
  version: counterSchema,
});
export type AlertJson = z.infer<typeof alertView>;
export const alertList = listOf(alertView);
/** `min_severity`: this one and what is worse. */
export const alertListQuery = z.strictObject({
  ...pageQuery, state: z.enum([...ALERT_STATES, "all"]).default("firing"), min_severity: z.enum(EVENT_SEVERITIES).optional(), host: refSchema.optional(), deployment: refSchema.optional(),
});

const kinds = z.array(z.string().min(1).max(63).regex(/^[a-z_.]+$/, "must be the beginning of an event's kind, such as host. or rollout.failed")).max(32);
const url = cleanText(2_048).min(1);
/** `kinds`: prefixes of the kind of the event that opened the alert; none = all of them. */
export const createWebhookRequest = z.strictObject({ name: nameSchema, url, kinds: kinds.default([]), min_severity: z.enum(EVENT_SEVERITIES).default("warning") });
export type CreateWebhookRequest = z.infer<typeof createWebhookRequest>;
export const updateWebhookRequest = z.strictObject({ enabled: z.boolean().optional(), url: url.optional(), kinds: kinds.optional(), min_severity: z.enum(EVENT_SEVERITIES).optional() });
export type UpdateWebhookRequest = z.infer<typeof updateWebhookRequest>;

export const webhookView = z.object({
  id: idSchema, name: z.string(),
  /** Scheme, host and port: the rest of a receiver's URL is often its secret and is not shown again. */
  url: z.string(),
  kinds: z.array(z.string()), min_severity: z.enum(EVENT_SEVERITIES), enabled: z.boolean(), created_at: time, updated_at: time,
});
export type WebhookJson = z.infer<typeof webhookView>;
export const webhookReply = webhookView.extend({ warnings: z.array(z.string()) });
export type WebhookReply = z.infer<typeof webhookReply>;
export const createWebhookReply = webhookReply.extend({ secret: z.string() });
export type CreateWebhookReply = z.infer<typeof createWebhookReply>;
export const webhookList = z.object({ items: z.array(webhookView.extend({ deliveries: z.object({ pending: z.int(), dead: z.int() }) })), next_cursor: z.null() });
export type WebhookListJson = z.infer<typeof webhookList>;

export const webhookDeliveryView = z.object({
  id: idSchema, webhook_id: idSchema, alert_id: idSchema.nullable(),
  /** `alert.firing`, `alert.reminder`, `alert.resolved` or `test`. */
  type: z.string(),
  title: z.string(),
  status: z.enum(WEBHOOK_DELIVERY_STATUSES), attempt: z.int(),
  /** Null once it has ended. */
  next_attempt_at: timeOrNull,
  last_status: z.int().nullable(), last_error: z.string().nullable(), created_at: time, completed_at: timeOrNull,
});
export type WebhookDeliveryJson = z.infer<typeof webhookDeliveryView>;
export const webhookDeliveryList = listOf(webhookDeliveryView);
export const webhookDeliveryQuery = z.strictObject({ ...pageQuery, status: z.enum(WEBHOOK_DELIVERY_STATUSES).optional() });
export const webhookDeliveryReply = z.object({ delivery_id: idSchema, webhook: z.string(), status: z.enum(WEBHOOK_DELIVERY_STATUSES) });
export type WebhookDeliveryReply = z.infer<typeof webhookDeliveryReply>;

export const WEBHOOK_BODY_VERSION = 1;
/** What a receiver is sent. `alert` is the alert as it was at that moment; null in a test. */
export const webhookBody = z.object({
  schema_version: z.literal(WEBHOOK_BODY_VERSION), delivery_id: idSchema, attempt: z.int(), type: z.enum(["alert.firing", "alert.reminder", "alert.resolved", "test"]),
  title: z.string(), alert: alertView.nullable(),
});
