/**
 * The store as a port: PostgreSQL in production, memory in the simulator, one conformance suite for both.
 * Reads see committed state. Writes happen in a transaction and say what they believed: a `cas…` that finds
 * another version answers `false`, which is news, not an exception. Methods throw only when the store is broken
 * (SkepError `database_unavailable`), never for an expected outcome.
 */
import type { AlertTouch } from "../alerts/decide-alerts.ts";
import type { AlertRecord, NewAlert, WebhookDelivery, WebhookDeliveryStatus, WebhookFilter, WebhookRecord } from "../alerts/record.ts";
import type { BootReport } from "../agent/boot.ts";
import type { ObservedState } from "../agent/observed.ts";
import type { Pin } from "../enrolment/decide-pin.ts";
import type { AlertId, DeploymentId, DrainId, Fingerprint, HostId, JobId, MoveId, PlacementId, RolloutId, TokenId, WebhookDeliveryId, WebhookId } from "../ids.ts";
import type { HostStatus } from "../liveness/decide-host.ts";
import type { LifecycleRow, RowChange, StepResult } from "../lifecycle/row.ts";
import type { Operation } from "../lifecycle/states.ts";
import type { DrainPatch, DrainRecord, MovePatch, MoveRecord, NewDrain, NewMove } from "../moves/record.ts";
import type { NewRollout, RolloutPatch, RolloutRecord } from "../rollout/record.ts";
import type { FleetGauges } from "../metrics/fleet-gauges.ts";
import type { JobInventory } from "../sweep/decide-sweep.ts";
import type { ProbeLane, Reachability, ReachabilityChange } from "../reachability/record.ts";
import type { DroppedDeadLetters, Retained, Retention } from "../retention.ts";
import type { ServiceQuery, ServiceSnapshot } from "../services/snapshot.ts";
import type { Instant } from "../time.ts";
import type {
  ApiToken, AuditEntry, AuditRecord, DeploymentRecord, DeploymentStatus, DesiredState, EnrolmentToken, EventCursor, EventRecord, GenerationRecord, HostCert, HostRecord, NewEvent, ObservedRecord, PlacementRecord,
} from "./records.ts";
import type {
  Page, HostQuery, LifecycleQuery, RolloutQuery, MoveQuery, HostView, PlacementView, HostPlacementFacts, FleetCounts, RingBeat, EventPage, EventFilter,
  AttentionQuery, AttentionCandidates, AlertQuery, AlertCursor, WebhookDeliveryQuery, WebhookCounts, AuditQuery, BeatWrite, BeatResult, NewLifecycleRow, ProgressNote, OrphanRecord,
  IdempotencyOutcome, IdempotencyKey,
} from "./store-values.ts";

export type * from "./store-values.ts";

