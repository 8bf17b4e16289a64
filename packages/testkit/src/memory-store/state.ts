/** The tables of the ledger in memory, and what every statement needs besides them. */
import type {
  AlertRecord, ApiToken, AuditRecord, DeploymentRecord, DrainRecord, EnrolmentToken, EventRecord, GenerationRecord, HostCert, HostLiveness, HostRecord, HostReport, Instant,
  LifecycleRow, MoveRecord, ObservedRecord, PlacementRecord, Policy, Reachability, RingBeat, RolloutRecord, SignalTopic, WebhookDelivery, WebhookRecord,
} from "@skep/core";
import { Table } from "./table.ts";

export interface StoredLiveness extends HostLiveness {
  /** The newest full beat: it said the whole snapshot, or said it again. */
  readonly snapshotAt: Instant | undefined;
  /** The newest full beat whose host could look: it renews every observation. */
  readonly observedAt: Instant | undefined;
}
export interface StoredReport extends HostReport {
  readonly snapshotHash: string;
}
export interface StoredRing {
  readonly beats: readonly RingBeat[];
}
export interface StoredIdempotency {
  readonly scope: string;
  readonly key: string;
  readonly bodyHash: string;
  readonly createdAt: Instant;
  readonly reply: { readonly status: number; readonly body: unknown } | undefined;
}
export interface StoredEvent {
  readonly xid: number;
  readonly id: number;
  readonly event: EventRecord;
}
export interface StoredAlertCursor {
  readonly cursor: EventRecord["cursor"];
  readonly version: number;
}
export interface StoredWebhook extends WebhookRecord {
  readonly secret: string;
}
export interface Counter {
  readonly value: number;
}

const TABLES = [
  "hosts", "reachability", "liveness", "reports", "rings", "certs", "tokens", "deployments", "generations", "placements", "observed", "rollouts", "moves", "drains", "lifecycle", "events",
  "audit", "idempotency", "apiTokens", "counters", "alertCursor", "alerts", "webhooks", "webhookDeliveries",
] as const;

export interface State {
  readonly hosts: Table<HostRecord>;
  readonly reachability: Table<Reachability>;
  readonly liveness: Table<StoredLiveness>;
  readonly reports: Table<StoredReport>;
  readonly rings: Table<StoredRing>;
  readonly certs: Table<HostCert>;
  readonly tokens: Table<EnrolmentToken>;
  readonly deployments: Table<DeploymentRecord>;
  readonly generations: Table<GenerationRecord>;
  readonly placements: Table<PlacementRecord>;
  /** `observedAt` is when it last changed; the host's liveness says how fresh it is. */
  readonly observed: Table<ObservedRecord>;
  readonly rollouts: Table<RolloutRecord>;
  readonly moves: Table<MoveRecord>;
  readonly drains: Table<DrainRecord>;
  readonly lifecycle: Table<LifecycleRow>;
  readonly events: Table<StoredEvent>;
  readonly audit: Table<AuditRecord>;
  readonly idempotency: Table<StoredIdempotency>;
  readonly apiTokens: Table<ApiToken>;
  readonly counters: Table<Counter>;
  readonly alertCursor: Table<StoredAlertCursor>;
  readonly alerts: Table<AlertRecord>;
  readonly webhooks: Table<StoredWebhook>;
  readonly webhookDeliveries: Table<WebhookDelivery>;
}

const build = (make: (name: (typeof TABLES)[number]) => Table<never>): State =>
  Object.fromEntries(TABLES.map((name) => [name, make(name)])) as unknown as State;

export const emptyState = (): State => build(() => new Table<never>());
export const forkState = (base: State): State => build((name) => (base[name] as Table<never>).fork());
export function absorbState(base: State, fork: State): void {
  for (const name of TABLES) (base[name] as Table<never>).absorb(fork[name] as Table<never>);
}

/** What one statement works with. Inside a transaction `state` is its fork. */
export interface Context {
  readonly state: State;
  readonly policy: Policy;
  readonly lineage: string;
  /** The transaction's number; 0 outside of one. */
  readonly xid: number;
  /** Database time: inside a transaction that of its start, as PostgreSQL's now(). */
  now(): Instant;
  /** The database's clock at this instant, as its clock_timestamp(). */
  readClock(): Instant;
  /** Wakes listeners once, after the commit. */
  signal(topic: SignalTopic): void;
}

/** The synchronous form of an asynchronous port: every statement is one indivisible step. */
export type Sync<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => Promise<infer R> ? (...args: A) => R : never;
};

export function nextCount(state: State, name: string): number {
  const value = (state.counters.get(name)?.value ?? 0) + 1;
  state.counters.set(name, { value });
  return value;
}

/** A JSON column: what comes out is equal to what went in, and is not the same object. */
export const jsonCopy = <T>(value: T): T => (value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T));

/** The memory form of a constraint violation: a bug of the caller, never an expected outcome. */
export class ConstraintViolation extends Error {
  override readonly name = "ConstraintViolation";
}
export function check(holds: boolean, constraint: string): asserts holds {
  if (!holds) throw new ConstraintViolation(`constraint violated: ${constraint}`);
}

export const byId = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
export const afterPage = <T extends { readonly id: string }>(rows: T[], page: { readonly limit?: number | undefined; readonly after?: string | undefined }): T[] =>
  rows.sort(byId).filter((row) => page.after === undefined || row.id > page.after).slice(0, page.limit ?? rows.length);
