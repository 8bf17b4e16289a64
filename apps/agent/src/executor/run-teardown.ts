/**
 * Teardown: everything that carries the placement's label goes, leftovers that no journal knows included. It succeeds
 * only after a last look that finds nothing alive; a placement that never was is gone already.
 */
import type { TeardownCommand } from "@skep/protocol";
import { Halted, JobFailure, guard, step, wordsOf, type JobContext, type JobOutcome } from "./job-context.ts";
import { inStopOrder, isAlive, type Seen } from "./plan.ts";
import { stopOne, stopTimeoutMs, type Effects } from "./stop-one.ts";

export async function tearDown(context: JobContext, command: TeardownCommand): Promise<JobOutcome> {
  const seen = await context.look();
  guard(context);
  await context.begin({});
  context.failpoint("after_begun");
  const effects: Effects = { started: [], stopped: [] };
  const problems: string[] = [];
  for (const item of inStopOrder(seen, context.applied?.spec)) {
    guard(context);
    try {
      await stopOne(context, item, stopTimeoutMs(context, command, item), effects, true);
    } catch (error) {
      if (error instanceof Halted || command.force !== true) throw error;
      problems.push(`${item.component.labels.component}: ${wordsOf(error)}`);
    }
  }
  if (seen.length > 0) context.failpoint("after_stop_old");
  let left: Seen[] = [];
  if (seen.length > 0) await step(context, "look again", async () => void (left = (await context.look()).filter(isAlive)));
  if (left.length > 0) {
    const names = left.map((item) => item.component.labels.component).join(", ");
    throw new JobFailure("still_running", `still running: ${names}${problems.length === 0 ? "" : ` (${problems.join("; ")})`}`);
  }
  return { status: "succeeded", placement: null };
}
