/** The executor's face: what the routes, the reporter and the simulator see of it. */
import type { AgentPhase, CancelReason, Clock, DeltaResult, Driver, JobStatus, Logger, ObservedComponent, Operation, Policy, ReportedPlacement, Rng, Tracer } from "@skep/core";
import type { AcceptedReply, CancelReply, Delta, DryRunReply, JobView, PendingJob } from "@skep/protocol";
import type { AllowanceDeps } from "./check-allowances.ts";
import type { LedgerDeps } from "../journal/ledger.ts";
import type { Floor, JournalStore, PlacementEntry } from "../journal/records.ts";

/** All I/O of the executor is behind these: it runs unchanged in the simulator. */
export interface ExecutorDeps extends AllowanceDeps {
  readonly journal: JournalStore;
  readonly drivers: readonly Driver[];
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Default: none; a trace that comes with a job is carried on. */
  readonly tracer?: Tracer | undefined;
  readonly policy: Policy;
  /** Random per agent process (rulings 2). */
  readonly bootId: string;
  /** SHA-256 of the canonical JSON of a value, lower-case hex. */
  readonly hash: (value: object) => string;
  /** Jobs at once for each driver, one per placement. Default 2. Fewer: slow fleets; more: a small host is swamped. */
  readonly maxConcurrentJobs?: number | undefined;
  /** Called at named points, for the tests that kill the process there. */
  readonly failpoint?: ((name: string) => void) | undefined;
  readonly onJobEnded?: LedgerDeps["onEnded"];
}

export interface Outbox {
  readonly size: number;
  /** RFC 3339, of the job that ended first and is not acknowledged; undefined = there is none. */
  readonly oldestEndedAt: string | undefined;
}

export interface InventoryItem {
  readonly job_id: string;
  readonly operation: Operation;
  readonly status: JobStatus;
  readonly started_at?: string;
  readonly progress?: number;
  readonly phase?: string;
}

export interface Inventory {
  /** Every journal entry not yet acknowledged; null = not known yet (booting). */
  readonly jobs: readonly InventoryItem[] | null;
  /** The journal counter up to which `jobs` is complete. */
  readonly op_seq: number;
}

export interface StatusSnapshot {
  readonly deployed: boolean;
  /** null = nothing could be observed, which is not the same as nothing; a placement that could not is `unknown`. */
  readonly placements: readonly ReportedPlacement[] | null;
  readonly observed_error?: string;
}

/** What `cancel` is told; every field but the reason only matters for a job that is not known (rulings 7). */
export interface CancelAsk {
  readonly reason: CancelReason;
  readonly placement_id?: string | undefined;
  readonly operation?: Operation | undefined;
  readonly generation?: number | undefined;
  readonly deployment?: string | undefined;
  readonly epoch?: number | undefined;
  readonly traceparent?: string | undefined;
}

export interface Executor {
  readonly bootId: string;
  /**
   * Reads the journal, settles what was begun by looking, queues what was not. Until it resolves everything but
   * `phase`, `snapshot` and `inventory` is refused with agent_booting. Retries looking until a driver can look;
   * rejects only when the journal itself cannot be read. Then what is known can be asked about, reported, acknowledged
   * and cancelled; no job is taken and none runs before `open`.
   */
  load(): Promise<void>;
  /** The boot is over: jobs are taken and run. Only after `load`. */
  open(): void;
  /** What runs (or is stopped) here by the last jobs that succeeded. */
  applied(): readonly PlacementEntry[];
  phase(): AgentPhase;
  /**
   * Takes a job; resolves once it is durable. Known jobs are answered as they stand. SkepError otherwise:
   * agent_booting, agent_draining, session_stale, stale_*, generation_conflict, no_active_deployment, busy,
   * spec_hash_mismatch, spec_refused, unknown_component, disk_full.
   */
  admit(command: PendingJob): Promise<AcceptedReply>;
  /** The plan, and no trace of having made it. */
  dryRun(command: PendingJob): Promise<DryRunReply>;
  /** Stops a job for certain, or says what it has come to. An unknown one is sealed by a durable tombstone first. */
  cancel(jobId: string, ask: CancelAsk): Promise<CancelReply>;
  /** Throws agent_booting while the journal is not loaded: "unknown" would be a lie then. */
  job(jobId: string): JobView | undefined;
  inventory(): Inventory;
  /** `limitMs`: how long a driver may take before its placements are called unknown. */
  snapshot(limitMs?: number): Promise<StatusSnapshot>;
  /** Unacknowledged deltas, oldest first. */
  deltas(limit: number): readonly Delta[];
  /** How much waits for an acknowledgement. */
  outbox(): Outbox;
  /** Any verdict means that the master is done with the delta. */
  ack(results: readonly { readonly delta_id: string; readonly result: DeltaResult }[]): Promise<void>;
  /** Durable before it resolves. */
  applyFloors(floors: readonly Floor[]): Promise<void>;
  setSession(epoch: number): void;
  /** For an offered job that was refused for ever: the master learns it as a failed job (`rejected:<code>`). */
  recordRefusal(command: PendingJob, code: string, detail: string): Promise<void>;
  /** A delta is waiting. A wake-up without facts. */
  onDelta(listener: () => void): void;
  /** What is observed may have changed. A wake-up without facts. */
  onChange(listener: () => void): void;
  /** No more jobs, workloads untouched; running jobs are left as they are for the next start to settle. */
  stop(): void;
  /** Stops every component that any driver runs. Only after `stop`. Returns what could not be stopped. */
  stopWorkloads(): Promise<readonly string[]>;
  logs(placementId: string, component: string, offset: number, limit: number): Promise<{ data: Uint8Array; nextOffset: number }>;
  /** For tests and the simulator: what the drivers see. */
  observe(): Promise<readonly ObservedComponent[]>;
}
