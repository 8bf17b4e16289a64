/** Stopping one component for certain, and forgetting it. */
import { DriverError } from "@skep/core";
import type { WorkloadLabels } from "@skep/core";
import { keyOf, sameLabels, whose } from "../labels.ts";
import { isRunning, lookFor } from "./context.ts";
import type { DockerContext, View } from "./context.ts";
import { asRefused, EngineRefusal } from "./engine-error.ts";
import type { ContainerRecord } from "./records.ts";

/** Beyond the stop timeout: SIGKILL, and the engine's own tidying up on a busy disk. */
const ANSWER_MARGIN_MS = 8_000;
export const REMOVE_DEADLINE_MS = 20_000;
/** How long SIGKILL may take to show: a process in the kernel's uninterruptible sleep survives it. */
const KILL_PATIENCE_MS = 6_000;
/** The last words of a container that is about to be removed with its log. */
const DRAIN_LIMIT_MS = 5_000;

/** Throws `stop_failed` when it survives. */
export async function stopContainer(context: DockerContext, labels: WorkloadLabels, stopTimeoutMs: number): Promise<void> {
  for (const view of await lookFor(context, labels)) {
    noteStop(context, view);
    context.keeper.cancel(view.id);
    if (isRunning(view)) await end(context, view, stopTimeoutMs);
  }
  // One that is gone already must not come back as "removed by somebody else".
  for (const record of context.records.all()) if (record.stop === undefined && sameLabels(record.labels, labels)) context.records.insist({ ...record, stop: { at: context.clock.now() } });
}

/** Durable before the effect, or a restart of the agent would start again what was asked to stop. */
function noteStop({ records, clock, hostBootId, logger }: DockerContext, view: View): void {
  const record: ContainerRecord = records.get(view.id) ?? { version: 1, id: view.id, labels: view.labels, hostBootId, restarts: 0, crashes: 0 };
  if (record.stop !== undefined) return;
  const durable = records.insist({ ...record, stop: { at: clock.now() } });
  if (!durable) logger.warn({ component: keyOf(view.labels) }, "the request to stop could not be written down: an agent that restarts now will take this component for crashed");
}

async function end({ engine, clock }: DockerContext, view: View, timeoutMs: number): Promise<void> {
  const what = `${whose(view.labels)} could not be stopped`;
  try {
    // A frozen process would sleep through its signal, and SIGKILL too on older kernels.
    if (view.seen.State?.Paused === true) await engine.unpause(view.id);
    await engine.stop(view.id, Math.ceil(timeoutMs / 1_000), timeoutMs + ANSWER_MARGIN_MS);
  } catch (error) {
    throw asRefused(error, what, "stop_failed", []);
  }
  const untilMs = clock.mono() + KILL_PATIENCE_MS;
  for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 2, 500)) {
    if ((await engine.inspect(view.id))?.State?.Running !== true) return;
    if (clock.mono() >= untilMs) throw new DriverError("stop_failed", `${what}: it survived SIGKILL for ${KILL_PATIENCE_MS} ms; look at its processes on the host`);
    await engine.kill(view.id).catch((error: unknown) => {
      // 409: it ended between the look and the signal.
      if (!(error instanceof EngineRefusal)) throw error;
    });
    await clock.sleep(pauseMs);
  }
}

/** Throws `already_running` when it is not stopped. Its captured output stays. */
export async function removeContainer(context: DockerContext, labels: WorkloadLabels): Promise<void> {
  const { engine, records, collector, keeper } = context;
  for (const view of await lookFor(context, labels)) {
    if (isRunning(view)) throw new DriverError("already_running", `${whose(view.labels)} is running; stop it before removing it`);
    keeper.cancel(view.id);
    await collector.drain(view, DRAIN_LIMIT_MS);
    try {
      await engine.remove(view.id, REMOVE_DEADLINE_MS);
    } catch (error) {
      // Somebody else is removing it at this moment: gone is gone.
      if (!(error instanceof EngineRefusal) || (await goneSoon(context, view.id)) !== true) throw asRefused(error, `the container of ${whose(labels)} could not be removed`, "remove_failed", []);
    }
    collector.forget(view.id);
    records.drop(view.id);
  }
  for (const record of records.all()) {
    if (!sameLabels(record.labels, labels)) continue;
    collector.forget(record.id);
    records.drop(record.id);
  }
}

async function goneSoon({ engine, clock }: DockerContext, id: string): Promise<boolean> {
  const untilMs = clock.mono() + KILL_PATIENCE_MS;
  for (let pauseMs = 20; clock.mono() < untilMs; pauseMs = Math.min(pauseMs * 2, 500)) {
    if ((await engine.inspect(id)) === undefined) return true;
    await clock.sleep(pauseMs);
  }
  return false;
}
