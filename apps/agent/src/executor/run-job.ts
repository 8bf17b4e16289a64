/**
 * One job, from its first look to its outcome. Invariants: nothing is touched before `begin` is durable; nothing old
 * is stopped before everything new is prepared; a job that does not succeed leaves none of its own generation running
 * and puts back what it stopped, and where it cannot, a step says so.
 */
import { Halted, outcomeOf, type JobContext, type JobOutcome } from "./job-context.ts";
import { applySpec } from "./run-apply.ts";
import { tearDown } from "./run-teardown.ts";

/** Throws `Halted` when the process is leaving; every other ending is an outcome. */
export async function runJob(context: JobContext): Promise<JobOutcome> {
  const { command } = context;
  try {
    return command.operation === "teardown" ? await tearDown(context, command) : await applySpec(context, command);
  } catch (error) {
    if (error instanceof Halted || context.halted()) throw new Halted();
    return outcomeOf(error, context);
  }
}
