/**
 * A job that was begun before the agent's restart, in a runtime that cannot be asked yet. It is not run again and not
 * judged: it waits, in the open, until it can be looked at, and is then settled like every other.
 */
import type { JobEntry } from "../journal/records.ts";
import { Halted, type JobContext, type JobOutcome } from "./job-context.ts";
import type { LiveRun } from "./live-run.ts";
import type { Seen } from "./plan.ts";
import { patienceMs, settleJob } from "./settle.ts";
import { look } from "./step.ts";

/** Between looks while something is starting. */
const LOOK_AGAIN_MS = 500;

export async function settleLater({ context }: LiveRun, entry: JobEntry): Promise<JobOutcome> {
  // Whatever it did before is out of our hands: only sight ends it.
  context.touch();
  const settled = settleJob(entry, context.applied, await lookPatiently(context, entry));
  if (settled === undefined) throw new Error(`job ${entry.jobId} was not begun`);
  const { steps, ...outcome } = settled;
  for (const step of steps.slice(entry.steps.length)) context.record(step);
  return outcome;
}

async function lookPatiently(context: JobContext, entry: JobEntry): Promise<Seen[]> {
  let seen = await look(context, { undoing: true });
  const startMs = context.clock.mono();
  while (context.clock.mono() - startMs < patienceMs(entry, seen)) {
    if (context.halted()) throw new Halted();
    await context.clock.sleep(LOOK_AGAIN_MS);
    seen = await look(context, { undoing: true });
  }
  return seen;
}
