/** Alerts and webhooks in memory: one firing alert of a key, one cursor, and deliveries that are claimed. */
import { addMs } from "@skep/core";
import type { AlertRecord, ClaimedWebhookDelivery, Reads, Store, Tx, WebhookDelivery } from "@skep/core";
import { byId, check, jsonCopy, type Context, type StoredWebhook, type Sync } from "./state.ts";

type AlertReads = Sync<Pick<Reads, "findAlert" | "listAlerts" | "alertCursor" | "findWebhook" | "listWebhooks" | "findWebhookDelivery" | "listWebhookDeliveries">>;
type AlertWrites = Sync<Pick<Tx, "casAlertCursor" | "lockAlerts" | "lockAlert" | "insertAlerts" | "casAlert" | "insertWebhook" | "casWebhook" | "deleteWebhook" | "insertWebhookDeliveries" | "casWebhookDelivery" | "dropDeadLetters">>;

const CURSOR = "alerts";
const newestFirst = (a: { readonly id: string }, b: { readonly id: string }): number => byId(b, a);
const isDue = (alert: AlertRecord, now: number): boolean => alert.notifyAt !== undefined && alert.notifyAt <= now;

export function alertReads({ state, now }: Context): AlertReads {
  return {
    findAlert: (id) => state.alerts.get(id),
    listAlerts: (query) =>
      [...state.alerts.values()].filter((alert) =>
        (query.state === undefined || alert.state === query.state) && (query.severities === undefined || query.severities.includes(alert.severity)) &&
        (query.hostId === undefined || alert.hostId === query.hostId) && (query.deploymentId === undefined || alert.deploymentId === query.deploymentId) &&
        (query.after === undefined || alert.id < query.after)).sort(newestFirst).slice(0, query.limit),
    alertCursor: () => {
      const held = state.alertCursor.get(CURSOR);
      return held === undefined ? undefined : { ...held, noticeDue: [...state.alerts.values()].some((alert) => isDue(alert, now())) };
    },
    findWebhook: (idOrName) => {
      const found = state.webhooks.get(idOrName) ?? [...state.webhooks.values()].find((webhook) => webhook.name === idOrName);
      return found && withoutSecret(found);
    },
    listWebhooks: () => [...state.webhooks.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map((webhook) => {
      const count = (status: WebhookDelivery["status"]): number => [...state.webhookDeliveries.values()].filter((one) => one.webhookId === webhook.id && one.status === status).length;
      return { ...withoutSecret(webhook), deliveries: { pending: count("pending"), dead: count("dead") } };
    }),
    findWebhookDelivery: (id) => state.webhookDeliveries.get(id),
    listWebhookDeliveries: (query) =>
      [...state.webhookDeliveries.values()].filter((one) =>
        one.webhookId === query.webhookId && (query.status === undefined || one.status === query.status) && (query.after === undefined || one.id < query.after)).sort(newestFirst).slice(0, query.limit),
  };
}

export function alertWrites({ state, policy, now }: Context): AlertWrites {
  const oneFires = (alert: AlertRecord): void => {
    const other = alert.state === "firing" ? [...state.alerts.values()].find((one) => one.id !== alert.id && one.key === alert.key && one.state === "firing") : undefined;
    check(other === undefined, "alerts_one_firing");
  };
  return {
    casAlertCursor: (expectedVersion, cursor) => {
      const version = state.alertCursor.get(CURSOR)?.version ?? 0;
      if (version !== expectedVersion && policy.compareAndSet) return false;
      state.alertCursor.set(CURSOR, { cursor, version: version + 1 });
      return true;
    },
    lockAlerts: (touch, since, due) => {
      const all = [...state.alerts.values()];
      const dueIds = new Set(all.filter((alert) => isDue(alert, now())).sort((a, b) => a.notifyAt! - b.notifyAt!).slice(0, due).map((alert) => alert.id));
      const touched = (alert: AlertRecord): boolean =>
        touch.hosts.includes(alert.hostId ?? "") || touch.deployments.includes(alert.deploymentId ?? "") || touch.placements.includes(alert.placementId ?? "") || touch.lifecycles.includes(alert.lifecycleId ?? "");
      const recent = (alert: AlertRecord): boolean => Math.max(alert.lastAt, alert.resolvedAt ?? 0, alert.notifiedAt ?? 0) > since;
      return all.filter((alert) => dueIds.has(alert.id) || (alert.state === "firing" && touched(alert)) || (touch.keys.includes(alert.key) && (alert.state === "firing" || recent(alert)))).sort(byId);
    },
    lockAlert: (id) => state.alerts.get(id),
    insertAlerts: (alerts) => {
      for (const alert of alerts) {
        check(state.alerts.get(alert.id) === undefined, "alerts_pkey");
        const row = { ...alert, version: 1 };
        oneFires(row);
        state.alerts.set(alert.id, row);
      }
    },
    casAlert: (alert) => {
      const row = state.alerts.get(alert.id);
      if (row === undefined || (row.version !== alert.version && policy.compareAndSet)) return false;
      oneFires(alert);
      state.alerts.set(alert.id, { ...alert, version: row.version + 1 });
      return true;
    },
    insertWebhook: (webhook) => {
      check(state.webhooks.get(webhook.id) === undefined, "webhooks_pkey");
      if ([...state.webhooks.values()].some((other) => other.name === webhook.name)) return "webhook_exists";
      state.webhooks.set(webhook.id, { ...webhook, filter: jsonCopy(webhook.filter), enabled: true, createdAt: now(), updatedAt: now(), version: 1 });
      return "inserted";
    },
    casWebhook: (id, expectedVersion, patch) => {
      const row = state.webhooks.get(id);
      if (row === undefined || (row.version !== expectedVersion && policy.compareAndSet)) return false;
      state.webhooks.set(id, { ...row, ...patch, updatedAt: now(), version: row.version + 1 });
      return true;
    },
    deleteWebhook: (id) => {
      if (state.webhooks.get(id) === undefined) return false;
      state.webhooks.delete(id);
      for (const delivery of [...state.webhookDeliveries.values()]) if (delivery.webhookId === id) state.webhookDeliveries.delete(delivery.id);
      return true;
    },
    insertWebhookDeliveries: (deliveries) => {
      for (const delivery of deliveries) {
        check(state.webhookDeliveries.get(delivery.id) === undefined, "webhook_deliveries_pkey");
        check(state.webhooks.get(delivery.webhookId) !== undefined, "webhook_deliveries_webhook_id_fkey");
        state.webhookDeliveries.set(delivery.id, {
          ...delivery, body: jsonCopy(delivery.body), status: "pending", attempt: 0, nextAttemptAt: now(), claimExpiresAt: undefined, lastStatus: undefined, lastError: undefined,
          createdAt: now(), completedAt: undefined, version: 1,
        });
      }
    },
    casWebhookDelivery: (id, expectedVersion, { retryMs, lastStatus, lastError, ...patch }) => {
      const row = state.webhookDeliveries.get(id);
      if (row === undefined || (row.version !== expectedVersion && policy.compareAndSet)) return false;
      state.webhookDeliveries.set(id, {
        ...row, ...patch, claimExpiresAt: undefined, version: row.version + 1,
        ...(lastStatus === undefined ? {} : { lastStatus: lastStatus ?? undefined }), ...(lastError === undefined ? {} : { lastError: lastError ?? undefined }),
        ...(retryMs === undefined ? {} : { nextAttemptAt: addMs(now(), retryMs) }), completedAt: patch.status === "pending" ? undefined : now(),
      });
      return true;
    },
    dropDeadLetters: (limits) => {
      const dropped = [...state.webhooks.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).flatMap((webhook) => {
        const dead = [...state.webhookDeliveries.values()].filter((one) => one.webhookId === webhook.id && one.status === "dead").sort((a, b) => b.completedAt! - a.completedAt! || newestFirst(a, b));
        const isExpired = (one: WebhookDelivery): boolean => one.completedAt! < addMs(now(), -limits.deadLettersMs);
        const doomed = dead.filter((one, nth) => isExpired(one) || nth >= limits.deadLettersPerWebhook);
        for (const one of doomed) state.webhookDeliveries.delete(one.id);
        const expired = doomed.filter(isExpired).length;
        return doomed.length === 0 ? [] : [{ webhookId: webhook.id, webhook: webhook.name, expired, surplus: doomed.length - expired }];
      });
      return { dropped, more: false };
    },
  };
}

export function claimWebhookDeliveries({ state, now }: Context): Sync<Pick<Store, "claimWebhookDeliveries">>["claimWebhookDeliveries"] {
  return (limit, perWebhook, claimMs) => {
    const pending = [...state.webhookDeliveries.values()].filter((one) => one.status === "pending");
    const isClaimed = (one: WebhookDelivery): boolean => one.claimExpiresAt !== undefined && one.claimExpiresAt > now();
    const due = pending
      .filter((one) => one.nextAttemptAt <= now() && !isClaimed(one) && state.webhooks.get(one.webhookId)!.enabled)
      // Rows are in the order in which they were made: a clock that stands still cannot tell which was first.
      .filter((one) => one.alertId === undefined || pending.find((other) => other.webhookId === one.webhookId && other.alertId === one.alertId) === one)
      .sort((a, b) => a.nextAttemptAt - b.nextAttemptAt);
    const claimed: ClaimedWebhookDelivery[] = [];
    const busy = new Map<string, number>();
    for (const one of pending) if (isClaimed(one)) busy.set(one.webhookId, (busy.get(one.webhookId) ?? 0) + 1);
    for (const one of due) {
      const under = busy.get(one.webhookId) ?? 0;
      if (claimed.length >= limit || under >= perWebhook) continue;
      busy.set(one.webhookId, under + 1);
      const delivery = { ...one, attempt: one.attempt + 1, claimExpiresAt: addMs(now(), claimMs), version: one.version + 1 };
      state.webhookDeliveries.set(one.id, delivery);
      const { secret, ...webhook } = state.webhooks.get(one.webhookId)!;
      claimed.push({ delivery, webhook, secret });
    }
    return claimed;
  };
}

/** Drops what ended longer ago than the limit; dead deliveries stay. */
export function retainAlerts({ state, now }: Context, alertsMs: number): { alerts: number; webhookDeliveries: number } {
  const before = addMs(now(), -alertsMs);
  const alerts = [...state.alerts.values()].filter((alert) => alert.resolvedAt !== undefined && alert.resolvedAt < before);
  const deliveries = [...state.webhookDeliveries.values()].filter((one) => one.status === "delivered" && one.completedAt !== undefined && one.completedAt < before);
  for (const alert of alerts) state.alerts.delete(alert.id);
  for (const one of deliveries) state.webhookDeliveries.delete(one.id);
  return { alerts: alerts.length, webhookDeliveries: deliveries.length };
}

function withoutSecret(stored: StoredWebhook): Omit<StoredWebhook, "secret"> {
  const { secret: _, ...webhook } = stored;
  return webhook;
}
