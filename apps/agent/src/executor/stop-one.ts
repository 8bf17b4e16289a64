/** Stopping what must give way, bounded and noted, for every kind of job. */
import type { ComponentSpec, WorkloadLabels } from "@skep/core";
import type { PendingJob } from "@skep/protocol";
import { step, type JobContext } from "./job-context.ts";
import { isAlive, type Seen } from "./plan.ts";
import { withinMs } from "./verbs.ts";

/** What a job has done so far, so that it can be undone. */
export interface Effects {
  readonly started: { labels: WorkloadLabels; driver: Seen["driver"]; stopTimeoutMs: number }[];
  readonly stopped: Seen[];
}

export const REMOVE_LIMIT_MS = 15_000;
/** On top of the component's own stop timeout. Too short: a loaded host looks hung; too long: a hung driver holds a slot. */
export const STOP_GRACE_MS = 10_000;

/** Stops one that must give way; a dead one is only cleared away. */
export async function stopOne(context: JobContext, item: Seen, timeoutMs: number, effects: Effects, remove: boolean): Promise<void> {
  const { labels } = item.component;
  const alive = isAlive(item);
  await step(context, `${alive ? "stop" : "clear"} ${labels.component}`, async () => {
    if (alive) {
      // Noted before it is tried: a stop that fails half-way must be put right too.
      effects.stopped.push(item);
      await withinMs(context.clock, `stop ${labels.component}`, timeoutMs + STOP_GRACE_MS, () => item.driver.stop(labels, timeoutMs));
    }
    if (remove) await withinMs(context.clock, `remove ${labels.component}`, REMOVE_LIMIT_MS, () => item.driver.remove(labels));
  });
}

export function stopTimeoutMs(context: JobContext, command: PendingJob, item: Seen): number {
  const name = item.component.labels.component;
  const find = (components: readonly ComponentSpec[] | undefined): ComponentSpec | undefined => components?.find((component) => component.name === name);
  const spec = find(context.applied?.spec.components) ?? (command.operation === "teardown" ? undefined : find(command.spec.components));
  return (spec?.stop_timeout_s ?? 10) * 1000;
}
