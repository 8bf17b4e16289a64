/** Alerts, webhooks and deliveries as the API shows them; an alert looks the same to a receiver. */
import { toIso, type AlertRecord, type WebhookDelivery, type WebhookRecord } from "@skep/core";
import type { AlertJson, WebhookDeliveryJson, WebhookJson } from "@skep/protocol";
import { timeOrNull } from "./time.ts";

export const alertJson = (alert: AlertRecord): AlertJson => ({
  id: alert.id,
  key: alert.key,
  rule: alert.rule,
  severity: alert.severity,
  state: alert.state,
  title: alert.title,
  message: alert.message,
  next: alert.next,
  kind: alert.kind,
  host_id: alert.hostId ?? null,
  host: alert.host ?? null,
  deployment_id: alert.deploymentId ?? null,
  deployment: alert.deployment ?? null,
  placement_id: alert.placementId ?? null,
  lifecycle_id: alert.lifecycleId ?? null,
  count: alert.count,
  first_at: toIso(alert.firstAt),
  last_at: toIso(alert.lastAt),
  resolved_at: timeOrNull(alert.resolvedAt),
  resolved_because: alert.resolvedBecause ?? null,
  notified_at: timeOrNull(alert.notifiedAt),
  acknowledged_at: timeOrNull(alert.acknowledgedAt),
  acknowledged_by: alert.acknowledgedBy ?? null,
  version: alert.version,
});

/** Where a receiver is, without what may be its secret. */
export function shownUrl(text: string): string {
  const url = new URL(text);
  return url.pathname === "/" && url.search === "" ? url.origin : `${url.origin}/…`;
}

export const webhookJson = (webhook: WebhookRecord): WebhookJson => ({
  id: webhook.id,
  name: webhook.name,
  url: shownUrl(webhook.url),
  kinds: [...webhook.filter.kinds],
  min_severity: webhook.filter.minSeverity,
  enabled: webhook.enabled,
  created_at: toIso(webhook.createdAt),
  updated_at: toIso(webhook.updatedAt),
});

export const webhookDeliveryJson = (delivery: WebhookDelivery): WebhookDeliveryJson => ({
  id: delivery.id,
  webhook_id: delivery.webhookId,
  alert_id: delivery.alertId ?? null,
  type: String(delivery.body["type"]),
  title: String(delivery.body["title"]),
  status: delivery.status,
  attempt: delivery.attempt,
  next_attempt_at: delivery.status === "pending" ? toIso(delivery.nextAttemptAt) : null,
  last_status: delivery.lastStatus ?? null,
  last_error: delivery.lastError ?? null,
  created_at: toIso(delivery.createdAt),
  completed_at: timeOrNull(delivery.completedAt),
});
