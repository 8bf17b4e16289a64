/** What the store's methods take and hand out beside the records themselves: queries and their pages, views, and what is written. */
import type { AlertState, WebhookDeliveryStatus } from "../alerts/record.ts";
import type { BootReport } from "../agent/boot.ts";
import type { PlacementFacts } from "../deploy/visible-state.ts";
import type { ReportedPlacement } from "../agent/observed.ts";
import type { AgentPhase } from "../agent/decide-admission.ts";
import type { DeploymentId, DrainId, HostId, JobId, PlacementId, WebhookId } from "../ids.ts";
import type { HostStatus } from "../liveness/decide-host.ts";
import type { LifecycleRow, RowOptions } from "../lifecycle/row.ts";
import type { LifecycleStatus, Operation } from "../lifecycle/states.ts";
import type { Reachability } from "../reachability/record.ts";
import type { Instant } from "../time.ts";
import type { DeploymentStatus, EventCursor, EventRecord, EventSeverity, HostLiveness, HostRecord, HostReport, ObservedRecord, PlacementRecord } from "./records.ts";

export interface Page {
  readonly limit: number;
  /** Resume after this id (ids sort by creation). */
  readonly after?: string | undefined;
}

export interface HostQuery extends Page {
  readonly status?: HostStatus | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Only of these. */
  readonly ids?: readonly HostId[] | undefined;
  /** Without tombstones. */
  readonly live?: boolean | undefined;
  /** By name instead of by id; `after` is then this pair's business. Tombstones may share a name, so the id decides among them. */
  readonly byName?: { readonly after?: { readonly name: string; readonly id: HostId } | undefined } | undefined;
}

/** What of a host's health the ledger does not know, and how many of those are wanted of which it knows nothing. */
export interface AttentionQuery extends Pick<HostQuery, "status" | "labels" | "live"> {
  /** The calm ones by name: at most so many, after this one. */
  readonly calm: { readonly limit: number; readonly after?: { readonly name: string; readonly id: HostId } | undefined };
  /** Silence beyond this is a reason. */
  readonly suspectAfterMs: number;
  /** The caller's own view: hosts whose circuit may not be closed. */
  readonly openCircuits: readonly HostId[];
}

export interface AttentionCandidates {
  readonly ids: readonly HostId[];
  /** There may be calm hosts after the last one named. */
  readonly cut: boolean;
}

export interface LifecycleQuery extends Page {
  readonly ids?: readonly string[] | undefined;
  readonly deployment?: string | undefined;
  readonly host?: string | undefined;
  readonly status?: LifecycleStatus | undefined;
  readonly open?: boolean | undefined;
  /** Newest first instead of oldest first. */
  readonly newestFirst?: boolean | undefined;
}

export interface RolloutQuery extends Page {
  readonly deploymentId?: DeploymentId | undefined;
  readonly open?: boolean | undefined;
  readonly newestFirst?: boolean | undefined;
}

export interface MoveQuery extends Page {
  readonly deploymentId?: DeploymentId | undefined;
  /** From it or to it. */
  readonly hostId?: HostId | undefined;
  readonly drainId?: DrainId | undefined;
  readonly open?: boolean | undefined;
  readonly newestFirst?: boolean | undefined;
}

export interface HostView {
  readonly host: HostRecord;
  /** Undefined for a decommissioned host: what was known of it went with it. */
  readonly reachability: Reachability | undefined;
  readonly liveness: HostLiveness | undefined;
  readonly report: HostReport | undefined;
}

export interface PlacementView {
  readonly placement: PlacementRecord;
  readonly hostName: string;
  readonly hostStatus: HostStatus;
  readonly observed: ObservedRecord | undefined;
  readonly openRow: LifecycleRow | undefined;
}

export interface HostPlacementFacts {
  readonly hostId: HostId;
  readonly facts: PlacementFacts;
}

export interface FleetCounts {
  readonly hosts: Readonly<Record<HostStatus, number>>;
  readonly openRows: Readonly<Record<"pending" | "running" | "lost", number>>;
  readonly deployments: Readonly<Record<DeploymentStatus, number>>;
}

export interface RingBeat {
  readonly receivedAt: Instant;
  readonly seq: number;
  readonly phase: AgentPhase | undefined;
  readonly changed: boolean;
}

