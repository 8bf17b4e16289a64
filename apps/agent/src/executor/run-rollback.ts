/**
 * Undoing a job that did not succeed: what it started is stopped, what it stopped is started again. Every attempt is a
 * step, so that a row that says `failed` also says what it could not put back. Restored components carry this job's
 * id with the old generation: the old job is not run a second time in anybody's books. A runtime that is away is
 * waited for: until it can be seen, something of the job may run.
 */
import { DriverError, type WorkloadLabels } from "@skep/core";
import { Halted, type JobContext, type Undone } from "./job-context.ts";
import { RESTORE_LIMIT_MS } from "./limits.ts";
import { inStopOrder, isAlive, type Seen } from "./plan.ts";
import { removeShared } from "./shared-things.ts";
import { attempt, look, step } from "./step.ts";
import { stopAndRemove, type Effects } from "./stop-one.ts";

/** Never rejects but with `Halted`. `restoreFirst`: old and new can run at once, so nobody goes without meanwhile. */
export async function rollBack(context: JobContext, effects: Effects, restoreFirst: boolean): Promise<Undone> {
  const problems: string[] = [];
  const restored = new Set<string>();
  const tryTo = async (name: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (error instanceof Halted) throw error;
      problems.push(name);
    }
  };
  const undo = async (): Promise<void> => {
    for (const one of effects.started.toReversed()) {
      const name = `undo start ${one.labels.component}`;
      await tryTo(name, () => inOneStep(context, name, one.driver, () => stopAndRemove(context, one)));
    }
  };
  const restore = async (): Promise<void> => {
    for (const item of inStopOrder(effects.stopped, context.applied?.spec).toReversed()) {
      const name = `restore ${item.component.labels.component}`;
      await tryTo(name, () => inOneStep(context, name, item.driver, () => restoreOne(context, item)));
      restored.add(keyOf(item.component.labels));
    }
  };
  for (const part of restoreFirst ? [restore, undo] : [undo, restore]) await part();

  const left = effects.started.length === 0 ? [] : await stillThere(context, effects, restored);
  if (context.applied === undefined && effects.shared !== undefined) await tryTo("remove networks", () => removeEmptyNetworks(context, effects));
  return { note: problems.length === 0 ? "" : `; could not ${problems.join(", ")}`, left };
}

const keyOf = (labels: WorkloadLabels): string => `${labels.component} ${labels.componentHash}`;

/** Several verbs told as one step. The verbs have their own limits; the step has none. */
async function inOneStep(context: JobContext, name: string, driver: Seen["driver"], work: () => Promise<void>): Promise<void> {
  await step(context, { name, phase: "healthy", driver, undoing: true }, work);
}

/** A verb that hung may have had its effect after all: only a look can tell. */
async function stillThere(context: JobContext, effects: Effects, restored: ReadonlySet<string>): Promise<string[]> {
  const own = new Set(effects.started.map((one) => keyOf(one.labels)).filter((key) => !restored.has(key)));
  const seen = await look(context, { undoing: true }).catch((error: unknown) => {
    if (error instanceof Halted) throw error;
    return [];
  });
  const alive = seen.filter((item) => isAlive(item) && item.component.labels.jobId === context.command.job_id && own.has(keyOf(item.component.labels)));
  return alive.map((item) => item.component.labels.component);
}

/** Only where nothing was applied: an older generation may still use them. */
async function removeEmptyNetworks(context: JobContext, effects: Effects): Promise<void> {
  if (effects.shared === undefined || (await look(context, { undoing: true })).length > 0) return;
  await removeShared(context, effects.shared, false, true);
}

async function restoreOne(context: JobContext, item: Seen): Promise<void> {
  const { applied } = context;
  const { driver, component: { labels: old } } = item;
  const name = old.component;
  const spec = applied?.spec.components.find((component) => component.name === name);
  if (applied === undefined || spec === undefined || applied.hashes[name] !== old.componentHash) {
    throw new DriverError("spec_unknown", `it ran something whose spec this host does not know (generation ${old.generation})`);
  }
  const labels: WorkloadLabels = { ...old, jobId: context.command.job_id };
  const present = (await look(context, { undoing: true })).filter((seen) => seen.component.labels.component === name);
  // A stop that failed may have left it alive under its old labels: then there is nothing to restore.
  if (present.some((seen) => seen.component.labels.componentHash === old.componentHash && isAlive(seen))) return;
  const other = present.find(isAlive);
  if (other !== undefined && driver.overlaps !== true) throw new DriverError("still_running", `generation ${other.component.labels.generation} of it still runs`);
  for (const dead of present.filter((seen) => !isAlive(seen))) {
    await attempt(context, { name: `remove ${name}`, phase: "remove", driver: dead.driver, undoing: true }, () => dead.driver.remove(dead.component.labels));
  }
  await attempt(context, { name: `start ${name}`, phase: "start", driver, limitMs: RESTORE_LIMIT_MS, undoing: true }, (signal, progress) => driver.start(labels, spec, signal, progress));
  if (spec.run_to_completion === true) return;
  await attempt(context, { name: `wait ${name}`, phase: "healthy", driver, limitMs: RESTORE_LIMIT_MS, undoing: true }, (signal, progress) => driver.wait(labels, spec, signal, progress));
}
