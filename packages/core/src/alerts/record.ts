/** Alerts and webhooks as values: what the ledger keeps of each. */
import type { AlertId, DeploymentId, HostId, JobId, PlacementId, WebhookDeliveryId, WebhookId } from "../ids.ts";
import type { EventSeverity } from "../ports/records.ts";
import type { Instant } from "../time.ts";

export const ALERT_STATES = ["firing", "resolved"] as const;
export type AlertState = (typeof ALERT_STATES)[number];
export const NOTICE_TYPES = ["firing", "reminder", "resolved"] as const;
export type NoticeType = (typeof NOTICE_TYPES)[number];
/** `dead`: given up; kept, listed, and sent again only by an operator. */
export const WEBHOOK_DELIVERY_STATUSES = ["pending", "delivered", "dead"] as const;
export type WebhookDeliveryStatus = (typeof WEBHOOK_DELIVERY_STATUSES)[number];

/** What never changes once an alert exists. */
export interface AlertIdentity {
  readonly id: AlertId;
  /** `<rule>:<id of its subject>`; at most one alert of a key fires. */
  readonly key: string;
  readonly rule: string;
  readonly severity: EventSeverity;
  readonly title: string;
  /** What a person does next. */
  readonly next: string;
  readonly hostId: HostId | undefined;
  /** Names never change, so they are kept: the alert outlives what it is about. */
  readonly host: string | undefined;
  readonly deploymentId: DeploymentId | undefined;
  readonly deployment: string | undefined;
  readonly placementId: PlacementId | undefined;
  readonly lifecycleId: JobId | undefined;
  readonly firstAt: Instant;
}

export interface AlertProgress {
  readonly state: AlertState;
  /** The event that opened it last, and its words. */
  readonly kind: string;
  readonly message: string;
  /** How often it was opened or said again. */
  readonly count: number;
  readonly lastAt: Instant;
  readonly resolvedAt: Instant | undefined;
  readonly resolvedBecause: string | undefined;
  /** What receivers were told last is that it fires. */
  readonly told: boolean;
  /** When they were last told that it fires, or reminded: the cool-down runs from here. */
  readonly notifiedAt: Instant | undefined;
  /** It fires and nobody was told yet: not before this. */
  readonly notifyAt: Instant | undefined;
  /** A person has seen it: no reminders until it resolves. */
  readonly acknowledgedAt: Instant | undefined;
  readonly acknowledgedBy: string | undefined;
}

export interface AlertRecord extends AlertIdentity, AlertProgress {
  readonly version: number;
}
export type NewAlert = Omit<AlertRecord, "version">;

/** Which alerts a webhook is told of. */
export interface WebhookFilter {
  /** Prefixes of the kind of the event that opened the alert, for example `host.`; none = every kind. */
  readonly kinds: readonly string[];
  readonly minSeverity: EventSeverity;
}

/** Without its secret, which leaves the store only for signing. */
export interface WebhookRecord {
  readonly id: WebhookId;
  readonly name: string;
  readonly url: string;
  readonly filter: WebhookFilter;
  readonly enabled: boolean;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
  readonly version: number;
}

export interface WebhookDelivery {
  readonly id: WebhookDeliveryId;
  readonly webhookId: WebhookId;
  /** None = a test. */
  readonly alertId: AlertId | undefined;
  /** What is sent, as it was when it happened; delivery id and attempt are added on the way out. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly status: WebhookDeliveryStatus;
  /** How often it was sent, this time included while it is on its way. */
  readonly attempt: number;
  readonly nextAttemptAt: Instant;
  readonly claimExpiresAt: Instant | undefined;
  readonly lastStatus: number | undefined;
  readonly lastError: string | undefined;
  readonly createdAt: Instant;
  readonly completedAt: Instant | undefined;
  readonly version: number;
}
