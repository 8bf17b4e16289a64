/** The ledger's records as values: what the store hands out and takes in. Field names are the columns', in camelCase. */
import type { BootReport } from "../agent/boot.ts";
import type { ObservedState, ReportedComponent, ReportedPlacement } from "../agent/observed.ts";
import type { AgentPhase } from "../agent/decide-admission.ts";
import type { CertStatus } from "../enrolment/decide-pin.ts";
import type { RolloutWish } from "../rollout/policy.ts";
import type { FailoverWish } from "../services/failover.ts";
import type { DeploymentId, Fingerprint, HostId, JobId, PlacementId, TokenId } from "../ids.ts";
import type { HostStatus } from "../liveness/decide-host.ts";
import type { Spec } from "../spec/spec.ts";
import type { Instant } from "../time.ts";

export interface HostRecord {
  readonly id: HostId;
  readonly name: string;
  readonly status: HostStatus;
  /** Why the status is what it is, in words. */
  readonly statusBecause: string | undefined;
  readonly schedulable: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly notes: string | undefined;
  /** Where the operator says the host is; the agent's own word at registration is `agentUrl`. */
  readonly address: string | undefined;
  readonly agentPort: number;
  readonly agentUrl: string | undefined;
  readonly allowedCidr: string | undefined;
  readonly agentVersion: string | undefined;
  readonly sessionEpoch: number;
  readonly sessionBootId: string | undefined;
  /** How often an operator has reset the masters' breakers for this host: a master that has seen fewer resets its own. */
  readonly breakerResets: number;
  /** The one-shot probe that liveness asks for when the host falls silent. What the prober sees is `Reachability`. */
  readonly lastProbe: { readonly at: Instant; readonly ok: boolean; readonly error?: string | undefined } | undefined;
  readonly createdAt: Instant;
  readonly enrolledAt: Instant | undefined;
  readonly decommissionedAt: Instant | undefined;
  readonly version: number;
}

export interface HostLiveness {
  readonly hostId: HostId;
  readonly lastHeartbeatAt: Instant;
  readonly bootId: string | undefined;
  readonly seq: number;
  readonly opSeq: number | undefined;
  readonly phase: AgentPhase | undefined;
  /** The newest beat in which it could look at its workloads: what it reports is true as of then. */
  readonly observedAt: Instant | undefined;
}

/** The last full snapshot of a host, as it stood in `sinceSeq` and in every beat since. */
export interface HostReport {
  readonly hostId: HostId;
  readonly bootId: string;
  readonly opSeq: number;
  readonly receivedAt: Instant;
  readonly sinceSeq: number;
  readonly jobIds: readonly string[] | undefined;
  readonly jobsTruncated: boolean;
  readonly resources: Readonly<Record<string, number>> | undefined;
  readonly capabilities: readonly string[];
  readonly observedError: string | undefined;
  readonly cert: { readonly sha256: string; readonly notAfter: Instant } | undefined;
  readonly boot: BootReport | undefined;
  /** Reported placements that nobody placed there: listed, never touched. */
  readonly orphans: readonly ReportedPlacement[];
}

export interface HostCert {
  readonly fingerprint: Fingerprint;
  readonly hostId: HostId;
  readonly spkiSha256: string;
  readonly status: CertStatus;
  readonly notBefore: Instant;
  readonly notAfter: Instant;
  readonly retireAt: Instant | undefined;
  readonly createdAt: Instant;
}

export interface EnrolmentToken {
  readonly id: TokenId;
  readonly hostId: HostId;
  readonly secretHash: string;
  readonly expiresAt: Instant;
  readonly attempts: number;
  readonly claimedAt: Instant | undefined;
  readonly claimedSpki: string | undefined;
  /** The certificate given for it, so that a lost reply can be repeated to the same key. */
  readonly certPem: string | undefined;
  readonly burned: boolean;
}

export const RECONCILE_MODES = ["auto", "report"] as const;
export type ReconcileMode = (typeof RECONCILE_MODES)[number];
export const DESIRED_STATES = ["running", "stopped", "absent"] as const;
export type DesiredState = (typeof DESIRED_STATES)[number];
export const DEPLOYMENT_STATUSES = [
  "pending", "deploying", "active", "degraded", "failed", "tearing_down", "torn_down", "teardown_failed",
] as const;
export type DeploymentStatus = (typeof DEPLOYMENT_STATUSES)[number];

