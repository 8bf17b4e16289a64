/** Stopping one component for certain, with its runner's help or without. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { DriverError } from "@skep/core";
import type { WorkloadLabels } from "@skep/core";
import { STATE_FILE } from "../../runner/run-state.ts";
import type { RunState } from "../../runner/run-state.ts";
import { isMissing } from "../driver-errors.ts";
import { keyOf, whose } from "../labels.ts";
import type { ComponentDir } from "../component-dirs.ts";
import { KILL_PATIENCE_MS, mayRun, stateOf } from "./context.ts";
import type { ProcessContext } from "./context.ts";
import { endProcesses } from "./end-processes.ts";
import { writeState } from "./launch-runner.ts";
import { runIdOf } from "./links.ts";
import type { Look } from "./look.ts";
import { LEAVE_PATIENCE_MS, runnerGone } from "./runner-gone.ts";

/** Beyond the stop timeout: SIGKILL, reaping, reading the last output and an fsync on a busy disk. */
const ANSWER_MARGIN_MS = 8_000;

/** Whatever run of the component is there is stopped; the labels' job does not matter. Throws `stop_failed`. */
export async function stopComponent(context: ProcessContext, labels: WorkloadLabels, stopTimeoutMs: number): Promise<void> {
  const dir = context.dirs.of(labels.placementId, labels.component);
  const look = await context.look(dir);
  if (look.kind === "none" || look.kind === "ended") return;
  if (look.kind === "supervised") {
    try {
      await look.link.stop(stopTimeoutMs, stopTimeoutMs + ANSWER_MARGIN_MS);
      return;
    } catch (error) {
      context.logger.warn({ component: keyOf(dir), err: error }, "a runner did not stop its component; ending it without the runner");
      return stopWithoutRunner(context, dir, await context.look(dir), 0);
    }
  }
  await stopWithoutRunner(context, dir, look, stopTimeoutMs);
}

async function stopWithoutRunner(context: ProcessContext, dir: ComponentDir, look: Look, timeoutMs: number): Promise<void> {
  if (look.kind === "none" || look.kind === "ended") return;
  const state = stateOf(look);
  const sameBoot = state?.hostBootId === context.hostBootId;
  // The runner first: one that woke up now would restart what is being ended.
  if (state !== undefined) await runnerGone(context, state, 0);
  const ended = await endProcesses(keyOf(dir), sameBoot ? (state?.child ?? undefined) : undefined, timeoutMs, KILL_PATIENCE_MS, context.clock);
  if (!ended) throw new DriverError("stop_failed", `${dir.component} survived SIGKILL for ${KILL_PATIENCE_MS} ms; look at its processes on the host`);
  if (state !== undefined) recordStopped(context, dir, state, look.kind === "rebooted" ? "host rebooted" : undefined);
}

function recordStopped({ clock, logger }: ProcessContext, dir: ComponentDir, state: RunState, error: string | undefined): void {
  try {
    writeState(dir, { ...state, state: "stopped", since: clock.now(), child: null, error });
  } catch (failure) {
    // Nothing runs, which is what was asked; the next look says "lost" instead of "stopped", which is not untrue.
    logger.warn({ component: keyOf(dir), err: failure }, "a stopped component's state could not be written");
  }
}

/** Forgets a stopped component. Throws `already_running` when it is not stopped. Logs and its working directory stay. */
export async function removeComponent(context: ProcessContext, labels: WorkloadLabels): Promise<void> {
  const dir = context.dirs.of(labels.placementId, labels.component);
  const look = await context.look(dir);
  const state = stateOf(look);
  if (mayRun(look)) throw new DriverError("already_running", `${state === undefined ? dir.component : whose(state.labels)} is running; stop it before removing it`);
  if (state !== undefined) await runnerGone(context, state, LEAVE_PATIENCE_MS);
  for (const name of await filesOf(dir)) {
    if (runIdOf(name) !== undefined || name === "runner.log") await rm(join(dir.path, name), { force: true });
  }
  await rm(join(dir.path, STATE_FILE), { force: true });
  await context.ports.release(labels);
}

async function filesOf(dir: ComponentDir): Promise<string[]> {
  try {
    return await readdir(dir.path);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
