/**
 * The delivery pass: claims what is due and sends it, without waiting for what it has begun, so that a receiver that
 * hangs delays nobody else's. Every master may run it; what is sent and not yet recorded when one is killed is sent
 * again once its claim has expired (at least once, with the same delivery id).
 */
import { decideDelivery, type ClaimedWebhookDelivery } from "@skep/core";
import { WEBHOOK_BODY_VERSION } from "@skep/protocol";
import type { ControlDeps, WebhookSender } from "../ports.ts";

const BATCH = 50;
/** Under way to one receiver at once: a slow one holds this many, a burst waits its turn. */
const PER_WEBHOOK = 4;
/** Longer than one sending may take (10 s), so that no other master sends what is still on its way. */
const CLAIM_MS = 30_000;

export interface WebhookDeliveries {
  /** Resolves when everything that was due is on its way. */
  deliverOnce(): Promise<{ started: number }>;
  /** Resolves when nothing is on its way. */
  drainDeliveries(): Promise<void>;
}

export function createWebhookDeliveries(deps: ControlDeps, sender: WebhookSender | undefined, wake: () => void): WebhookDeliveries {
  const underWay = new Set<Promise<void>>();

  const send = async (sendNow: WebhookSender["send"], { delivery, webhook, secret }: ClaimedWebhookDelivery): Promise<void> => {
    const body = JSON.stringify({ schema_version: WEBHOOK_BODY_VERSION, delivery_id: delivery.id, attempt: delivery.attempt, alert: null, ...delivery.body });
    const outcome = await sendNow({ url: webhook.url, secret, deliveryId: delivery.id, body });
    const verdict = decideDelivery(outcome, delivery.attempt, deps.rng);
    const facts = { webhook: webhook.name, delivery_id: delivery.id, attempt: delivery.attempt };
    const lastStatus = outcome.kind === "answer" ? outcome.status : null;
    await deps.store.transaction(async (tx) => {
      const recorded = await tx.casWebhookDelivery(delivery.id, delivery.version, {
        status: verdict.status, lastStatus, lastError: verdict.status === "delivered" ? null : verdict.because, ...(verdict.status === "pending" ? { retryMs: verdict.retryMs } : {}),
      });
      // Its claim had expired and another master sends it, or it was removed: theirs is the word that counts.
      if (!recorded) return deps.logger.debug(facts, "a delivery moved while it was sent");
      if (verdict.status === "dead") {
        await tx.appendEvent({
          kind: "webhook.delivery_dead", severity: "warning", message: `a delivery to webhook ${webhook.name} is given up: ${verdict.because}; send it again: skep webhook retry ${webhook.name} ${delivery.id}`,
          data: { webhook_id: webhook.id, delivery_id: delivery.id },
        });
      }
    }, { pool: "background" });
    if (verdict.status !== "delivered") deps.logger.warn({ ...facts, status: verdict.status, because: verdict.because }, "a webhook delivery failed");
  };

  const start = (sendNow: WebhookSender["send"], claimed: ClaimedWebhookDelivery): void => {
    const sending = send(sendNow, claimed).catch((error: unknown) => deps.logger.warn({ err: error, delivery_id: claimed.delivery.id }, "what became of a delivery could not be recorded: it is sent again")).finally(() => {
      underWay.delete(sending);
      // Its place is free, and what waited for it may go.
      wake();
    });
    underWay.add(sending);
  };

  return {
    async deliverOnce() {
      if (sender === undefined) return { started: 0 };
      for (let started = 0; ; ) {
        const claimed = await deps.store.claimWebhookDeliveries(BATCH, PER_WEBHOOK, CLAIM_MS);
        for (const one of claimed) start((message) => sender.send(message), one);
        started += claimed.length;
        if (claimed.length < BATCH) return { started };
      }
    },
    async drainDeliveries() {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}
