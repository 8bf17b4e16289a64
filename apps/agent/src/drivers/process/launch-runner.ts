/**
 * Starting a runner so that an agent killed at any instant leaves either a runner that can be found or nothing:
 * 1. spawn the runner, which waits on its stdin and exits if that closes;
 * 2. write the state file that names it (pid, start time, labels), fsynced;
 * 3. say go. Only now may it spawn the child.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DriverError } from "@skep/core";
import type { AbortSignalLike, Clock } from "@skep/core";
import { writeDurable } from "../../runner/durable-file.ts";
import { identify } from "../../runner/proc.ts";
import { STATE_FILE } from "../../runner/run-state.ts";
import type { LaunchOrder, LaunchResult, ProcessId, RunState } from "../../runner/run-state.ts";
import { asDriverError } from "../driver-errors.ts";
import type { ComponentDir } from "../component-dirs.ts";
import { signal as signalProcess } from "./end-processes.ts";

/** A small heap: a runner holds one log chunk and one state. Its cost is paid once per component. */
const NODE_FLAGS = ["--max-semi-space-size=1", "--max-old-space-size=32", "--no-warnings"];
const RUNNER_LOG = "runner.log";

const TIMED_OUT = Symbol("timed out");

export interface LaunchDeps {
  readonly runnerPath: string;
  readonly clock: Clock;
  /** How long a runner may take to say whether the child started. Too short kills starts on a busy host. */
  readonly launchTimeoutMs: number;
}

/**
 * Resolves once the child was spawned. Throws a `DriverError` when it was not; then the runner is gone, or going
 * with nothing spawned. `unknown_outcome` is the exception: the runner was killed late and the caller must clean up.
 */
export async function launchRunner(dir: ComponentDir, order: Omit<LaunchOrder, "state">, state: Omit<RunState, "runner">, signal: AbortSignalLike, deps: LaunchDeps): Promise<void> {
  const runner = spawnRunner(dir, deps.runnerPath);
  const failed = new Promise<Error>((resolve) => runner.once("error", resolve));
  const answer = firstLine(runner);
  runner.stdin?.on("error", () => {}); // a runner that died early is reported by its exit
  try {
    const id = runner.pid === undefined ? undefined : identify(runner.pid);
    if (id === undefined) throw new DriverError("start_failed", `the runner could not be started: ${runner.pid === undefined ? (await failed).message : runnerComplaint(dir)}`);
    const named: RunState = { ...state, runner: id };
    writeState(dir, named);
    if (signal.aborted) {
      writeState(dir, { ...named, state: "stopped", error: "its start was aborted" });
      throw new DriverError("aborted", "the start was aborted; nothing was started");
    }
    runner.stdin?.end(`${JSON.stringify({ ...order, state: named } satisfies LaunchOrder)}\n`);
    judge(await withTimeout(answer, deps), id, dir);
  } finally {
    runner.stdin?.destroy();
    runner.stdout?.destroy();
    runner.unref();
  }
}

function judge(line: string | undefined | typeof TIMED_OUT, runner: ProcessId, dir: ComponentDir): void {
  if (line === TIMED_OUT) {
    signalProcess(runner, "SIGKILL");
    throw new DriverError("unknown_outcome", "the runner did not say in time whether the program started");
  }
  if (line === undefined) throw new DriverError("unknown_outcome", `the runner ended before it started the program: ${runnerComplaint(dir)}`);
  const result = JSON.parse(line) as LaunchResult;
  if (!result.ok) throw new DriverError(result.code, result.message);
}

async function withTimeout(answer: Promise<string | undefined>, { clock, launchTimeoutMs }: LaunchDeps): Promise<string | undefined | typeof TIMED_OUT> {
  const over = new AbortController();
  const line = await Promise.race([answer, clock.sleep(launchTimeoutMs, over.signal).then((): typeof TIMED_OUT => TIMED_OUT)]);
  over.abort();
  return line;
}

function spawnRunner(dir: ComponentDir, runnerPath: string): ChildProcess {
  let log: number | undefined;
  try {
    log = openSync(join(dir.path, RUNNER_LOG), "w", 0o600);
    // Placement and component are there for people who read `ps`.
    return spawn(process.execPath, [...NODE_FLAGS, runnerPath, dir.placementId, dir.component], { cwd: dir.path, env: {}, detached: true, shell: false, stdio: ["pipe", "pipe", log] });
  } catch (error) {
    throw asDriverError(error, "start_failed", "the runner could not be started");
  } finally {
    if (log !== undefined) closeSync(log);
  }
}

/** Undefined when the runner closes its end without a word. */
function firstLine(runner: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = "";
    runner.stdout?.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      if (text.includes("\n")) resolve(text.slice(0, text.indexOf("\n")));
    }).on("close", () => resolve(undefined)).on("error", () => resolve(undefined));
  });
}

export function writeState(dir: ComponentDir, state: RunState): void {
  try {
    writeDurable(join(dir.path, STATE_FILE), JSON.stringify(state));
  } catch (error) {
    throw asDriverError(error, "start_failed", `the state of ${state.labels.component} cannot be written`);
  }
}

/** What the runner complained of: the error's own line where there is one, for a stack says little to an operator. */
function runnerComplaint(dir: ComponentDir): string {
  try {
    const text = readFileSync(join(dir.path, RUNNER_LOG), "utf8").trim();
    return JSON.stringify((/^\w*Error\b.*$/m.exec(text)?.[0] ?? text.slice(-300)).slice(0, 300));
  } catch {
    return "no output";
  }
}
