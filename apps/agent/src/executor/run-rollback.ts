/**
 * Undoing a job that did not succeed: what it started is stopped, what it stopped is started again. Every attempt is a
 * step, so that a row that says `failed` also says what it could not put back. Restored components carry this job's
 * id with the old generation: the old job is not run a second time in anybody's books.
 */
import { DriverError, type WorkloadLabels } from "@skep/core";
import { Halted, step, type JobContext } from "./job-context.ts";
import { inStopOrder, isAlive, type Seen } from "./plan.ts";
import { REMOVE_LIMIT_MS, STOP_GRACE_MS, type Effects } from "./stop-one.ts";
import { untilSignal, withinMs } from "./verbs.ts";

/** For each restored component. Too short: a slow starter is called not restored; too long: a slot is held. */
const RESTORE_LIMIT_MS = 60_000;

/** Never rejects but with `Halted`. Returns what to add to the error: empty when all is as it was. */
export async function rollBack(context: JobContext, effects: Effects): Promise<string> {
  const problems: string[] = [];
  const attempt = async (name: string, work: () => Promise<void>): Promise<void> => {
    try {
      await step(context, name, work);
    } catch (error) {
      if (error instanceof Halted) throw error;
      problems.push(name);
    }
  };
  for (const { labels, driver, stopTimeoutMs } of effects.started.toReversed()) {
    await attempt(`undo start ${labels.component}`, async () => {
      await withinMs(context.clock, `stop ${labels.component}`, stopTimeoutMs + STOP_GRACE_MS, () => driver.stop(labels, stopTimeoutMs));
      await withinMs(context.clock, `remove ${labels.component}`, REMOVE_LIMIT_MS, () => driver.remove(labels));
    });
  }
  for (const item of inStopOrder(effects.stopped, context.applied?.spec).toReversed()) {
    await attempt(`restore ${item.component.labels.component}`, () => restore(context, item));
  }
  return problems.length === 0 ? "" : `; could not ${problems.join(", ")}`;
}

async function restore(context: JobContext, item: Seen): Promise<void> {
  const { applied, clock } = context;
  const old = item.component.labels;
  const spec = applied?.spec.components.find((component) => component.name === old.component);
  if (applied === undefined || spec === undefined || applied.hashes[old.component] !== old.componentHash) {
    throw new DriverError("spec_unknown", `it ran something whose spec this host does not know (generation ${old.generation})`);
  }
  const labels: WorkloadLabels = { ...old, jobId: context.command.job_id };
  const limit = new AbortController();
  const done = new AbortController();
  void clock.sleep(RESTORE_LIMIT_MS, done.signal).then(() => limit.abort());
  try {
    // A stop that failed may have left it alive under its old labels: then there is nothing to restore.
    const present = (await context.look()).find((seen) => seen.component.labels.component === old.component);
    if (present !== undefined && present.component.labels.componentHash === old.componentHash && isAlive(present)) return;
    if (present !== undefined && isAlive(present)) throw new DriverError("still_running", `generation ${present.component.labels.generation} of it still runs`);
    if (present !== undefined) await withinMs(clock, `remove ${old.component}`, REMOVE_LIMIT_MS, () => present.driver.remove(present.component.labels));
    await untilSignal(clock, `start ${old.component}`, limit.signal, () => item.driver.start(labels, spec, limit.signal));
    await untilSignal(clock, `wait ${old.component}`, limit.signal, () => item.driver.wait(labels, spec, limit.signal));
  } finally {
    done.abort();
  }
}
