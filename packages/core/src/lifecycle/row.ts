/** A lifecycle row: the master's record of one attempt at one operation on one placement. */
import type { DeploymentId, HostId, JobId, PlacementId } from "../ids.ts";
import type { Instant } from "../time.ts";
import type { FailureCode, LifecyclePhase, LifecycleStatus, Operation } from "./states.ts";

export interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  readonly error?: string | undefined;
  readonly ms: number;
}

export const CANCEL_REASONS = ["operator", "timeout", "absent", "dispatch_deadline", "rollout"] as const;
/** Why the master wants a job stopped; decides what a confirmed cancel is called in the ledger. */
export type CancelReason = (typeof CANCEL_REASONS)[number];

/** What an operation says beyond its spec. */
export interface RowOptions {
  /** mutate: only these components may be touched (B13). */
  readonly components?: readonly string[] | undefined;
  /** teardown: named volumes go too. */
  readonly removeVolumes?: boolean | undefined;
}

export interface LifecycleRow {
  readonly id: JobId;
  readonly placementId: PlacementId;
  readonly deploymentId: DeploymentId;
  readonly deployment: string;
  readonly hostId: HostId;
  readonly operation: Operation;
  readonly status: LifecycleStatus;
  readonly phase: LifecyclePhase;
  readonly generation: number;
  /** For `mutate`: the generation the change was computed from. */
  readonly baseGeneration: number | undefined;
  readonly epoch: number;
  readonly timeoutS: number;
  readonly dispatchDeadline: Instant;
  readonly dispatchAttempts: number;
  readonly nextDispatchAt: Instant;
  readonly claimExpiresAt: Instant | undefined;
  /** When it was first given to the agent, in either way. Set before the giving (rulings 6). */
  readonly sentAt: Instant | undefined;
  /** The agent's journal counter at its acceptance: an older inventory says nothing about this row. */
  readonly acceptedOpSeq: number | undefined;
  /** The agent process that accepted it. */
  readonly acceptedBootId: string | undefined;
  readonly cancelRequestedAt: Instant | undefined;
  readonly cancelReason: CancelReason | undefined;
  readonly failureCode: FailureCode | undefined;
  readonly error: string | undefined;
  /** Why the row is as it is, in words: the last decision's reason. */
  readonly because: string | undefined;
  readonly steps: readonly StepResult[];
  readonly retryOf: JobId | undefined;
  readonly options: RowOptions;
  /** The agent's counter of real progress, and when it last moved: deadlines run from there (G2). */
  readonly progress: number | undefined;
  readonly progressAt: Instant | undefined;
  /** What the job was last said to be doing: pull, create, healthy, … */
  readonly jobPhase: string | undefined;
  /** The span that opened the row: what is done for it later, by whichever process, belongs to that trace. */
  readonly traceparent: string | undefined;
  readonly createdAt: Instant;
  readonly runningAt: Instant | undefined;
  readonly updatedAt: Instant;
  readonly completedAt: Instant | undefined;
  /** The agent's own clock at the end; display only (defect 4-24). */
  readonly agentCompletedAt: Instant | undefined;
  /** Compare-and-set integer; +1 on every write. */
  readonly version: number;
}

/** The change a decision asks for: applied only where `version` is still the one decided on. */
export interface RowChange {
  readonly id: JobId;
  readonly expectedVersion: number;
  readonly status?: LifecycleStatus;
  readonly phase?: LifecyclePhase;
  readonly failureCode?: FailureCode;
  readonly error?: string;
  readonly because: string;
  readonly steps?: readonly StepResult[];
  readonly acceptedOpSeq?: number;
  readonly acceptedBootId?: string;
  readonly nextDispatchAt?: Instant;
  /** Gives the dispatch claim back. */
  readonly releaseClaim?: boolean;
  readonly cancelReason?: CancelReason;
  readonly agentCompletedAt?: Instant;
  /** Sets `progressAt` to now as well. */
  readonly progress?: number;
  readonly jobPhase?: string;
}

export const DEFAULT_TIMEOUT_S: Readonly<Record<Operation, number>> = { deploy: 600, mutate: 600, teardown: 300 };
export const DISPATCH_DEADLINE_MS = 600_000;
/** Longest an open row may go without any sign before it is called lost (the origin's number). */
export const SILENCE_CAP_MS = 3_600_000;
/** How long a confirmed cancel is awaited after a timeout before the row may be called lost. */
export const CANCEL_GRACE_MS = 30_000;