export interface Reads {
  /** The database's clock: the only one decisions use. */
  now(): Promise<Instant>;
  /** By id or by name. Decommissioned hosts are found by id only. */
  findHost(idOrName: string): Promise<HostRecord | undefined>;
  listHosts(query: HostQuery): Promise<readonly HostView[]>;
  /** Hosts that may be the first by `attentionRank`: all that may have a reason, and of the rest the first by name. One moment's; errs by naming too many. */
  attentionCandidates(query: AttentionQuery): Promise<AttentionCandidates>;
  findHostView(idOrName: string): Promise<HostView | undefined>;
  listHostCerts(hostId: HostId): Promise<readonly HostCert[]>;
  /** The certificates that admit these hosts now or for a while yet: active and retiring ones. In no order. */
  listPresentCerts(hostIds: readonly HostId[]): Promise<readonly HostCert[]>;
  listRing(hostId: HostId): Promise<readonly RingBeat[]>;
  findToken(id: TokenId): Promise<EnrolmentToken | undefined>;
  /** Every pin that could admit somebody, and those revoked in the last day; with a version that grows on any change. */
  loadPins(): Promise<{ readonly version: number; readonly pins: readonly Pin[] }>;
  pinVersion(): Promise<{ readonly version: number; readonly now: Instant }>;
  /** By id or by name of a deployment that is not deleted. */
  findDeployment(idOrName: string): Promise<DeploymentRecord | undefined>;
  /** `unsettled`: only those whose stored status is not `active`. */
  listDeployments(query: Page & { readonly includeDeleted?: boolean | undefined; readonly unsettled?: boolean | undefined }): Promise<readonly DeploymentRecord[]>;
  findGeneration(id: DeploymentId, generation: number): Promise<GenerationRecord | undefined>;
  listGenerations(id: DeploymentId): Promise<readonly Omit<GenerationRecord, "spec">[]>;
  listPlacements(query: { readonly deploymentId?: DeploymentId | undefined; readonly hostId?: HostId | undefined; readonly includeRemoved?: boolean | undefined } & Partial<Page>): Promise<readonly PlacementView[]>;
  findPlacement(id: PlacementId): Promise<PlacementView | undefined>;
  /** Deployments as their callers need them, by id: in a fixed number of statements, whatever their number. */
  serviceSnapshot(query: ServiceQuery): Promise<ServiceSnapshot>;
  /** Of these hosts' placements that are not removed: as little as their visible state needs, for many hosts at once. In no order. */
  listPlacementFacts(hostIds: readonly HostId[]): Promise<readonly HostPlacementFacts[]>;
  /** Of hosts that are not decommissioned, by host and placement. */
  listOrphans(limit: number): Promise<readonly OrphanRecord[]>;
  findLifecycle(id: string): Promise<LifecycleRow | undefined>;
  listLifecycle(query: LifecycleQuery): Promise<readonly LifecycleRow[]>;
  findRollout(id: string): Promise<RolloutRecord | undefined>;
  listRollouts(query: RolloutQuery): Promise<readonly RolloutRecord[]>;
  findMove(id: string): Promise<MoveRecord | undefined>;
  listMoves(query: MoveQuery): Promise<readonly MoveRecord[]>;
  /** The host's open drain, or its last one. */
  findDrain(hostId: HostId): Promise<DrainRecord | undefined>;
  listOpenDrains(page: Page): Promise<readonly DrainRecord[]>;
  fleetCounts(): Promise<FleetCounts>;
  /** For a scrape: one statement, however large the fleet. A host is late when its last beat is older than `lateAfterMs`. */
  fleetGauges(options: { readonly lateAfterMs: number }): Promise<FleetGauges>;
  /** Committed events after the cursor, in an order in which none can appear later in front. `undefined` = from the start. */
  readEvents(after: EventCursor | undefined, limit: number, filter?: EventFilter): Promise<EventPage>;
  /** The newest events, oldest first, for lists. */
  recentEvents(limit: number, filter?: EventFilter): Promise<readonly EventRecord[]>;
  /** A cursor at the present end. */
  eventHead(): Promise<EventCursor>;
  /** Newest first. */
  listAudit(query: AuditQuery): Promise<readonly AuditRecord[]>;
  findApiToken(id: TokenId): Promise<ApiToken | undefined>;
  listApiTokens(): Promise<readonly ApiToken[]>;
  findAlert(id: string): Promise<AlertRecord | undefined>;
  listAlerts(query: AlertQuery): Promise<readonly AlertRecord[]>;
  /** Undefined until the first look. */
  alertCursor(): Promise<AlertCursor | undefined>;
  /** By id or by name. */
  findWebhook(idOrName: string): Promise<WebhookRecord | undefined>;
  /** By name, with what waits to be sent and what was given up. */
  listWebhooks(): Promise<readonly (WebhookRecord & { readonly deliveries: WebhookCounts })[]>;
  findWebhookDelivery(id: string): Promise<WebhookDelivery | undefined>;
  listWebhookDeliveries(query: WebhookDeliveryQuery): Promise<readonly WebhookDelivery[]>;
}

