/** What people do with alerts and webhooks; each with its audit row, in the same transaction. */
import { SkepError, uuidv7, type AlertId, type Tx, type WebhookDeliveryId, type WebhookFilter, type WebhookId, type WebhookRecord } from "@skep/core";
import type { AlertJson, CreateWebhookReply, CreateWebhookRequest, UpdateWebhookRequest, WebhookDeliveryReply, WebhookJson, WebhookReply } from "@skep/protocol";
import { randomToken } from "@skep/runtime";
import { alertJson, shownUrl, webhookJson } from "../http/views/alert.ts";
import type { ControlDeps, OperatorContext, Reply } from "../ports.ts";
import { checkWebhookUrl } from "../webhooks/address.ts";
import { accept } from "./accept.ts";

/** Each may hold a few connections open at once, and every alert is written once for each. */
const MAX_WEBHOOKS = 64;

export interface WebhookControl {
  /** Silences reminders until it resolves. Again: the same answer, by whoever was first. */
  acknowledgeAlert(id: string, context: OperatorContext): Promise<Reply<AlertJson>>;
  createWebhook(request: CreateWebhookRequest, context: OperatorContext): Promise<Reply<CreateWebhookReply>>;
  updateWebhook(webhook: string, request: UpdateWebhookRequest, context: OperatorContext): Promise<Reply<WebhookReply>>;
  /** With its deliveries, those that wait to be sent too. */
  deleteWebhook(webhook: string, context: OperatorContext): Promise<Reply<WebhookJson>>;
  testWebhook(webhook: string, context: OperatorContext): Promise<Reply<WebhookDeliveryReply>>;
  retryWebhookDelivery(webhook: string, delivery: string, context: OperatorContext): Promise<Reply<WebhookDeliveryReply>>;
}

