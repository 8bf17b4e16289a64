/**
 * Deploy and mutate: bring the placement to its spec, or back to where it was. Stop-first: what changed gives way, then
 * its successor starts. Start-first: every successor is healthy before the first old one is touched, so a failure costs
 * nothing that ran.
 */
import { type Driver, type WorkloadLabels } from "@skep/core";
import type { PendingJob } from "@skep/protocol";
import type { PlacementEntry } from "../journal/records.ts";
import { mapBounded } from "../map-bounded.ts";
import { Halted, JobFailure, guard, guardAbort, outcomeOf, type JobContext, type JobOutcome } from "./job-context.ts";
import { inStopOrder, isAlive, planComponents, startLevels, wantedHashes, type PlannedComponent, type Seen } from "./plan.ts";
import { rollBack } from "./run-rollback.ts";
import { ensureShared, pruneShared } from "./shared-things.ts";
import { look, step } from "./step.ts";
import { noEffects, stopOne, stopTimeoutMs, type Effects } from "./stop-one.ts";
import { waitForAll } from "./wait-healthy.ts";

export type ApplyCommand = Exclude<PendingJob, { operation: "teardown" }>;

export const startsFirst = (command: ApplyCommand): boolean => command.spec.update_order === "start_first";

export async function applySpec(context: JobContext, command: ApplyCommand): Promise<JobOutcome> {
  const { applied } = context;
  const only = command.operation === "mutate" ? command.components : undefined;
  const seen = await look(context);
  guard(context);
  const wanted = wantedHashes(command.spec, applied, only, context.hash);
  const plan = planComponents(command.spec, wanted, seen, only);
  await context.begin(wanted);
  context.failpoint("after_begun");
  const effects = noEffects();
  try {
    if (command.desired === "stopped") await stopAll(context, command, plan, seen, effects);
    else await bringUp(context, command, plan, effects);
  } catch (error) {
    if (error instanceof Halted) throw error;
    return outcomeOf(error, context, await rollBack(context, effects, startsFirst(command)));
  }
  return { status: "succeeded", placement: placementOf(command, wanted, applied) };
}

export function placementOf(command: ApplyCommand, hashes: Readonly<Record<string, string>>, applied: PlacementEntry | undefined): PlacementEntry {
  return {
    placementId: command.placement_id, deployment: command.deployment, epoch: command.epoch, generation: command.generation,
    spec: command.spec, specHash: command.spec_hash, desired: command.desired, hashes, jobId: command.job_id,
    previous: applied === undefined || applied.generation === command.generation ? applied?.previous : { generation: applied.generation, spec: applied.spec, specHash: applied.specHash },
  };
}

async function bringUp(context: JobContext, command: ApplyCommand, plan: readonly PlannedComponent[], effects: Effects): Promise<void> {
  const driver = context.driver(command.spec.driver);
  const labelsOf = (item: PlannedComponent): WorkloadLabels => item.keep?.component.labels ?? {
    placementId: command.placement_id, deployment: command.deployment, component: item.name, jobId: command.job_id,
    generation: command.generation, epoch: command.epoch, componentHash: item.hash!,
  };
  const fresh = plan.filter((item) => item.action === "create" || item.action === "recreate");
  guard(context);
  await ensureShared(context, command, driver, effects);
  for (const item of fresh) {
    guard(context);
    await step(context, { name: `prepare ${item.name}`, component: item.name, phase: "prepare", driver }, (signal, progress) => driver.prepare(labelsOf(item), item.spec!, signal, progress));
  }
  const first = startsFirst(command);
  if (!first) await stopOld(context, command, plan, effects);
  await startAll(context, command, plan, fresh, driver, labelsOf, effects);
  if (first) await stopOld(context, command, plan, effects);
  await step(context, { name: "look again", phase: "look", driver }, () => confirmRunning(context, plan, labelsOf));
  await pruneShared(context, command, driver);
  guardAbort(context);
}