export interface Tx extends Reads {
  insertHost(host: Pick<HostRecord, "id" | "name" | "labels" | "notes" | "address" | "agentPort" | "allowedCidr">): Promise<"inserted" | "host_exists">;
  /** Compare-and-set on the status: two masters demote once. */
  casHostStatus(id: HostId, from: HostStatus, to: HostStatus, because: string): Promise<boolean>;
  updateHost(id: HostId, patch: { schedulable?: boolean; labels?: Readonly<Record<string, string>>; notes?: string; address?: string; agentPort?: number }): Promise<void>;
  recordProbe(id: HostId, ok: boolean, error: string | undefined): Promise<void>;
  /** Locks and reads what is known of these hosts, in id order, so that two batches cannot deadlock. Hosts that are gone are left out. */
  lockReachability(hostIds: readonly HostId[]): Promise<readonly Reachability[]>;
  /** Compare-and-set on each `version`, all in one statement. Answers which hosts' records were as believed. */
  casReachability(changes: readonly ReachabilityChange[]): Promise<readonly HostId[]>;
  /** Every master closes its breaker for this host at its next look. */
  resetBreakers(id: HostId): Promise<void>;
  /** A tombstone: status, certificates revoked, tokens burned, session closed. False when it was one already. */
  decommissionHost(id: HostId): Promise<boolean>;
  /** Opens a session: session epoch + 1. */
  openSession(id: HostId, registration: { bootId: string; hostBootId: string; agentVersion: string; agentUrl: string | undefined }): Promise<{ sessionEpoch: number } | undefined>;
  insertToken(token: Omit<EnrolmentToken, "attempts" | "claimedAt" | "claimedSpki" | "certPem" | "burned">): Promise<void>;
  countTokenAttempt(id: TokenId): Promise<number>;
  /** One winner: true only where it was unclaimed, not burned and not expired. */
  claimToken(id: TokenId, spkiSha256: string, certPem: string): Promise<boolean>;
  burnTokens(hostId: HostId): Promise<void>;
  /** False when the key is already in use by any certificate. */
  insertCert(cert: Omit<HostCert, "createdAt" | "retireAt">): Promise<boolean>;
  /** Active → retiring until `now + overlapMs`, except `keep`; pending ones are revoked. */
  retireCerts(hostId: HostId, keep: Fingerprint, overlapMs: number): Promise<void>;
  revokeCerts(hostId: HostId): Promise<void>;
  /** The host is told to rotate in every beat until it has a new active certificate. A change of pins. */
  requestRotation(id: HostId): Promise<void>;

  /** Locks the deployment against every other change until the transaction ends. */
  lockDeployment(id: DeploymentId): Promise<DeploymentRecord | undefined>;
  /** Without `failover` it declares no fallbacks. */
  insertDeployment(deployment: Pick<DeploymentRecord, "id" | "name" | "generation" | "desired" | "reconcile" | "placement" | "rollout"> & Partial<Pick<DeploymentRecord, "failover">>): Promise<"inserted" | "deployment_exists">;
  casDeployment(id: DeploymentId, expectedVersion: number, patch: { generation?: number; desired?: DesiredState; reconcile?: DeploymentRecord["reconcile"]; placement?: DeploymentRecord["placement"]; rollout?: DeploymentRecord["rollout"]; failover?: DeploymentRecord["failover"]; status?: DeploymentStatus; lastError?: string | null; deleted?: boolean }): Promise<boolean>;
  insertGeneration(generation: Omit<GenerationRecord, "createdAt">): Promise<void>;
  insertPlacement(placement: Pick<PlacementRecord, "id" | "deploymentId" | "hostId" | "desired" | "epoch" | "generation">): Promise<void>;
  casPlacement(id: PlacementId, expectedVersion: number, patch: { desired?: DesiredState; epoch?: number; generation?: number; appliedGeneration?: number | null; reconcileAttempts?: number; reconcileNotBefore?: Instant | null; removed?: boolean }): Promise<boolean>;
  /** The deployment already has an open rollout → "rollout_open" and nothing is written. */
  insertRollout(rollout: NewRollout): Promise<"inserted" | "rollout_open">;
  casRollout(id: RolloutId, expectedVersion: number, patch: RolloutPatch): Promise<boolean>;
  /** The old placement already has an open move → "move_open" and nothing is written. */
  insertMove(move: NewMove): Promise<"inserted" | "move_open">;
  /** An open move only. False also where the slot is another move's: the fleet's limit holds whoever begins at the same moment. */
  casMove(id: MoveId, expectedVersion: number, patch: MovePatch): Promise<boolean>;
  /** The host already has an open drain → "drain_open" and nothing is written. */
  insertDrain(drain: NewDrain): Promise<"inserted" | "drain_open">;
  /** An open drain only. */
  casDrain(id: DrainId, expectedVersion: number, patch: DrainPatch): Promise<boolean>;
  /** The placement already has an open row → "operation_in_progress" and nothing is written. */
  insertLifecycle(row: NewLifecycleRow): Promise<"inserted" | "operation_in_progress">;
  /** Locks and reads rows by id, in id order, so that two batches cannot deadlock. */
  lockLifecycle(ids: readonly string[]): Promise<readonly LifecycleRow[]>;
  /** Applies a change where the version still is the expected one and the row is open. Returns the row as it now is. */
  casLifecycle(change: RowChange): Promise<LifecycleRow | undefined>;
  /** Records that a cancel is wanted; keeps the first reason. */
  requestCancel(id: JobId, expectedVersion: number, reason: NonNullable<RowChange["cancelReason"]>): Promise<LifecycleRow | undefined>;

