/**
 * A command beside a component: as the same user, with the component's environment, working directory and whatever
 * limits it inherited, in a process group of its own. Invariants: nothing of it outlives its end, an abort, the
 * component's stop or the agent (the next agent's first look ends what a killed one left); it is never taken for the
 * component itself; no shell ever sees the argv.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { resolve } from "node:path";
import { DriverError, type AbortSignalLike, type Clock, type ExecEnd, type ExecOutput, type ExecRequest } from "@skep/core";
import { EXEC_LABEL, scanExecs } from "../../runner/proc.ts";
import type { RunState } from "../../runner/run-state.ts";
import { asDriverError } from "../driver-errors.ts";
import { keyOf } from "../labels.ts";
import { checkProgram } from "./check-program.ts";
import { workDir } from "../component-dirs.ts";
import { KILL_PATIENCE_MS, type ProcessContext } from "./context.ts";
import { signal as signalProcess } from "./end-processes.ts";
import { buildEnvironment } from "../environment.ts";
import type { Look } from "./look.ts";

type Output = (chunk: ExecOutput) => Promise<void>;

/** The commands that run now, by component: stopping the component ends them first. */
export type RunningExecs = Map<string, Set<AbortController>>;

export async function execInComponent(context: ProcessContext, request: ExecRequest, output: Output, signal: AbortSignalLike): Promise<ExecEnd> {
  const dir = context.dirs.of(request.placementId, request.component);
  const state = runningState(await context.look(dir));
  if (state === undefined) throw new DriverError("component_not_running", `${request.component} does not run here`);
  const workingDir = state.spec.working_dir === undefined ? workDir(dir) : resolve(workDir(dir), state.spec.working_dir);
  const label = `${context.execOwner}.${Buffer.from(context.rng.bytes(8)).toString("hex")}`;
  const env: Readonly<Record<string, string>> = { ...buildEnvironment(state.labels, state.spec, state.ports, context.inheritedEnv), [EXEC_LABEL]: label };
  await checkProgram(request.command[0] ?? "", workingDir, env["PATH"] ?? "");
  if (signal.aborted) throw new DriverError("aborted", "it was called off before it began");

  const stopped = new AbortController();
  const mine = context.execs.get(keyOf(dir)) ?? new Set();
  context.execs.set(keyOf(dir), mine.add(stopped));
  try {
    const end = await runCommand(request, { workingDir, env, label, clock: context.clock, drainMs: context.timings.drainMs }, output, [signal, stopped.signal]);
    if (stopped.signal.aborted && !signal.aborted) throw new DriverError("component_not_running", `${request.component} was stopped while the command ran; the command was killed`);
    return end;
  } finally {
    mine.delete(stopped);
    if (mine.size === 0) context.execs.delete(keyOf(dir));
  }
}

function runningState(look: Look): RunState | undefined {
  if (look.kind !== "supervised" && look.kind !== "hung") return undefined;
  const { state, child } = look.state;
  return child !== null && (state === "starting" || state === "running" || state === "unhealthy") ? look.state : undefined;
}

interface Surroundings {
  readonly workingDir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly label: string;
  readonly clock: Clock;
  /** How long to read on, without a byte, when something that got away from us holds the output open. */
  readonly drainMs: number;
}

async function runCommand({ command, stdin }: ExecRequest, around: Surroundings, output: Output, signals: readonly AbortSignalLike[]): Promise<ExecEnd> {
  const [program = "", ...args] = command;
  const child = spawnOrExplain(program, args, around, stdin !== undefined);
  const exited = new Promise<ExecEnd>((done, failed) => {
    child.once("error", (error) => failed(asDriverError(error, "start_failed", `the program ${JSON.stringify(program)} could not be started`)));
    child.once("exit", (code, signal) => done({ exitCode: code ?? undefined, ...(signal === null ? {} : { signal }) }));
  });
  exited.catch(() => undefined);
  const kill = (): void => killGroup(child.pid);
  for (const signal of signals) signal.addEventListener("abort", kill, { once: true });
  if (signals.some((signal) => signal.aborted)) kill();
  const reading = readAll(child, output, around.clock);
  try {
    // A program that reads nothing closes its end: that is its right.
    child.stdin?.on("error", () => undefined);
    if (stdin !== undefined) child.stdin?.end(Buffer.from(stdin));
    const end = await exited;
    kill();
    await endExecs(around.label, around.clock);
    await reading.finish(around.drainMs);
    return end;
  } finally {
    for (const signal of signals) signal.removeEventListener("abort", kill);
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
}

function spawnOrExplain(program: string, args: readonly string[], { workingDir, env }: Surroundings, withStdin: boolean): ChildProcess {
  try {
    return spawn(program, args, { cwd: workingDir, env: { ...env }, stdio: [withStdin ? "pipe" : "ignore", "pipe", "pipe"], shell: false, detached: true });
  } catch (error) {
    throw asDriverError(error, "start_failed", `the program ${JSON.stringify(program)} could not be started`);
  }
}

interface Reading {
  /** Resolves when everything was handed on. Whoever still holds the output open escaped the kill: it is read until it pauses. */
  finish(quietMs: number): Promise<void>;
}

/** Reads on only when the last chunk was taken. */
function readAll({ stdout, stderr }: ChildProcess, output: Output, clock: Clock): Reading {
  let handing = 0;
  let lastMs = clock.mono();
  const pump = async (stream: ChildProcess["stdout"], name: ExecOutput["stream"]): Promise<void> => {
    if (stream === null) return;
    try {
      for await (const data of stream as AsyncIterable<Buffer>) {
        handing += 1;
        await output({ stream: name, data }).finally(() => (handing -= 1));
        lastMs = clock.mono();
      }
    } catch {
      // a reset by a killed child is its end, which its exit reports
    }
  };
  const pumps = Promise.all([pump(stdout, "stdout"), pump(stderr, "stderr")]).then(() => undefined);
  return {
    finish: async (quietMs) => {
      const over = new AbortController();
      lastMs = clock.mono();
      const quiet = async (): Promise<void> => {
        while (!over.signal.aborted && (handing > 0 || clock.mono() - lastMs < quietMs)) await clock.sleep(Math.max(5, quietMs / 4), over.signal);
      };
      await Promise.race([pumps, quiet()]);
      over.abort();
    },
  };
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // ESRCH: nothing of the group is left
  }
}

/** Kills every process that carries an exec label beginning with `label`: those that left their group too. */
export async function endExecs(label: string, clock: Clock): Promise<void> {
  const startMs = clock.mono();
  for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 2, 100)) {
    const living = scanExecs(label);
    if (living.length === 0 || clock.mono() - startMs >= KILL_PATIENCE_MS) return;
    for (const found of living) signalProcess(found, "SIGKILL");
    await clock.sleep(pauseMs);
  }
}