async function stopOld(context: JobContext, command: ApplyCommand, plan: readonly PlannedComponent[], effects: Effects): Promise<void> {
  const old = inStopOrder(plan.flatMap((item) => item.old), context.applied?.spec ?? command.spec);
  for (const item of old) {
    guard(context);
    await stopOne(context, item, stopTimeoutMs(context, command, item), effects, true);
  }
  if (old.length > 0) context.failpoint("after_stop_old");
}

/** Components that wait for nobody of their group. Fewer: large deployments start slowly; more: they only queue up in the runtime. */
const STARTS_AT_ONCE = 8;

async function startAll(context: JobContext, command: ApplyCommand, plan: readonly PlannedComponent[], fresh: readonly PlannedComponent[], driver: Driver, labelsOf: (item: PlannedComponent) => WorkloadLabels, effects: Effects): Promise<void> {
  const byName = new Map(plan.map((item) => [item.name, item]));
  for (const level of startLevels(command.spec.components)) {
    const here = level.flatMap((component) => byName.get(component.name) ?? []);
    let failed: { readonly error: unknown } | undefined;
    await mapBounded(here.filter((item) => fresh.includes(item)), STARTS_AT_ONCE, async (item) => {
      // After a failure nothing more is begun; what has begun comes to its end, so that undoing finds it.
      if (failed !== undefined) return;
      try {
        guard(context);
        const labels = labelsOf(item);
        effects.started.push({ labels, driver, stopTimeoutMs: item.spec!.stop_timeout_s * 1000 });
        await step(context, { name: `start ${item.name}`, component: item.name, phase: "start", driver }, (signal, progress) => driver.start(labels, item.spec!, signal, progress));
        context.failpoint("after_start_new");
      } catch (error) {
        failed ??= { error };
      }
    });
    if (failed !== undefined) throw (failed as { readonly error: unknown }).error;
    await waitForAll(context, here.filter((item) => fresh.includes(item) || isOnItsWay(item)).map((item) => ({ item, labels: labelsOf(item), driver: item.keep?.driver ?? driver })));
  }
}

/** Kept, and not yet what it is to be. */
const isOnItsWay = ({ keep, spec }: PlannedComponent): boolean =>
  keep !== undefined && (keep.component.state === "starting" || (spec?.run_to_completion === true && keep.component.state !== "exited"));

/** What was waited for first may have died while the last was waited for: a success must hold at its own moment. */
async function confirmRunning(context: JobContext, plan: readonly PlannedComponent[], labelsOf: (item: PlannedComponent) => WorkloadLabels): Promise<void> {
  const seen = await context.look();
  const dead = plan.filter((item) => {
    if (item.spec === undefined || (item.keep === undefined && item.action === "keep")) return false;
    const labels = labelsOf(item);
    const here = seen.find(({ component }) => component.labels.component === item.name && component.labels.componentHash === item.hash && component.labels.jobId === labels.jobId);
    return here === undefined || here.component.state === "failed" || here.component.state === "stopped";
  });
  if (dead.length > 0) throw new JobFailure("exited_early", `not running any more: ${dead.map((item) => item.name).join(", ")}`);
}

async function stopAll(context: JobContext, command: ApplyCommand, plan: readonly PlannedComponent[], seen: readonly Seen[], effects: Effects): Promise<void> {
  const gone = new Set(plan.filter((item) => item.action === "remove").map((item) => item.name));
  const only = command.operation === "mutate" ? command.components : undefined;
  for (const item of inStopOrder(seen, context.applied?.spec ?? command.spec)) {
    const name = item.component.labels.component;
    if (only !== undefined && !only.includes(name)) continue;
    if (!isAlive(item) && !gone.has(name)) continue;
    guard(context);
    await stopOne(context, item, stopTimeoutMs(context, command, item), effects, gone.has(name));
  }
  if (effects.stopped.length > 0) context.failpoint("after_stop_old");
}
