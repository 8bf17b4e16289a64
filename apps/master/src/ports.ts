/** What the master's control code needs of the world besides the store: agents to talk to, and itself described. */
import type { Clock, DispatchAnswer, HostRecord, Logger, Policy, Rng, Store, Timings, Tracer } from "@skep/core";
import type { AgentHealth, CancelReply, cancelRequest, DeployCommand, DryRunReply, ExecCommand, ExecFrame, JobView, MutateCommand, PendingJob } from "@skep/protocol";
import type { z } from "zod";

export interface Silent {
  readonly kind: "silent";
  /** Why nothing was learnt: transport error, refusal, time-out. For people and logs. */
  readonly because: string;
}

/**
 * Calls to one agent over mTLS: pinned, bounded in time (connect 5 s, total 15 s) and size, no redirects. No method
 * throws for what an agent or a network may do; a hostile answer is `silent` or `refused`.
 */
export interface AgentClient {
  /** The job's own traceparent goes as a header, too. */
  deliver(host: HostRecord, job: PendingJob): Promise<DispatchAnswer>;
  /** Throws SkepError: `host_unreachable`, or the agent's own refusal under its own code. */
  dryRun(host: HostRecord, command: DeployCommand | MutateCommand): Promise<DryRunReply>;
  job(host: HostRecord, jobId: string): Promise<{ readonly kind: "job"; readonly job: JobView } | { readonly kind: "unknown" } | Silent>;
  cancel(host: HostRecord, jobId: string, request: z.input<typeof cancelRequest>): Promise<{ readonly kind: "answer"; readonly reply: CancelReply } | Silent>;
  health(host: HostRecord): Promise<{ readonly ok: true; readonly ms: number; readonly health: AgentHealth } | { readonly ok: false; readonly ms: number; readonly error: string }>;
  /** Throws SkepError `host_unreachable` or `logs_not_found`. `offset` may be negative: from the end. */
  logs(host: HostRecord, placementId: string, component: string, offset: number, limit: number): Promise<{ readonly data: Uint8Array; readonly nextOffset: number }>;
  /**
   * Runs a command there and answers once it was taken. Throws SkepError: `host_unreachable`, `exec_outcome_unknown`
   * (it may have been taken), or the agent's own refusal. An abort ends the command; so does leaving the frames.
   */
  runCommand(host: HostRecord, placementId: string, component: string, command: ExecCommand, signal: AbortSignal): Promise<OpenExec>;
  close(): Promise<void>;
}

export interface OpenExec {
  /** The last one is the end. Throws `exec_outcome_unknown` when there is none. */
  readonly frames: AsyncIterable<ExecFrame>;
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
