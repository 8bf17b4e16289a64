/** Waiting for "running", woken by the keeper and the engine's events; the slow look in between only bounds a lost wake-up. */
import { join } from "node:path";
import { DriverError } from "@skep/core";
import type { AbortSignalLike, ObservedComponent, Progress, WorkloadLabels } from "@skep/core";
import { LOG_DIR } from "../../runner/run-state.ts";
import { sameLabels, whose } from "../labels.ts";
import { tailForPerson } from "../read-log.ts";
import { lookAt } from "./context.ts";
import { howItEnded } from "./decide-observed.ts";
import type { DockerContext, View } from "./context.ts";

const LOOK_AGAIN_MS = 2_000;
const TAIL_CHARS = 500;
const DRAIN_LIMIT_MS = 2_000;
const SIGKILLED = 137;
/** Too short: an out-of-memory kill reads as somebody's SIGKILL; too long: every killed container's job ends that much later. */
const CAUSE_PATIENCE_MS = 2_000;
const CAUSE_LOOK_MS = 200;

export type Describe = (view: View) => ObservedComponent;

export async function waitForContainer(context: DockerContext, describe: Describe, onChange: (listener: () => void) => () => void, labels: WorkloadLabels, signal: AbortSignalLike, progress: Progress): Promise<void> {
  let before: string | undefined;
  for (;;) {
    const woken = new AbortController();
    const wake = (): void => woken.abort();
    // Listen before looking, or a change in between would be slept through.
    const unlisten = onChange(wake);
    signal.addEventListener("abort", wake, { once: true });
    try {
      const view = await find(context, labels);
      const now = describe(view);
      if (await isThere(context, view, now)) return;
      if (signal.aborted) throw await given(context, view, now);
      if (before !== undefined && before !== now.state) progress();
      before = now.state;
      await context.clock.sleep(LOOK_AGAIN_MS, woken.signal);
    } finally {
      unlisten();
      signal.removeEventListener("abort", wake);
    }
  }
}

/** A component that was kept carries older labels with the same hash. */
async function find(context: DockerContext, labels: WorkloadLabels): Promise<View> {
  const views = await lookAt(context, { placement: labels.placementId, component: labels.component });
  const found = views.find((view) => sameLabels(view.labels, labels)) ?? views.find((view) => view.labels.componentHash === labels.componentHash);
  if (found !== undefined) return found;
  if (views[0] !== undefined) throw new DriverError("stopped", `${labels.component} was replaced by ${whose(views[0].labels)}`);
  throw new DriverError("start_failed", `${labels.component} is not there: its container was removed, or never started`);
}

/** False: not yet. Throws when it can no longer get there. */
async function isThere(context: DockerContext, view: View, now: ObservedComponent): Promise<boolean> {
  const { component } = now.labels;
  const once = view.spec?.run_to_completion === true;
  switch (now.state) {
    case "running":
      return !once;
    case "exited":
      // One that ran to its good end has done what it was asked, unless it promised to answer a probe.
      if (once || view.spec?.probe === undefined) return true;
      throw await exited(context, view, "exited with code 0 before its probe passed");
    case "failed":
      throw await exited(context, view, now.error ?? "failed");
    case "stopped":
      throw new DriverError("stopped", `${component} was stopped${now.error === undefined ? "" : `: ${now.error}`}`);
    default:
      return false;
  }
}

async function exited(context: DockerContext, view: View, said: string): Promise<DriverError> {
  await context.collector.drain(view, DRAIN_LIMIT_MS);
  const how = (await outOfMemory(context, view)) ?? said;
  const tail = await tailForPerson(join(context.dirs.of(view.labels.placementId, view.labels.component).path, LOG_DIR), view.labels.component, TAIL_CHARS);
  return new DriverError("exited_early", `${view.labels.component} ${how}${tail === "" ? "; it printed nothing" : `; last output: ${tail}`}`);
}

/** An engine hears of the kill and of its cause from two sides; the cause may come a moment later. */
async function outOfMemory(context: DockerContext, view: View): Promise<string | undefined> {
  if (view.seen.State?.ExitCode !== SIGKILLED || view.spec?.resources?.memory_bytes === undefined) return undefined;
  for (let waitedMs = 0, now = view; ; waitedMs += CAUSE_LOOK_MS) {
    if (now.seen.State?.OOMKilled === true) return howItEnded(now);
    if (waitedMs >= CAUSE_PATIENCE_MS) return undefined;
    await context.clock.sleep(CAUSE_LOOK_MS);
    now = await find(context, view.labels).catch(() => now);
  }
}

/** The signal came first: what was the matter until then. */
async function given(context: DockerContext, view: View, now: ObservedComponent): Promise<DriverError> {
  const { component } = now.labels;
  // Between two ends it looks like a slow start; what it said at its last end is what a person needs.
  if (now.state === "backoff" || (now.state === "starting" && now.restarts > 0)) return exited(context, view, now.error ?? `keeps ending: it was started again ${now.restarts} times`);
  if (now.state === "unhealthy") return new DriverError("probe_failed", `${component} never became healthy: ${now.error ?? "its probe fails"}`);
  return new DriverError("aborted", `${component} was not running yet: ${now.state}${now.error === undefined ? "" : ` (${now.error})`}`);
}