  /** Results in the order of the beats; a host may come twice, its beats are then written in that order. */
  writeBeats(beats: readonly BeatWrite[]): Promise<readonly BeatResult[]>;
  /** What these hosts' placements were last observed as, before a batch changes it: to see which deployments it touches. */
  placementStates(hostIds: readonly HostId[]): Promise<readonly { readonly placementId: PlacementId; readonly deploymentId: DeploymentId; readonly hostId: HostId; readonly state: ObservedState | undefined; readonly generation: number | undefined }[]>;
  /** What these hosts' boots were last reported as, before a batch changes it: only news is an event. Hosts without a report are left out. */
  bootReports(hostIds: readonly HostId[]): Promise<ReadonlyMap<HostId, BootReport>>;
  /** Open rows of these hosts, oldest first. */
  openRowsOf(hostIds: readonly HostId[]): Promise<readonly LifecycleRow[]>;
  /** The one open row of that deployment's name and operation on the host, for deltas without an id. */
  findOpenByName(hostId: HostId, deployment: string, operation: Operation): Promise<readonly LifecycleRow[]>;
  /**
   * What jobs said of their progress. Of running rows only, and only where it moved; no new version, because nothing that
   * was decided on a row becomes wrong by it. A row that somebody holds locked is left out: the next beat says it again.
   */
  noteProgress(notes: readonly ProgressNote[]): Promise<void>;
  /** Marks pending rows as sent (rulings 6): before they are pushed or offered. Rows that are no longer pending are left out. */
  markSent(ids: readonly JobId[]): Promise<readonly LifecycleRow[]>;

  appendEvent(event: NewEvent): Promise<void>;
  appendAudit(entry: AuditEntry): Promise<void>;
  claimIdempotency(key: IdempotencyKey): Promise<IdempotencyOutcome>;
  completeIdempotency(key: IdempotencyKey, status: number, body: unknown): Promise<void>;
  insertApiToken(token: Omit<ApiToken, "createdAt" | "revokedAt">): Promise<void>;
  revokeApiToken(id: TokenId): Promise<boolean>;

  /** Version 0 = there is none yet. Whoever moves it makes the alerts; every other master's look is void. */
  casAlertCursor(expectedVersion: number, cursor: EventCursor): Promise<boolean>;
  /**
   * Locks and reads, in id order: firing alerts of these subjects, alerts of these keys that fire or moved since `since`,
   * and with `due` those whose notice is due, at most that many.
   */
  lockAlerts(touch: AlertTouch, since: Instant, due: number): Promise<readonly AlertRecord[]>;
  lockAlert(id: AlertId): Promise<AlertRecord | undefined>;
  insertAlerts(alerts: readonly NewAlert[]): Promise<void>;
  /** Writes the alert's progress where its version still is the record's. */
  casAlert(alert: AlertRecord): Promise<boolean>;
  insertWebhook(webhook: Pick<WebhookRecord, "id" | "name" | "url" | "filter"> & { readonly secret: string }): Promise<"inserted" | "webhook_exists">;
  casWebhook(id: WebhookId, expectedVersion: number, patch: { readonly url?: string; readonly filter?: WebhookFilter; readonly enabled?: boolean }): Promise<boolean>;
  /** With its deliveries. */
  deleteWebhook(id: WebhookId): Promise<boolean>;
  /** In this order. */
  insertWebhookDeliveries(deliveries: readonly Pick<WebhookDelivery, "id" | "webhookId" | "alertId" | "body">[]): Promise<void>;
  /** Gives the claim back. `retryMs` from now; `attempt` where counting starts over. */
  casWebhookDelivery(id: WebhookDeliveryId, expectedVersion: number, patch: { readonly status: WebhookDeliveryStatus; readonly retryMs?: number; readonly attempt?: number; readonly lastStatus?: number | null; readonly lastError?: string | null }): Promise<boolean>;
  /** Deletes dead deliveries that are too old or too many of one webhook, a bounded number at once, and says whose they were. */
  dropDeadLetters(limits: Pick<Retention, "deadLettersMs" | "deadLettersPerWebhook">): Promise<{ readonly dropped: readonly DroppedDeadLetters[]; readonly more: boolean }>;
}

/** What the dispatcher needs to deliver one row. */
export interface Delivery {
  readonly row: LifecycleRow;
  readonly host: HostRecord;
  readonly placement: PlacementRecord;
  /** The spec of the row's generation; undefined for a teardown whose generation has none. */
  readonly generation: GenerationRecord | undefined;
}

