/** What is sent to whom, and what becomes of a delivery after it was sent. */
import { backoffMs } from "../retry/backoff.ts";
import type { Rng } from "../rng.ts";
import { EVENT_SEVERITIES } from "../ports/records.ts";
import { HOUR_MS } from "../time.ts";
import type { AlertRecord, WebhookFilter } from "./record.ts";

export const wantsAlert = (filter: WebhookFilter, alert: Pick<AlertRecord, "kind" | "severity">): boolean =>
  EVENT_SEVERITIES.indexOf(alert.severity) >= EVENT_SEVERITIES.indexOf(filter.minSeverity) &&
  (filter.kinds.length === 0 || filter.kinds.some((prefix) => alert.kind.startsWith(prefix)));

/** What the network said. `failed` never carries what the receiver wrote. */
export type SendOutcome = { readonly kind: "answer"; readonly status: number } | { readonly kind: "failed"; readonly because: string };

export type DeliveryVerdict =
  | { readonly status: "delivered" }
  | { readonly status: "pending"; readonly retryMs: number; readonly because: string }
  | { readonly status: "dead"; readonly because: string };

/** Eight over at most about a day: a receiver that is down over night still hears of it, one that is gone costs little. */
export const WEBHOOK_ATTEMPTS = 8;
const RETRY = { baseMs: 30_000, capMs: 12 * HOUR_MS };
/** The receiver says that it is gone for good. */
const GONE = 410;

/** `attempt`: how often it was sent, this one included. */
export function decideDelivery(outcome: SendOutcome, attempt: number, rng: Rng): DeliveryVerdict {
  if (outcome.kind === "answer" && outcome.status >= 200 && outcome.status < 300) return { status: "delivered" };
  const because = outcome.kind === "failed" ? outcome.because : `the receiver answered ${outcome.status}${outcome.status >= 300 && outcome.status < 400 ? ": redirects are not followed" : ""}`;
  if (outcome.kind === "answer" && outcome.status === GONE) return { status: "dead", because: `${because}: it is gone for good` };
  if (attempt >= WEBHOOK_ATTEMPTS) return { status: "dead", because: `${because}, after ${attempt} attempts` };
  // Fourfold each time: 30 s, 2 min, 8 min, 32 min, 2 h, 8.5 h, 12 h at most.
  return { status: "pending", retryMs: backoffMs(2 * (attempt - 1), RETRY, rng), because };
}
