/** Waiting for "running", woken by the runner; the slow look in between only notices a runner that can no longer speak. */
import { join } from "node:path";
import { DriverError } from "@skep/core";
import type { AbortSignalLike, WorkloadLabels } from "@skep/core";
import { LOG_DIR } from "../../runner/run-state.ts";
import { sameLabels, whose } from "../labels.ts";
import type { ComponentDir } from "../component-dirs.ts";
import { stateOf } from "./context.ts";
import type { ProcessContext } from "./context.ts";
import { decideObserved } from "./decide-observed.ts";
import type { Look } from "./look.ts";
import { tailForPerson } from "../read-log.ts";

const LOOK_AGAIN_MS = 2_000;
const TAIL_CHARS = 500;

export async function waitForComponent(context: ProcessContext, labels: WorkloadLabels, signal: AbortSignalLike): Promise<void> {
  const dir = context.dirs.of(labels.placementId, labels.component);
  for (;;) {
    const woken = new AbortController();
    const wake = (): void => woken.abort();
    // Listen before looking, or a change in between would be slept through.
    const unlisten = context.links.onChange(wake);
    signal.addEventListener("abort", wake, { once: true });
    try {
      const look = await context.look(dir);
      if (await isThere(dir, look, labels)) return;
      if (signal.aborted) throw aborted(look, labels);
      await context.clock.sleep(LOOK_AGAIN_MS, woken.signal);
    } finally {
      unlisten();
      signal.removeEventListener("abort", wake);
    }
  }
}

/** False: not yet. Throws when it can no longer get there. */
async function isThere(dir: ComponentDir, look: Look, labels: WorkloadLabels): Promise<boolean> {
  const state = stateOf(look);
  if (state === undefined) throw new DriverError("start_failed", `${labels.component} was not started`);
  // A component left running by a newer generation carries older labels with the same hash.
  if (!sameLabels(state.labels, labels) && state.labels.componentHash !== labels.componentHash) {
    throw new DriverError("stopped", `${labels.component} was replaced by ${whose(state.labels)}`);
  }
  if (look.kind === "hung") return false;
  if (look.kind !== "ended" && look.kind !== "supervised") throw new DriverError("start_failed", `${labels.component}: ${decideObserved(dir, look)?.error ?? look.kind}`);
  if (state.state === "running") return true;
  // One that ran to its good end has done what it was asked, unless it promised to answer a probe.
  if (state.state === "exited" && state.spec.probe === undefined) return true;
  if (state.state === "stopped") throw new DriverError("stopped", `${labels.component} was stopped${state.error === undefined ? "" : `: ${state.error}`}`);
  if (state.state !== "exited" && state.state !== "failed") return false;
  const tail = await tailForPerson(join(dir.path, LOG_DIR), dir.component, TAIL_CHARS);
  const how = state.error ?? "exited with code 0 before its probe passed";
  throw new DriverError("exited_early", `${labels.component} ${how}${tail === "" ? "; it printed nothing" : `; last output: ${tail}`}`);
}

function aborted(look: Look, labels: WorkloadLabels): DriverError {
  const state = stateOf(look);
  if (state?.state === "unhealthy") return new DriverError("probe_failed", `${labels.component} never became healthy: ${state.error ?? "its probe fails"}`);
  return new DriverError("aborted", `${labels.component} was not running yet: ${state?.state ?? "nothing there"}${state?.error === undefined ? "" : ` (${state.error})`}`);
}
