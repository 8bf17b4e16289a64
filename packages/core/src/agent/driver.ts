/**
 * How an agent runs things: five verbs and one look. Each verb is one step, idempotent, and bounded by its signal;
 * sequencing, retries and what a failure means are the job engine's business, never a driver's.
 */
import type { AbortSignalLike } from "../ports/clock.ts";
import type { ComponentSpec } from "../spec/spec.ts";

/** The labels every started thing carries, so that truth can be read from the runtime and not from memory. */
export interface WorkloadLabels {
  readonly placementId: string;
  readonly deployment: string;
  readonly component: string;
  readonly jobId: string;
  readonly generation: number;
  readonly epoch: number;
  /** SHA-256 of what was started; a new generation whose component hashes the same leaves it running. */
  readonly componentHash: string;
}

export const COMPONENT_STATES = ["starting", "running", "unhealthy", "backoff", "exited", "failed", "stopped"] as const;
/**
 * `starting` spawned, not yet healthy · `running` alive and its probe (if any) passes · `unhealthy` alive, probe
 * fails · `backoff` died, a restart is scheduled · `exited` ended with 0 and will not be restarted · `failed` ended
 * otherwise and will not be restarted · `stopped` stopped on request.
 */
export type ComponentState = (typeof COMPONENT_STATES)[number];

export interface ObservedComponent {
  readonly labels: WorkloadLabels;
  readonly state: ComponentState;
  readonly pid?: number | undefined;
  readonly restarts: number;
  readonly ports: Readonly<Record<string, number>>;
  /** Unix ms of the current state. */
  readonly since: number;
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  /** Why it is not running, in words for a person. */
  readonly error?: string | undefined;
}

export interface Driver {
  readonly name: string;
  /** Everything that can fail without an effect a user could notice: binaries found, directories made, ports free. */
  prepare(labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike): Promise<void>;
  /** Starts it under `labels`. Starting what already runs under the same labels changes nothing. */
  start(labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike): Promise<void>;
  /**
   * Resolves once it is running and its probe has passed; rejects with a `DriverError` when it can no longer
   * get there or the signal aborts.
   */
  wait(labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike): Promise<void>;
  /** Resolves when it has really stopped, process group included: SIGTERM, then SIGKILL after `stopTimeoutMs`. */
  stop(labels: WorkloadLabels, stopTimeoutMs: number): Promise<void>;
  /** Forgets a stopped one: sockets, state files, allocated ports. Logs are kept. */
  remove(labels: WorkloadLabels): Promise<void>;
  /** Everything this driver runs or remembers, adopted leftovers included. Rejects when it could not look. */
  observe(): Promise<readonly ObservedComponent[]>;
  /** The component's captured output from `offset` bytes (negative = from the end). */
  logs(placementId: string, component: string, offset: number, limit: number): Promise<LogChunk>;
  /** Called when one of its components changed state by itself. A wake-up: it carries no facts. */
  onChange(listener: () => void): void;
}

export interface LogChunk {
  readonly data: Uint8Array;
  /** Offset of the byte after `data`; give it back to go on reading. Counts from the first byte ever written. */
  readonly nextOffset: number;
}

export class DriverError extends Error {
  override readonly name = "DriverError";
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
