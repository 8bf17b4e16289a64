/**
 * What a runner and its driver tell each other: the state file, the launch order and the socket's lines.
 * Invariant: the state file names the runner (pid and start time) before the runner may spawn anything, so whoever
 * reads it later can decide whether a copy may be alive.
 */
import type { ComponentSpec, ComponentState, WorkloadLabels } from "@skep/core";

/** A process, beyond doubt: a pid alone is reused, a pid with its start time (clock ticks since boot) is not. */
export interface ProcessId {
  readonly pid: number;
  readonly start: number;
}

export interface ExitRecord {
  readonly code?: number | undefined;
  readonly signal?: string | undefined;
  /** Set instead of both when a restart could not even execute the program. */
  readonly notStarted?: string | undefined;
  /** Unix ms. */
  readonly at: number;
}

export const RUN_STATE_VERSION = 1;

export interface RunState {
  readonly version: typeof RUN_STATE_VERSION;
  /** Random per launch; names the socket, so that an old runner on its way out cannot unlink a new one's. */
  readonly runId: string;
  readonly hostBootId: string;
  readonly runner: ProcessId;
  /** The child's process id is also its group's. Null: not spawned yet, or gone. */
  readonly child: ProcessId | null;
  readonly labels: WorkloadLabels;
  readonly spec: ComponentSpec;
  readonly ports: Readonly<Record<string, number>>;
  readonly state: ComponentState;
  /** Unix ms since which `state` holds. */
  readonly since: number;
  /** Restarts by policy in this run. */
  readonly restarts: number;
  /** Spawns in this run, the first included. */
  readonly starts: number;
  readonly exit?: ExitRecord | undefined;
  readonly error?: string | undefined;
}

export interface RunTimings {
  /** A component without a probe is `running` after it lived this long. Too short: a crash at start looks like success; too long: every deploy waits. */
  readonly settleMs: number;
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  /** A run of this length forgives earlier crashes. */
  readonly resetAfterMs: number;
  /** How long to read on after the child's end when a grandchild keeps its output open. */
  readonly drainMs: number;
}

/** Logs kept per component: at most `segments` (2 or more) files of `segmentBytes`. */
export interface LogLimits {
  readonly segmentBytes: number;
  readonly segments: number;
}

/** One line on the runner's stdin: the order to go. Without its newline the agent died first, and nothing runs. */
export interface LaunchOrder {
  readonly state: RunState;
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  /** Relative to the runner's working directory, the component's own. */
  readonly socketName: string;
  readonly startsLog: string;
  readonly logs: LogLimits;
  readonly timings: RunTimings;
}

/** The runner's one line on stdout. */
export type LaunchResult = { readonly ok: true } | { readonly ok: false; readonly code: string; readonly message: string };

export type ControlRequest =
  | { readonly id: number; readonly op: "status" }
  | { readonly id: number; readonly op: "subscribe" }
  | { readonly id: number; readonly op: "stop"; readonly timeoutMs: number };

/** A reply carries the request's id; a line without one is a change of state sent to subscribers. */
export interface ControlMessage {
  readonly id?: number | undefined;
  readonly state: RunState;
}

export const STATE_FILE = "state.json";
export const LOG_DIR = "logs";

export const hasEnded = (state: RunState): boolean =>
  state.state === "exited" || state.state === "failed" || state.state === "stopped";

export const exitText = (exit: ExitRecord): string =>
  exit.notStarted ?? (exit.signal !== undefined ? `was killed by ${exit.signal}` : `exited with code ${exit.code ?? "unknown"}`);
