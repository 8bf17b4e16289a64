/** Stopping what must give way, bounded and noted, for every kind of job. */
import type { ComponentSpec, Driver, WorkloadLabels } from "@skep/core";
import type { PendingJob } from "@skep/protocol";
import type { JobContext } from "./job-context.ts";
import { STOP_GRACE_MS } from "./limits.ts";
import { isAlive, type Seen } from "./plan.ts";
import { attempt, step } from "./step.ts";

/** What a job has done so far, so that it can be undone. */
export interface Effects {
  readonly started: { labels: WorkloadLabels; driver: Driver; stopTimeoutMs: number }[];
  readonly stopped: Seen[];
  /** Networks and volumes may have been made. */
  shared: Driver | undefined;
}

export const noEffects = (): Effects => ({ started: [], stopped: [], shared: undefined });

/** Stops one that must give way; a dead one is only cleared away. */
export async function stopOne(context: JobContext, item: Seen, timeoutMs: number, effects: Effects, remove: boolean): Promise<void> {
  const { driver, component: { labels } } = item;
  const name = labels.component;
  if (!isAlive(item)) {
    if (remove) await step(context, { name: `clear ${name}`, component: name, phase: "remove", driver }, () => driver.remove(labels));
    return;
  }
  // Noted before it is tried: a stop that fails half-way must be put right too.
  effects.stopped.push(item);
  await step(context, { name: `stop ${name}`, component: name, phase: "stop", driver, limitMs: timeoutMs + STOP_GRACE_MS }, async () => {
    await driver.stop(labels, timeoutMs);
  });
  if (remove) await step(context, { name: `remove ${name}`, component: name, phase: "remove", driver }, () => driver.remove(labels));
}

/** Stopped and gone, as one attempt each, for a step of its own name. */
export async function stopAndRemove(context: JobContext, { labels, driver, stopTimeoutMs }: Effects["started"][number]): Promise<void> {
  const name = labels.component;
  await attempt(context, { name: `stop ${name}`, phase: "stop", driver, limitMs: stopTimeoutMs + STOP_GRACE_MS, undoing: true }, () => driver.stop(labels, stopTimeoutMs));
  await attempt(context, { name: `remove ${name}`, phase: "remove", driver, undoing: true }, () => driver.remove(labels));
}

export function stopTimeoutMs(context: JobContext, command: PendingJob, item: Seen): number {
  const name = item.component.labels.component;
  const find = (components: readonly ComponentSpec[] | undefined): ComponentSpec | undefined => components?.find((component) => component.name === name);
  const spec = find(context.applied?.spec.components) ?? (command.operation === "teardown" ? undefined : find(command.spec.components));
  return (spec?.stop_timeout_s ?? 10) * 1000;
}
