/** What the master's control code needs of the world besides the store: agents to talk to, and itself described. */
import type { CallSummary, CancelReason, CircuitView, Clock, DeltaResult, DispatchAnswer, FailureCode, HostId, HostRecord, LifecycleRow, Logger, Policy, Rng, SendOutcome, Store, Timings, Tracer } from "@skep/core";
import type { AgentHealth, CancelReply, cancelRequest, DeployCommand, DryRunReply, ExecCommand, ExecFrame, JobView, MutateCommand, PendingJob } from "@skep/protocol";
import type { z } from "zod";

export interface Silent {
  readonly kind: "silent";
  /** Why nothing was learnt: transport error, refusal, time-out. For people and logs. */
  readonly because: string;
}

/** The host was not asked: this master's circuit to it is open. An open circuit is no observation of the host. */
export interface Withheld {
  /** How long ago a call really failed, ms; undefined = nothing of this host has failed yet. */
  readonly failedAgoMs: number | undefined;
  readonly consecutiveFailures: number;
  /** It opened because whoever answers at the host's address is not the pinned host. */
  readonly stranger?: boolean;
}

export type HealthAnswer =
  | { readonly ok: true; readonly ms: number; readonly health: AgentHealth }
  | { readonly ok: false; readonly ms: number; readonly error: string; readonly withheld?: Withheld };

/**
 * Calls to one agent over mTLS: pinned, bounded in time (connect 5 s, total 15 s) and size, no redirects, each behind the
 * host's circuit breaker. No method throws for what an agent or a network may do, except where it says so; a hostile
 * answer is `silent` or `refused`. Those that throw throw `circuit_open` as well.
 */
export interface AgentClient {
  /** The job's own traceparent goes as a header, too. */
  deliver(host: HostRecord, job: PendingJob): Promise<DispatchAnswer>;
  /** Throws SkepError: `host_unreachable`, or the agent's own refusal under its own code. */
  dryRun(host: HostRecord, command: DeployCommand | MutateCommand): Promise<DryRunReply>;
  job(host: HostRecord, jobId: string): Promise<{ readonly kind: "job"; readonly job: JobView } | { readonly kind: "unknown" } | Silent>;
  cancel(host: HostRecord, jobId: string, request: z.input<typeof cancelRequest>): Promise<{ readonly kind: "answer"; readonly reply: CancelReply } | Silent>;
  /** An abort gives the question up: what comes back then says nothing of the host. */
  health(host: HostRecord, signal?: AbortSignal): Promise<HealthAnswer>;
  /**
   * The agent's metrics in Prometheus' text format, at most a mebibyte. Throws SkepError: `host_unreachable` when none
   * came or what came is not that format, `metrics_unsupported` when the agent is too old to have any.
   */
  metrics(host: HostRecord): Promise<string>;
  /** Throws SkepError `host_unreachable` or `logs_not_found`. `offset` may be negative: from the end. */
  logs(host: HostRecord, placementId: string, component: string, offset: number, limit: number): Promise<{ readonly data: Uint8Array; readonly nextOffset: number }>;
  /**
   * Runs a command there and answers once it was taken. Throws SkepError: `host_unreachable`, `exec_outcome_unknown`
   * (it may have been taken), or the agent's own refusal. An abort ends the command; so does leaving the frames.
   */
  runCommand(host: HostRecord, placementId: string, component: string, command: ExecCommand, signal: AbortSignal): Promise<OpenExec>;
  /** This master's breaker for the host. */
  circuit(host: HostRecord): CircuitView;
  /** Every host whose circuit may not be closed; a closed one may be among them. */
  openCircuits(): readonly HostId[];
  /** What this master's calls to the host came to over the last minutes. */
  calls(hostId: HostId): CallSummary;
  close(): Promise<void>;
}

export interface OpenExec {
  /** The last one is the end. Throws `exec_outcome_unknown` when there is none. */
  readonly frames: AsyncIterable<ExecFrame>;
}

export const DISPATCH_RESULTS = ["accepted", "put_off", "ended", "unrecorded"] as const;
export type DispatchResult = (typeof DISPATCH_RESULTS)[number];

/** Why the sweep changed a row: taken from the agent's answer, lost, failed for a reason, or a cancel was confirmed. */
export type SweepReason = "adopted" | "lost" | FailureCode | CancelReason;

/** Told of what was done, after it is committed; decides nothing and must not throw. */
export interface ControlObserver {
  onDelta(result: DeltaResult): void;
  onDispatch(result: DispatchResult): void;
  onProbe(answer: HealthAnswer): void;
  onSweepRow(reason: SweepReason): void;
  onSweep(ms: number): void;
  /** Also of rows that end outside of the control: a decommission's. */
  onRowEnded(row: Pick<LifecycleRow, "operation" | "status">): void;
}

/** Sends one signed delivery. Never throws: what became of it is the answer, which holds nothing the receiver wrote. */
export interface WebhookSender {
  send(message: { readonly url: string; readonly secret: string; readonly deliveryId: string; readonly body: string }): Promise<SendOutcome>;
}

export interface ControlDeps {
  readonly store: Store;
  readonly agents: AgentClient;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Default: none; a trace that comes in is carried on. */
  readonly tracer?: Tracer | undefined;
  readonly policy: Policy;
  readonly timings: Timings;
  /** SHA-256 hex of canonical JSON; handed in so that the simulator needs no crypto. */
  readonly hash: (value: unknown) => string;
  /** Named instants at which a test may stop the process: `SKEP_FAILPOINT`. Does nothing in production. */
  readonly failpoint: (name: Failpoint) => void;
  readonly observe?: Omit<ControlObserver, "onRowEnded"> | undefined;
}

export const FAILPOINTS = ["before_commit", "after_commit", "after_claim", "before_push", "after_push", "before_record", "before_beat_commit", "after_beat_commit"] as const;
export type Failpoint = (typeof FAILPOINTS)[number];

/** Who asks, and under which key. */
export interface OperatorContext {
  /** `token:<id>`; what the audit log shows. */
  readonly actor: string;
  readonly requestId: string;
  /** The request's own span: rows that it opens belong to its trace. */
  readonly traceparent?: string | undefined;
  /** Scope is token + route (rulings 14); absent when the caller sent no Idempotency-Key. */
  readonly idempotency: { readonly scope: string; readonly key: string; readonly bodyHash: string } | undefined;
}

/** An answer that may be the stored answer of an earlier identical request. */
export interface Reply<T> {
  readonly status: number;
  readonly body: T;
  readonly replayed: boolean;
}