export function createWebhookControl(deps: ControlDeps, allowLoopback: boolean, wake: () => void): WebhookControl {
  const audit = (tx: Tx, context: OperatorContext, action: string, subject: string, detail: Record<string, string | number | boolean> = {}): Promise<void> =>
    tx.appendAudit({ actor: context.actor, action, subject, outcome: "allowed", requestId: context.requestId, detail });
  const tell = (tx: Tx, { id, name }: Pick<WebhookRecord, "id" | "name">, what: "created" | "updated" | "deleted"): Promise<void> =>
    tx.appendEvent({ kind: `webhook.${what}`, severity: "info", message: `webhook ${name} was ${what}`, data: { webhook_id: id } });
  const find = async (tx: Tx, ref: string): Promise<WebhookRecord> => {
    const webhook = await tx.findWebhook(ref);
    if (webhook === undefined) throw new SkepError("webhook_not_found", `no webhook ${ref}`);
    return webhook;
  };
  const then = async <T>(reply: Promise<Reply<T>>): Promise<Reply<T>> => {
    const done = await reply;
    wake();
    return done;
  };

  return {
    acknowledgeAlert: (id, context) =>
      accept(deps, context, async (tx) => {
        const alert = await tx.lockAlert(id as AlertId);
        if (alert === undefined) throw new SkepError("alert_not_found", `no alert ${id}`);
        if (alert.state === "resolved") throw new SkepError("alert_resolved", `${alert.title} has resolved: ${alert.resolvedBecause ?? ""}`);
        if (alert.acknowledgedAt !== undefined) return { status: 200, body: alertJson(alert) };
        const seen = { ...alert, acknowledgedAt: await tx.now(), acknowledgedBy: context.actor };
        if (!(await tx.casAlert(seen))) throw new SkepError("request_in_progress", "the alert changed at the same moment; try again", { retryAfterMs: 100 });
        await audit(tx, context, "alert.acknowledge", `alert:${id}`, { key: alert.key });
        return { status: 200, body: alertJson({ ...seen, version: alert.version + 1 }) };
      }),

    async createWebhook(request, context) {
      const { url } = checkWebhookUrl(request.url, allowLoopback);
      const secret = randomToken("whsec");
      const id = uuidv7(deps.clock.now(), deps.rng) as WebhookId;
      const reply = await accept(deps, context, async (tx) => {
        if ((await tx.listWebhooks()).length >= MAX_WEBHOOKS) throw new SkepError("too_many_webhooks", `there are ${MAX_WEBHOOKS}`);
        const filter: WebhookFilter = { kinds: request.kinds, minSeverity: request.min_severity };
        if ((await tx.insertWebhook({ id, name: request.name, url: url.href, filter, secret })) === "webhook_exists") throw new SkepError("webhook_exists", `there is a webhook ${request.name}`);
        await audit(tx, context, "webhook.create", `webhook:${id}`, { name: request.name, receiver: shownUrl(url.href), min_severity: request.min_severity });
        await tell(tx, { id, name: request.name }, "created");
        // What is stored as the answer has no secret (docs/decisions/0005).
        return { status: 201, body: { ...webhookJson(await find(tx, id)), warnings: warningsOf(url) } };
      });
      if (reply.replayed) throw new SkepError("secret_shown_once", `It made the webhook ${reply.body.name}; its secret is not kept in the answer.`);
      return { ...reply, body: { ...reply.body, secret } };
    },

    updateWebhook: (ref, request, context) =>
      then(accept(deps, context, async (tx) => {
        const webhook = await find(tx, ref);
        const url = request.url === undefined ? undefined : checkWebhookUrl(request.url, allowLoopback).url;
        const filter = { kinds: request.kinds ?? webhook.filter.kinds, minSeverity: request.min_severity ?? webhook.filter.minSeverity };
        if (Object.keys(request).length > 0) {
          const patch = { filter, ...(url === undefined ? {} : { url: url.href }), ...(request.enabled === undefined ? {} : { enabled: request.enabled }) };
          if (!(await tx.casWebhook(webhook.id, webhook.version, patch))) throw new SkepError("request_in_progress", "the webhook changed at the same moment; try again", { retryAfterMs: 100 });
          await audit(tx, context, "webhook.update", `webhook:${webhook.id}`, { name: webhook.name, fields: Object.keys(request).sort().join(",") });
          await tell(tx, webhook, "updated");
        }
        return { status: 200, body: { ...webhookJson(await find(tx, webhook.id)), warnings: url === undefined ? [] : warningsOf(url) } };
      })),

    deleteWebhook: (ref, context) =>
      accept(deps, context, async (tx) => {
        const webhook = await find(tx, ref);
        await tx.deleteWebhook(webhook.id);
        await audit(tx, context, "webhook.delete", `webhook:${webhook.id}`, { name: webhook.name });
        await tell(tx, webhook, "deleted");
        return { status: 200, body: webhookJson(webhook) };
      }),

    testWebhook: (ref, context) =>
      then(accept(deps, context, async (tx) => {
        const webhook = await find(tx, ref);
        if (!webhook.enabled) throw new SkepError("webhook_disabled", `${webhook.name} is disabled: nothing is sent to it`);
        const id = uuidv7(deps.clock.now(), deps.rng) as WebhookDeliveryId;
        await tx.insertWebhookDeliveries([{ id, webhookId: webhook.id, alertId: undefined, body: { type: "test", title: `A test of webhook ${webhook.name}` } }]);
        await audit(tx, context, "webhook.test", `webhook:${webhook.id}`, { name: webhook.name, delivery_id: id });
        return { status: 202, body: { delivery_id: id, webhook: webhook.name, status: "pending" as const } };
      })),

    retryWebhookDelivery: (ref, deliveryId, context) =>
      then(accept(deps, context, async (tx) => {
        const webhook = await find(tx, ref);
        const delivery = await tx.findWebhookDelivery(deliveryId);
        if (delivery === undefined || delivery.webhookId !== webhook.id) throw new SkepError("delivery_not_found", `${webhook.name} has no delivery ${deliveryId}`);
        if (delivery.status !== "dead") throw new SkepError("delivery_not_dead", `it is ${delivery.status}`);
        if (!(await tx.casWebhookDelivery(delivery.id, delivery.version, { status: "pending", attempt: 0, retryMs: 0 }))) throw new SkepError("request_in_progress", "the delivery changed at the same moment; try again", { retryAfterMs: 100 });
        await audit(tx, context, "webhook.retry", `webhook:${webhook.id}`, { name: webhook.name, delivery_id: delivery.id });
        return { status: 202, body: { delivery_id: delivery.id, webhook: webhook.name, status: "pending" as const } };
      })),
  };
}

const warningsOf = (url: URL): string[] =>
  url.protocol === "http:" ? ["http: what is sent can be read and held back on its way; only the signature keeps it from being changed. Use https where you can."] : [];
