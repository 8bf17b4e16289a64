/**
 * The retention pass: deletes what has ended long enough ago, in bounded batches. Every master runs it; what one has
 * locked the others leave to it. Of dead letters somebody is told, because they were kept for somebody.
 */
import { DAY_MS, type DroppedDeadLetters, type Retained, type Retention } from "@skep/core";
import type { ControlDeps } from "../ports.ts";

/** Batches of one pass. A backlog that is larger waits for the next pass; a stop of the master waits for this one's end. */
const MAX_ROUNDS = 20;

export interface RetentionPass {
  retainOnce(): Promise<Retained & { readonly deadLetters: number }>;
}

export function createRetention({ store, logger }: ControlDeps, limits: Retention): RetentionPass {
  /** In one transaction with their end, so that none goes unsaid. */
  const dropDeadLetters = (): Promise<{ readonly dropped: readonly DroppedDeadLetters[]; readonly more: boolean }> =>
    store.transaction(async (tx) => {
      const { dropped, more } = await tx.dropDeadLetters(limits);
      for (const { webhookId, webhook, expired, surplus } of dropped) {
        await tx.appendEvent({ kind: "webhook.dead_letters_dropped", severity: "warning", message: wordsFor(webhook, expired, surplus), data: { webhook_id: webhookId, expired, surplus } });
      }
      return { dropped, more };
    }, { pool: "background" });

  const wordsFor = (webhook: string, expired: number, surplus: number): string => {
    const why = [
      ...(expired === 0 ? [] : [`${expired} given up longer than ${Math.round((limits.deadLettersMs / DAY_MS) * 10) / 10} days ago`]),
      ...(surplus === 0 ? [] : [`${surplus} beyond the newest ${limits.deadLettersPerWebhook}`]),
    ];
    return `dead letters of webhook ${webhook} were deleted and can no longer be sent again: ${why.join(", ")}; see what is left and why it fails: skep webhook deliveries ${webhook} --status dead; alerts themselves: skep alerts --all`;
  };

  return {
    async retainOnce() {
      const total = { events: 0, idempotencyKeys: 0, alerts: 0, webhookDeliveries: 0, rollouts: 0, moves: 0, drains: 0, deadLetters: 0 };
      for (let round = 0, goesOn = true; goesOn && round < MAX_ROUNDS; round += 1) {
        const { more, ...retained } = await store.retain(limits);
        for (const key of Object.keys(retained) as (keyof Retained)[]) total[key] += retained[key];
        goesOn = more;
      }
      for (let round = 0, goesOn = true; goesOn && round < MAX_ROUNDS; round += 1) {
        const { dropped, more } = await dropDeadLetters();
        for (const { webhook, expired, surplus } of dropped) {
          total.deadLetters += expired + surplus;
          logger.warn({ webhook, expired, surplus }, "dead letters were deleted");
        }
        goesOn = more;
      }
      return total;
    },
  };
}