/** What it takes to send one delivery. The secret is for signing and goes nowhere else. */
export interface ClaimedWebhookDelivery {
  readonly delivery: WebhookDelivery;
  readonly webhook: WebhookRecord;
  readonly secret: string;
}

export interface SweepCase {
  readonly row: LifecycleRow;
  readonly host: HostRecord;
  readonly inventory: JobInventory | undefined;
}

export interface ReconcileCase {
  readonly placement: PlacementRecord;
  readonly deployment: DeploymentRecord;
  readonly hostName: string;
  readonly hostStatus: HostStatus;
  readonly observed: ObservedRecord | undefined;
  readonly lastRow: LifecycleRow | undefined;
  /** The deployment's newest. */
  readonly rollout: RolloutRecord | undefined;
}

/** Separate pools, so that a slow API query cannot starve heartbeats, nor a sweep either (faults F21). */
export type StorePool = "api" | "beats" | "background";

/** One pool at this instant; asks nobody. */
export interface PoolUse {
  /** Open connections, idle ones included. */
  readonly open: number;
  readonly idle: number;
  /** Callers that wait for a connection. */
  readonly waiting: number;
  readonly max: number;
}

export interface Store extends Reads {
  /** All zeros where there are no pools. */
  poolUse(): Readonly<Record<StorePool, PoolUse>>;
  /** Runs `work` in one transaction: all of it or nothing. Retries nothing by itself. */
  transaction<T>(work: (tx: Tx) => Promise<T>, options?: { readonly pool?: StorePool }): Promise<T>;
  /**
   * Claims due pending rows of hosts that could take them and marks them sent, in one statement with SKIP LOCKED.
   * A claim that is not given back expires after `claimMs`.
   */
  claimDispatchable(limit: number, claimMs: number): Promise<readonly Delivery[]>;
  /**
   * Claims hosts whose probe is due, the longest waiting first, with SKIP LOCKED: hosts that have a certificate and an
   * address to call. A claim is nothing else than the next time: one period after the last, ±10 %. What is overdue by half
   * a period or more (nobody probed for a while) is not claimed but spread over the next period, so that no standstill
   * ends in a burst.
   */
  claimProbes(lane: ProbeLane, limit: number, everyMs: number): Promise<readonly HostRecord[]>;
  /** The full material for rows already marked sent. */
  deliveriesFor(ids: readonly JobId[]): Promise<readonly Delivery[]>;
  /** Open rows after `after`, oldest first, with what is known of their hosts; one repeatable-read snapshot. */
  sweepCases(limit: number, after: string | undefined): Promise<{ readonly now: Instant; readonly cases: readonly SweepCase[] }>;
  /** Hosts whose silence might change their status, with the database's now. */
  silentHosts(olderThanMs: number, limit: number): Promise<{ readonly now: Instant; readonly hosts: readonly HostView[] }>;
  /**
   * Placements without an open row whose observation differs from what is desired, or was told to differ while nobody
   * repairs it; those that are due for a look, or with `all` those that are not as well.
   */
  reconcileCases(limit: number, after: string | undefined, options?: { readonly all?: boolean }): Promise<{ readonly now: Instant; readonly cases: readonly ReconcileCase[] }>;
  /**
   * Claims due deliveries of enabled webhooks and counts the attempt, with SKIP LOCKED; at most `perWebhook` of one are
   * under way (two masters that claim in the same instant may go past it once). A delivery waits while an earlier one of
   * its alert to the same receiver is pending: nobody hears of the end before the beginning. A claim expires after `claimMs`.
   */
  claimWebhookDeliveries(limit: number, perWebhook: number, claimMs: number): Promise<readonly ClaimedWebhookDelivery[]>;
  /**
   * Deletes what ended longer ago than its limit, a bounded number at once; `more`: there may be more. Dead deliveries stay,
   * and what is still read: a deployment's newest rollout, one whose generation a placement has, a host's last drain and its moves.
   */
  retain(limits: Pick<Retention, "eventsMs" | "idempotencyMs" | "alertsMs" | "historyMs">): Promise<Retained & { readonly more: boolean }>;
  /** Wakes `listener` when another session committed something on the topic. A signal: it carries no facts and may be lost. */
  onSignal(listener: (topic: SignalTopic) => void): () => void;
  close(): Promise<void>;
}

export const SIGNAL_TOPICS = ["lifecycle", "pins", "events", "rollouts", "moves"] as const;
export type SignalTopic = (typeof SIGNAL_TOPICS)[number];

export type { StepResult };
