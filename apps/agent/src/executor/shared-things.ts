/**
 * Networks and volumes around a job. Networks follow the spec; volumes are made and never removed, but by a teardown
 * that was asked to: whether a volume that a failed job finds is its own or somebody's data cannot be told for certain.
 */
import type { Driver, PlacementLabels } from "@skep/core";
import { Halted, type JobContext } from "./job-context.ts";
import type { ApplyCommand } from "./run-apply.ts";
import { step } from "./step.ts";
import type { Effects } from "./stop-one.ts";

/** Before anything is prepared: a component that cannot have its network must not cost the old one. */
export async function ensureShared(context: JobContext, command: ApplyCommand, driver: Driver, effects: Effects): Promise<void> {
  const { shared } = driver;
  if (shared === undefined) return;
  const labels: PlacementLabels = { placementId: command.placement_id, deployment: command.deployment, jobId: command.job_id, generation: command.generation, epoch: command.epoch };
  effects.shared = driver;
  context.touch();
  await step(context, { name: "make networks and volumes", phase: "prepare", driver }, (signal) => shared.ensure(labels, command.spec, signal));
}

/** Once the new spec runs. A network that stays costs nobody anything: the step says so, and the job goes on. */
export async function pruneShared(context: JobContext, command: ApplyCommand, driver: Driver): Promise<void> {
  const { applied } = context;
  if (applied === undefined) return;
  const { shared } = driver;
  if (shared !== undefined) await tolerated(context, () => step(context, { name: "remove networks that are not named any more", phase: "remove", driver }, (signal) => shared.prune(command.placement_id, command.spec, signal)));
  if (applied.spec.driver === driver.name) return;
  const before = context.needed.find((one) => one.name === applied.spec.driver);
  if (before?.shared !== undefined) await tolerated(context, () => removeShared(context, before, false, false));
}

export async function removeShared(context: JobContext, driver: Driver, volumes: boolean, undoing: boolean): Promise<void> {
  const { shared } = driver;
  if (shared === undefined) return;
  await step(context, { name: volumes ? "remove networks and volumes" : "remove networks", phase: "remove", driver, undoing }, (signal) => shared.remove(context.command.placement_id, { volumes }, signal));
}

async function tolerated(context: JobContext, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Halted || context.reason() !== undefined) throw error;
  }
}