export type EventPage =
  | { readonly kind: "page"; readonly events: readonly EventRecord[]; readonly next: EventCursor }
  /** Another database's cursor, or one older than what is kept. */
  | { readonly kind: "expired" };

export interface EventFilter {
  readonly hostId?: string | undefined;
  readonly deploymentId?: string | undefined;
  readonly kindPrefix?: string | undefined;
}

/** Newest first. */
export interface AlertQuery extends Page {
  readonly state?: AlertState | undefined;
  readonly severities?: readonly EventSeverity[] | undefined;
  readonly hostId?: string | undefined;
  readonly deploymentId?: string | undefined;
}

/** How far events have become alerts, and whether a notice that was put off is due. */
export interface AlertCursor {
  readonly cursor: EventCursor;
  readonly version: number;
  readonly noticeDue: boolean;
}

/** Newest first. */
export interface WebhookDeliveryQuery extends Page {
  readonly webhookId: WebhookId;
  readonly status?: WebhookDeliveryStatus | undefined;
}

export interface WebhookCounts {
  readonly pending: number;
  readonly dead: number;
}

export interface AuditQuery {
  readonly limit: number;
  /** Only entries older than this id. */
  readonly before?: string | undefined;
  readonly actionPrefix?: string | undefined;
  readonly actor?: string | undefined;
}

/** One accepted beat, already checked against its certificate. */
export interface BeatWrite {
  readonly hostId: HostId;
  readonly agentVersion: string;
  /** A full beat's registration facts; undefined for the seed's minimal form, which counts for liveness only. */
  readonly full?: {
    readonly bootId: string;
    /** Must be the host's open session; another one → `sessionStale` and nothing of this beat is written. */
    readonly sessionEpoch: number;
    readonly seq: number;
    readonly opSeq: number;
    readonly phase: AgentPhase;
    readonly jobIds: readonly string[] | undefined;
    readonly jobsTruncated: boolean;
    readonly placements: readonly ReportedPlacement[] | undefined;
    readonly observedError: string | undefined;
    readonly resources: Readonly<Record<string, number>> | undefined;
    readonly capabilities: readonly string[] | undefined;
    readonly cert: { readonly sha256: string; readonly notAfter: Instant } | undefined;
    readonly boot: BootReport | undefined;
    /** Hash of everything above but the counters: the same hash writes liveness only. */
    readonly snapshotHash: string;
  } | undefined;
}

export interface BeatResult {
  readonly hostId: HostId;
  /** The host's status before this beat; undefined = the host is gone or decommissioned and nothing was written. */
  readonly was: HostStatus | undefined;
  /** The beat named a session that is not the open one: nothing was written, the agent must register again. */
  readonly sessionStale: boolean;
  /** True when the snapshot was newer than the stored one and was taken. */
  readonly snapshotTaken: boolean;
  readonly changed: boolean;
}

export interface NewLifecycleRow {
  readonly id: JobId;
  readonly placementId: PlacementId;
  readonly deploymentId: DeploymentId;
  readonly hostId: HostId;
  readonly operation: Operation;
  readonly generation: number;
  readonly baseGeneration?: number | undefined;
  readonly epoch: number;
  readonly timeoutS: number;
  readonly retryOf?: JobId | undefined;
  readonly options?: RowOptions | undefined;
  readonly because: string;
  readonly traceparent?: string | undefined;
}

export interface ProgressNote {
  readonly id: JobId;
  readonly progress: number;
  readonly jobPhase: string | undefined;
}

/** A placement on a host's list that nobody placed there. */
export interface OrphanRecord {
  readonly hostId: HostId;
  readonly hostName: string;
  /** When the host first reported the list it still reports. */
  readonly reportedAt: Instant;
  readonly placement: ReportedPlacement;
}

export type IdempotencyOutcome =
  | { readonly kind: "claimed" }
  | { readonly kind: "replay"; readonly status: number; readonly body: unknown }
  | { readonly kind: "reused" }
  | { readonly kind: "in_progress" };

export interface IdempotencyKey {
  readonly scope: string;
  readonly key: string;
  readonly bodyHash: string;
}
