/**
 * How an agent runs things: five verbs and one look. Each verb is one step, idempotent, and bounded by its signal;
 * sequencing, retries and what a failure means are the job engine's business, never a driver's.
 */
import type { AbortSignalLike } from "../ports/clock.ts";
import type { ComponentSpec, Spec } from "../spec/spec.ts";

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
  /** What differs from what was started, changed behind the agent's back: one phrase each (B10). Absent or empty = nothing. */
  readonly drift?: readonly string[] | undefined;
}

/** Said by a verb whenever real work moved on: bytes arrived, a state changed. Never by a timer (G2). */
export type Progress = () => void;

/** Whose shared things a driver makes: networks, volumes. */
export type PlacementLabels = Pick<WorkloadLabels, "placementId" | "deployment" | "jobId" | "generation" | "epoch">;

/** Things that belong to a whole placement and not to one component. Only drivers that have such things have this. */
export interface SharedThings {
  /** Idempotent: what is there already is kept. */
  ensure(labels: PlacementLabels, spec: Spec, signal: AbortSignalLike): Promise<void>;
  /**
   * Removes the placement's networks that `spec` does not name, once nothing of it uses them any more. Volumes are kept:
   * what holds data is never removed because somebody left it out.
   */
  prune(placementId: string, spec: Spec, signal: AbortSignalLike): Promise<void>;
  /** Removes what carries the placement's label: networks, and volumes if asked. Absent things are fine. */
  remove(placementId: string, options: { readonly volumes: boolean }, signal: AbortSignalLike): Promise<void>;
}

export interface ExecRequest {
  readonly placementId: string;
  readonly component: string;
  readonly command: readonly string[];
  readonly stdin?: Uint8Array | undefined;
}
export interface ExecOutput {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
}
export interface ExecEnd {
  readonly exitCode: number | undefined;
  readonly signal?: string | undefined;
}

export interface Driver {
  readonly name: string;
  /** Everything that can fail without an effect a user could notice: binaries found, directories made, ports free. */
  prepare(labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike, progress?: Progress): Promise<void>;
  /** Starts it under `labels`. Starting what already runs under the same labels changes nothing. */
  start(labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike, progress?: Progress): Promise<void>;
  /**
   * Resolves once it is running and its probe has passed; rejects with a `DriverError` when it can no longer
   * get there or the signal aborts.
   */
  wait(labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike, progress?: Progress): Promise<void>;
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
  readonly shared?: SharedThings | undefined;
  /**
   * From now on what died by itself is started again by its restart policy. Before, nothing is: a rebooted host comes
   * up in the order of its boot sequence. Drivers whose runtime restarts by itself have none.
   */
  release?(): void;
  /** Whether its runtime answered when it was last asked, and the host may be offered for it. Absent = it needs none. */
  available?(): boolean;
  /** Whether old and new of one component can run at once, which start_first needs. */
  readonly overlaps?: boolean | undefined;
  /**
   * Runs a command in a running component. Resolves at its end, after the last `output`; an abort kills it, descendants
   * included, and resolves with what ended it. While `output` has not resolved no more is read: that is the back-pressure.
   * Rejects with a `DriverError` when it did not run: `component_not_running`, `program_not_found`, `not_executable`, ….
   */
  exec?(request: ExecRequest, output: (chunk: ExecOutput) => Promise<void>, signal: AbortSignalLike): Promise<ExecEnd>;
}

export interface LogChunk {
  readonly data: Uint8Array;
  /** Offset of the byte after `data`; give it back to go on reading. Counts from the first byte ever written. */
  readonly nextOffset: number;
}

/**
 * The runtime could not be asked: not reachable, or no answer in time. Nothing is known then, so nothing is judged: the
 * job waits for the runtime and tries the step again, which every verb's idempotence makes safe.
 */
export const RUNTIME_UNAVAILABLE = "runtime_unavailable";

export class DriverError extends Error {
  override readonly name = "DriverError";
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
