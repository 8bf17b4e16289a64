/**
 * Waiting until what was started is as wanted: healthy, or ended with 0 where it runs to completion. The end of a
 * completion is watched here and not by drivers, so that it means the same whatever runs it.
 */
import type { AbortSignalLike, Driver, WorkloadLabels } from "@skep/core";
import { RuntimeAway } from "./eyes.ts";
import { JobFailure, type JobContext } from "./job-context.ts";
import { isAlive, type PlannedComponent, type Seen } from "./plan.ts";
import { step } from "./step.ts";

/** Between looks at something that runs to completion. Shorter: a busy host is looked at all the time; longer: what depends on it waits. */
const COMPLETION_LOOK_MS = 1_000;

export interface Awaited {
  readonly item: PlannedComponent;
  readonly labels: WorkloadLabels;
  readonly driver: Driver;
}

/** Waits for a group together; the first failure ends the waiting of the others. */
export async function waitForAll(context: JobContext, awaited: readonly Awaited[]): Promise<void> {
  if (awaited.length === 0) return;
  const group = new AbortController();
  const leave = (): void => group.abort();
  if (context.signal.aborted) leave();
  context.signal.addEventListener("abort", leave, { once: true });
  let first: { error: unknown } | undefined;
  await Promise.all(awaited.map(async ({ item, labels, driver }) => {
    try {
      await step(context, { name: `wait ${item.name}`, component: item.name, phase: "healthy", driver, signal: group.signal }, (signal, progress) =>
        item.spec!.run_to_completion === true ? untilCompleted(context, labels, driver, signal) : driver.wait(labels, item.spec!, signal, progress));
    } catch (error) {
      first ??= { error };
      leave();
    }
  }));
  context.signal.removeEventListener("abort", leave);
  if (first !== undefined) throw first.error;
}

/** No progress is seen in here, restarts least of all: a migration that fails again and again must not live for ever. */
async function untilCompleted(context: JobContext, labels: WorkloadLabels, driver: Driver, signal: AbortSignalLike): Promise<void> {
  for (;;) {
    if (signal.aborted) throw new JobFailure("aborted", `${labels.component} had not ended yet`);
    const here = (await lookAt(context, driver)).find((item) => isSame(item, labels));
    const { state, error, exitCode } = here?.component ?? {};
    if (state === "exited") return;
    if (here === undefined) throw new JobFailure("exited_early", `${labels.component} is gone before it ended`);
    if (!isAlive(here)) throw new JobFailure("completion_failed", `${labels.component} did not end with 0: ${error ?? (exitCode === undefined ? state : `it exited with ${exitCode}`)}`);
    await context.clock.sleep(COMPLETION_LOOK_MS, signal);
  }
}

async function lookAt(context: JobContext, driver: Driver): Promise<readonly Seen[]> {
  try {
    return await context.look();
  } catch (error) {
    throw error instanceof RuntimeAway ? error : new RuntimeAway(driver, String(error));
  }
}

const isSame = (item: Seen, labels: WorkloadLabels): boolean =>
  item.component.labels.component === labels.component && item.component.labels.componentHash === labels.componentHash && item.component.labels.jobId === labels.jobId;
