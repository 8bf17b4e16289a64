/**
 * Starting one component, at most once. The look decides whether something may still run; only when nothing can is a
 * runner launched.
 */
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DriverError } from "@skep/core";
import type { AbortSignalLike, ComponentSpec, WorkloadLabels } from "@skep/core";
import { syncDirectory } from "../../runner/durable-file.ts";
import { LOG_DIR, RUN_STATE_VERSION } from "../../runner/run-state.ts";
import type { RunState } from "../../runner/run-state.ts";
import { asDriverError } from "../driver-errors.ts";
import { keyOf, sameLabels, whose } from "../labels.ts";
import type { ComponentDir } from "../component-dirs.ts";
import { workDir } from "../component-dirs.ts";
import { KILL_PATIENCE_MS, mayRun, stateOf } from "./context.ts";
import type { ProcessContext } from "./context.ts";
import { endProcesses, signal as signalProcess } from "./end-processes.ts";
import { LEAVE_PATIENCE_MS, runnerGone } from "./runner-gone.ts";
import { buildEnvironment } from "../environment.ts";
import { ensureWorkingDir } from "./check-program.ts";
import { launchRunner, writeState } from "./launch-runner.ts";
import { socketNameOf } from "./links.ts";
import type { Look } from "./look.ts";

export async function startComponent(context: ProcessContext, labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike): Promise<void> {
  const dir = context.dirs.of(labels.placementId, labels.component);
  const look = await lookPastLaunch(context, dir);
  if (isSameRun(look, labels, context.hostBootId)) return;
  await clearTheWay(context, dir, look, labels);
  const ports = await context.ports.assign(labels, spec.ports);
  const startsLog = context.dirs.startsLog(labels.placementId);
  makeComponentDir(dir);
  const workingDir = await ensureWorkingDir(spec, workDir(dir));
  const runId = Buffer.from(context.rng.bytes(8)).toString("hex");
  const state: Omit<RunState, "runner"> = {
    version: RUN_STATE_VERSION, runId, hostBootId: context.hostBootId, child: null, labels, spec, ports,
    state: "starting", since: context.clock.now(), restarts: 0, starts: 0,
  };
  const env = buildEnvironment(labels, spec, ports, context.inheritedEnv);
  const order = { env, workingDir, socketName: socketNameOf(runId), startsLog, logs: context.logs, timings: context.timings };
  if (signal.aborted) throw new DriverError("aborted", "the start was aborted; nothing was started");
  try {
    await launchRunner(dir, order, state, signal, context);
  } catch (error) {
    if (!(error instanceof DriverError) || error.code !== "unknown_outcome") throw error;
    throw await cleanUp(context, dir, error.message);
  }
}

/**
 * A runner that an agent launched just before it died is either about to answer or about to leave with nothing
 * started. Taking it for running would let the job succeed on nothing.
 */
async function lookPastLaunch(context: ProcessContext, dir: ComponentDir): Promise<Look> {
  const startMs = context.clock.mono();
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 2, 100)) {
    const look = await context.look(dir);
    if (look.kind !== "hung" || look.state.starts > 0) return look;
    if (context.clock.mono() - startMs >= context.launchTimeoutMs) signalProcess(look.state.runner, "SIGKILL");
    await context.clock.sleep(pauseMs);
  }
}

export function makeComponentDir(dir: ComponentDir): void {
  try {
    const made = mkdirSync(join(dir.path, LOG_DIR), { recursive: true, mode: 0o700 });
    // A durable state file in a directory that a power cut takes away is not durable.
    if (made !== undefined) for (const parent of [dirname(dir.path), dirname(dirname(dir.path))]) syncDirectory(parent);
  } catch (error) {
    throw asDriverError(error, "start_failed", `the directory of ${dir.component} cannot be made`);
  }
}

/**
 * Running, or already run to its good end: doing either again would execute one job twice. Before the host's last boot a
 * good end was also that of a server which the shutdown told to go: only what is meant to end has then done its work.
 */
function isSameRun(look: Look, labels: WorkloadLabels, hostBootId: string): boolean {
  const state = stateOf(look);
  if (state === undefined || !sameLabels(state.labels, labels)) return false;
  if (state.state === "exited" && state.hostBootId !== hostBootId && state.spec.run_to_completion !== true) return false;
  return state.state === "exited" ? look.kind === "ended" || look.kind === "supervised" : look.kind !== "orphaned" && mayRun(look);
}

async function clearTheWay(context: ProcessContext, dir: ComponentDir, look: Look, labels: WorkloadLabels): Promise<void> {
  const state = stateOf(look);
  if (mayRun(look) && (state === undefined || !sameLabels(state.labels, labels))) {
    throw new DriverError("already_running", `${state === undefined ? `something with the labels of ${dir.component}` : whose(state.labels)} is running; stop it first`);
  }
  if (look.kind === "orphaned") {
    // The same start, but nobody watches it and its output is lost: two copies are not an option, so it is replaced.
    context.logger.warn({ component: keyOf(dir), pids: look.processes.map(({ pid }) => pid) }, "ending a component whose runner died, to start it again");
    const ended = await endProcesses(keyOf(dir), look.state.child ?? undefined, look.state.spec.stop_timeout_s * 1_000, KILL_PATIENCE_MS, context.clock);
    if (!ended) throw new DriverError("already_running", `${whose(look.state.labels)} lost its runner and cannot be killed`);
  }
  if (state !== undefined) await runnerGone(context, state, LEAVE_PATIENCE_MS);
  if (state !== undefined) await rm(join(dir.path, socketNameOf(state.runId)), { force: true });
}

async function cleanUp(context: ProcessContext, dir: ComponentDir, why: string): Promise<DriverError> {
  const seen = stateOf(await context.look(dir));
  // The runner's end comes first: one that still lived could spawn behind the look's back.
  if (seen !== undefined) await runnerGone(context, seen, 0);
  const ended = await endProcesses(keyOf(dir), undefined, 0, KILL_PATIENCE_MS, context.clock);
  const look = await context.look(dir);
  if (ended && look.kind === "lost") writeState(dir, { ...look.state, state: "failed", since: context.clock.now(), child: null, error: why });
  return new DriverError("start_failed", ended ? `${why}; nothing is left running` : `${why}; something with its labels could not be killed`);
}
