/**
 * Teardown: everything that carries the placement's label goes, leftovers that no journal knows included. It succeeds
 * only after a last look that finds nothing alive; a placement that never was is gone already. Volumes go last, when
 * that look has shown that nobody writes to them, and only if that was asked for.
 */
import type { TeardownCommand } from "@skep/protocol";
import { Halted, JobFailure, guard, guardAbort, wordsOf, type JobContext, type JobOutcome } from "./job-context.ts";
import { inStopOrder, isAlive, type Seen } from "./plan.ts";
import { removeShared } from "./shared-things.ts";
import { look, step } from "./step.ts";
import { noEffects, stopOne, stopTimeoutMs } from "./stop-one.ts";

export async function tearDown(context: JobContext, command: TeardownCommand): Promise<JobOutcome> {
  const seen = await look(context);
  guard(context);
  await context.begin({});
  context.failpoint("after_begun");
  const effects = noEffects();
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
  const [driver] = context.needed;
  if (seen.length > 0 && driver !== undefined) await step(context, { name: "look again", phase: "look", driver }, async () => void (left = (await context.look()).filter(isAlive)));
  if (left.length > 0) {
    const names = left.map((item) => item.component.labels.component).join(", ");
    throw new JobFailure("still_running", `still running: ${names}${problems.length === 0 ? "" : ` (${problems.join("; ")})`}`);
  }
  for (const one of context.needed) {
    guardAbort(context);
    await removeShared(context, one, command.remove_volumes === true, false);
  }
  return { status: "succeeded", placement: null };
}
