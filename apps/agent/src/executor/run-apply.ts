/** Deploy and mutate: bring the placement to its spec, stop-first per component, or back to where it was. */
import { type AbortSignalLike, type ComponentSpec, type WorkloadLabels } from "@skep/core";
import type { PendingJob } from "@skep/protocol";
import type { PlacementEntry } from "../journal/records.ts";
import { Halted, JobFailure, guard, guardAbort, outcomeOf, step, type JobContext, type JobOutcome } from "./job-context.ts";
import { inStopOrder, isAlive, planComponents, startLevels, wantedHashes, type PlannedComponent, type Seen } from "./plan.ts";
import { rollBack } from "./run-rollback.ts";
import { stopOne, stopTimeoutMs, type Effects } from "./stop-one.ts";
import { untilSignal } from "./verbs.ts";

export type ApplyCommand = Exclude<PendingJob, { operation: "teardown" }>;

export async function applySpec(context: JobContext, command: ApplyCommand): Promise<JobOutcome> {
  const { applied } = context;
  const only = command.operation === "mutate" ? command.components : undefined;
  const seen = await context.look();
  guard(context);
  const wanted = wantedHashes(command.spec, applied, only, context.hash);
  const plan = planComponents(command.spec, wanted, seen, only);
  await context.begin(wanted);
  context.failpoint("after_begun");
  const effects: Effects = { started: [], stopped: [] };
  try {
    if (command.desired === "stopped") await stopAll(context, command, plan, seen, effects);
    else await bringUp(context, command, plan, effects);
  } catch (error) {
    if (error instanceof Halted) throw error;
    const note = await rollBack(context, effects);
    return outcomeOf(error, context, note);
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
  const { clock, signal, applied } = context;
  const driver = context.driver(command.spec.driver);
  const labelsOf = (item: PlannedComponent): WorkloadLabels => ({
    placementId: command.placement_id, deployment: command.deployment, component: item.name, jobId: command.job_id,
    generation: command.generation, epoch: command.epoch, componentHash: item.hash!,
  });
  const fresh = plan.filter((item) => item.action === "create" || item.action === "recreate");
  for (const item of fresh) {
    guard(context);
    await step(context, `prepare ${item.name}`, () => untilSignal(clock, `prepare ${item.name}`, signal, () => driver.prepare(labelsOf(item), item.spec!, signal)));
  }
  const old = inStopOrder(plan.flatMap((item) => item.old), applied?.spec ?? command.spec);
  for (const item of old) {
    guard(context);
    await stopOne(context, item, stopTimeoutMs(context, command, item), effects, true);
  }
  if (old.length > 0) context.failpoint("after_stop_old");
  const byName = new Map(plan.map((item) => [item.name, item]));
  for (const level of startLevels(command.spec.components)) {
    const here = level.flatMap((component) => byName.get(component.name) ?? []);
    for (const item of here) {
      if (!fresh.includes(item)) continue;
      guard(context);
      const labels = labelsOf(item);
      effects.started.push({ labels, driver, stopTimeoutMs: item.spec!.stop_timeout_s * 1000 });
      await step(context, `start ${item.name}`, () => untilSignal(clock, `start ${item.name}`, signal, () => driver.start(labels, item.spec!, signal)));
      context.failpoint("after_start_new");
    }
    await waitFor(context, here.filter((item) => fresh.includes(item) || item.keep?.component.state === "starting"), (item) => item.keep?.component.labels ?? labelsOf(item), driver);
  }
  await step(context, "look again", () => confirmRunning(context, plan));
  guardAbort(context);
}

/** What was waited for first may have died while the last was waited for: a success must hold at its own moment. */
async function confirmRunning(context: JobContext, plan: readonly PlannedComponent[]): Promise<void> {
  const seen = await context.look();
  const dead = plan.filter((item) => {
    if (item.spec === undefined || (item.keep === undefined && item.action === "keep")) return false;
    const here = seen.find((one) => one.component.labels.component === item.name && one.component.labels.componentHash === item.hash);
    return here === undefined || here.component.state === "failed" || here.component.state === "stopped";
  });
  if (dead.length > 0) throw new JobFailure("exited_early", `not running any more: ${dead.map((item) => item.name).join(", ")}`);
}

/** Waits for a group together; the first failure ends the waiting of the others. */
async function waitFor(context: JobContext, items: readonly PlannedComponent[], labelsOf: (item: PlannedComponent) => WorkloadLabels, driver: Seen["driver"]): Promise<void> {
  if (items.length === 0) return;
  const group = new AbortController();
  const leave = (): void => group.abort();
  if (context.signal.aborted) leave();
  context.signal.addEventListener("abort", leave, { once: true });
  let first: { error: unknown } | undefined;
  await Promise.all(items.map(async (item) => {
    try {
      await step(context, `wait ${item.name}`, () => waitOne(context, labelsOf(item), item.spec!, group.signal, item.keep?.driver ?? driver));
    } catch (error) {
      first ??= { error };
      leave();
    }
  }));
  context.signal.removeEventListener("abort", leave);
  if (first !== undefined) throw first.error;
}

const waitOne = (context: JobContext, labels: WorkloadLabels, spec: ComponentSpec, signal: AbortSignalLike, driver: Seen["driver"]): Promise<void> =>
  untilSignal(context.clock, `wait ${spec.name}`, signal, () => driver.wait(labels, spec, signal));

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
