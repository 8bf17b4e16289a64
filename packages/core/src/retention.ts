/**
 * How long the ledger keeps what has ended, ms of the database's time unless a name says otherwise. What is open, and what
 * is still read (a deployment's newest rollout, a host's last drain), stays whatever its age.
 */
import { DAY_MS } from "./time.ts";

export interface Retention {
  readonly eventsMs: number;
  /** The promise of the API: a key is remembered for a day. */
  readonly idempotencyMs: number;
  /** Resolved alerts and deliveries that arrived. */
  readonly alertsMs: number;
  /** Ended rollouts, moves and drains. Longer than events, whose data names them. */
  readonly historyMs: number;
  /** Deliveries that were given up: somebody may still want to send them again. */
  readonly deadLettersMs: number;
  /** A receiver that is gone for good must not fill the ledger before `deadLettersMs` have passed: the newest so many stay. */
  readonly deadLettersPerWebhook: number;
}

export const DEFAULT_RETENTION: Retention = {
  eventsMs: 30 * DAY_MS, idempotencyMs: DAY_MS, alertsMs: 30 * DAY_MS, historyMs: 90 * DAY_MS, deadLettersMs: 30 * DAY_MS, deadLettersPerWebhook: 1_000,
};

/** How many of each one pass deleted. */
export interface Retained {
  readonly events: number;
  readonly idempotencyKeys: number;
  readonly alerts: number;
  readonly webhookDeliveries: number;
  readonly rollouts: number;
  readonly moves: number;
  readonly drains: number;
}

/** Dead letters of one webhook that are no more. */
export interface DroppedDeadLetters {
  readonly webhookId: string;
  readonly webhook: string;
  /** Older than is kept. */
  readonly expired: number;
  /** Younger, and more than are kept. */
  readonly surplus: number;
}
