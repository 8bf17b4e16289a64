/**
 * The child process and its group. Invariants: no shell ever sees the argv; the group is one of its own, so a signal
 * reaches grandchildren and nobody else; a component has ended when its group is gone, not when its first process is.
 */
import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import type { Clock } from "@skep/core";
import { groupAlive, identify } from "./proc.ts";
import type { ExitRecord, LaunchOrder, ProcessId } from "./run-state.ts";

export interface Child {
  readonly id: ProcessId;
  /** Resolves when the first process was reaped and its output read (or `drainMs` later). */
  readonly exited: Promise<ExitRecord>;
}

export class SpawnFailure extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Rejects with `SpawnFailure` when the program could not be executed; then nothing runs. */
export async function spawnChild(order: LaunchOrder, clock: Clock, output: (chunk: Uint8Array) => void): Promise<Child> {
  const [program = "", ...args] = order.state.spec.command;
  const child = spawnOrExplain(program, args, order);
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const exit = new Promise<ExitRecord>((resolve, reject) => {
    child.once("error", (error) => reject(explain(error, program, order.workingDir)));
    child.once("exit", (code, signal) => resolve({ ...(code === null ? {} : { code }), ...(signal === null ? {} : { signal }), at: clock.now() }));
  });
  const { pid } = child;
  if (pid === undefined) throw await exit.catch((failure: unknown) => failure); // without a pid `exit` only rejects
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", output);
    stream.on("error", () => {}); // a reset by a killed child is its end, which `exit` reports
  }
  const exited = exit.then(async (record) => {
    const done = new AbortController();
    await Promise.race([closed, clock.sleep(order.timings.drainMs, done.signal)]);
    done.abort();
    child.stdout.destroy();
    child.stderr.destroy();
    return record;
  });
  // A child too quick for its start time to be read is a zombie by now: start 0 matches no living process.
  return { id: identify(pid) ?? { pid, start: 0 }, exited };
}

function spawnOrExplain(program: string, args: readonly string[], order: LaunchOrder) {
  try {
    return spawn(program, args, { cwd: order.workingDir, env: { ...order.env }, stdio: ["ignore", "pipe", "pipe"], shell: false, detached: true });
  } catch (error) {
    throw explain(error as Error, program, order.workingDir);
  }
}

function explain(error: NodeJS.ErrnoException, program: string, workingDir: string): SpawnFailure {
  if (statSync(workingDir, { throwIfNoEntry: false })?.isDirectory() !== true) return new SpawnFailure("working_dir_missing", `the working directory ${workingDir} does not exist`);
  if (error.code === "ENOENT") return new SpawnFailure("program_not_found", `the program ${JSON.stringify(program)} was not found`);
  if (error.code === "EACCES") return new SpawnFailure("not_executable", `the program ${JSON.stringify(program)} may not be executed`);
  return new SpawnFailure("start_failed", `the program ${JSON.stringify(program)} could not be started: ${error.message}`);
}

/**
 * SIGTERM to the group, SIGKILL once `deadlineMs()` (monotonic) has passed; resolves when nothing of it lives. The
 * deadline is a function because a second, more impatient stop may move it forward.
 */
export async function endGroup(group: number, deadlineMs: () => number, clock: Clock): Promise<void> {
  if (!groupAlive(group)) return;
  signalGroup(group, "SIGTERM");
  // A stopped (SIGSTOP) process would sleep through its SIGTERM.
  signalGroup(group, "SIGCONT");
  for (let pauseMs = 5; groupAlive(group); pauseMs = Math.min(pauseMs * 1.5, 100)) {
    const leftMs = deadlineMs() - clock.mono();
    if (leftMs <= 0) signalGroup(group, "SIGKILL");
    await clock.sleep(leftMs > 0 ? Math.min(pauseMs, leftMs) : pauseMs);
  }
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // ESRCH: it went by itself
  }
}