export const STRATEGIES = ["spread", "ordered", "cheapest"] as const;
/** How hosts are chosen where none are pinned: the emptiest · the first of `hosts` that is eligible · the one of the least `cost_per_hour`. */
export type Strategy = (typeof STRATEGIES)[number];

/** Labels a host must have: the value, or any of a list. */
export type Constraints = Readonly<Record<string, string | readonly string[]>>;

/** What the operator asked of placement. `hosts` without `ordered` pins: exactly these; with it they are the order of preference. */
export interface PlacementRequest {
  readonly strategy?: Strategy | undefined;
  readonly hosts?: readonly string[] | undefined;
  readonly replicas?: number | undefined;
  readonly constraints?: Constraints | undefined;
}

export interface DeploymentRecord {
  readonly id: DeploymentId;
  readonly name: string;
  readonly generation: number;
  readonly desired: DesiredState;
  readonly reconcile: ReconcileMode;
  readonly placement: PlacementRequest;
  /** How carefully its changes go through its placements, where it says so. */
  readonly rollout: RolloutWish;
  /** Who answers its callers while it cannot. */
  readonly failover: FailoverWish;
  /** Derived from placements and open rows; stored so that lists need no join. */
  readonly status: DeploymentStatus;
  readonly lastError: string | undefined;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
  readonly deletedAt: Instant | undefined;
  readonly version: number;
}

export interface GenerationRecord {
  readonly deploymentId: DeploymentId;
  readonly generation: number;
  readonly spec: Spec;
  readonly specHash: string;
  readonly createdAt: Instant;
}

export interface PlacementRecord {
  readonly id: PlacementId;
  readonly deploymentId: DeploymentId;
  readonly deployment: string;
  readonly hostId: HostId;
  readonly desired: DesiredState;
  readonly epoch: number;
  /** The generation wanted here. */
  readonly generation: number;
  /** The generation of the last operation that succeeded; undefined = nothing of ours is applied. */
  readonly appliedGeneration: number | undefined;
  readonly reconcileAttempts: number;
  readonly reconcileNotBefore: Instant | undefined;
  readonly createdAt: Instant;
  /** Set when a teardown has ended: the row stays as history. */
  readonly removedAt: Instant | undefined;
  readonly version: number;
}

/** What a host reported of a placement: the only source of the word `running` (faults finding 1). */
export interface ObservedRecord {
  readonly placementId: PlacementId;
  readonly hostId: HostId;
  readonly state: ObservedState;
  readonly generation: number;
  readonly epoch: number;
  readonly specHash: string;
  readonly components: readonly ReportedComponent[];
  /** When its host last looked, and when it first saw what it still sees. */
  readonly observedAt: Instant;
  readonly changedAt: Instant;
}

export const ROLES = ["viewer", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];

export interface ApiToken {
  readonly id: TokenId;
  readonly name: string;
  readonly role: Role;
  readonly secretHash: string;
  readonly createdAt: Instant;
  readonly expiresAt: Instant;
  readonly revokedAt: Instant | undefined;
}

export const EVENT_SEVERITIES = ["info", "warning", "error"] as const;
export type EventSeverity = (typeof EVENT_SEVERITIES)[number];

/** An append-only fact. `kind` is `noun.verb`; ids point at what it is about. */
export interface NewEvent {
  readonly kind: string;
  readonly severity: EventSeverity;
  readonly message: string;
  readonly hostId?: HostId | undefined;
  readonly deploymentId?: DeploymentId | undefined;
  readonly placementId?: PlacementId | undefined;
  readonly lifecycleId?: JobId | undefined;
  readonly data?: Readonly<Record<string, unknown>> | undefined;
}

/** `<lineage>.<xid>.<id>`: a position that no later commit can slip in front of (rulings 21). */
export type EventCursor = string;

export interface EventRecord extends NewEvent {
  readonly cursor: EventCursor;
  readonly at: Instant;
  /** The host's name, joined when read: names never change. */
  readonly hostName: string | undefined;
}

export interface AuditEntry {
  /** `token:<id>` · `host:<id>` · `master`. */
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly outcome: "allowed" | "denied";
  readonly requestId?: string | undefined;
  /** Allow-listed facts only; never a secret, never a body. */
  readonly detail?: Readonly<Record<string, string | number | boolean>> | undefined;
}

export interface AuditRecord extends AuditEntry {
  /** Grows with every entry; a decimal number, too large for a double one day. */
  readonly id: string;
  readonly at: Instant;
}
