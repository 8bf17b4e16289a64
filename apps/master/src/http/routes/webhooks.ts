/** Webhooks: who is told of alerts, what was sent to them, and what was given up. */
import { SkepError } from "@skep/core";
import {
  createWebhookReply, createWebhookRequest, idSchema, refSchema, updateWebhookRequest, webhookDeliveryList, webhookDeliveryQuery, webhookDeliveryReply, webhookList, webhookReply, webhookView,
} from "@skep/protocol";
import { z } from "zod";
import { cutPage, pageOf } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { webhookDeliveryJson, webhookJson } from "../views/alert.ts";

const params = z.strictObject({ webhook: refSchema });

export function webhookRoutes({ store, control }: OperatorDeps): RouteDefinition[] {
  return [
    defineRoute("createWebhook", {
      body: createWebhookRequest,
      replies: { 201: createWebhookReply },
      handle: async ({ body, context }) => {
        const answer = await control.createWebhook(body, context);
        return { ...answer, location: `/v1/webhooks/${answer.body.id}` };
      },
    }),
    defineRoute("listWebhooks", {
      replies: { 200: webhookList },
      handle: async () => ({
        status: 200,
        body: { items: (await store.listWebhooks()).map((webhook) => ({ ...webhookJson(webhook), deliveries: webhook.deliveries })), next_cursor: null },
      }),
    }),
    defineRoute("updateWebhook", { params, body: updateWebhookRequest, replies: { 200: webhookReply }, handle: async ({ params: { webhook }, body, context }) => control.updateWebhook(webhook, body, context) }),
    defineRoute("deleteWebhook", { params, replies: { 200: webhookView }, handle: async ({ params: { webhook }, context }) => control.deleteWebhook(webhook, context) }),
    defineRoute("testWebhook", { params, replies: { 202: webhookDeliveryReply }, handle: async ({ params: { webhook }, context }) => control.testWebhook(webhook, context) }),
    defineRoute("listWebhookDeliveries", {
      params,
      query: webhookDeliveryQuery,
      replies: { 200: webhookDeliveryList },
      handle: async ({ params: { webhook: ref }, query }) => {
        const webhook = await store.findWebhook(ref);
        if (webhook === undefined) throw new SkepError("webhook_not_found", `no webhook ${ref}`);
        const rows = await store.listWebhookDeliveries({ ...pageOf(query), webhookId: webhook.id, status: query.status });
        const { items, next } = cutPage(rows, query.limit, (row) => row.id);
        return { status: 200, body: { items: items.map(webhookDeliveryJson), next_cursor: next } };
      },
    }),
    defineRoute("retryWebhookDelivery", {
      params: z.strictObject({ webhook: refSchema, delivery: idSchema }),
      replies: { 202: webhookDeliveryReply },
      handle: async ({ params: { webhook, delivery }, context }) => control.retryWebhookDelivery(webhook, delivery, context),
    }),
  ];
}
