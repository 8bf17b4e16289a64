/** After a restart: what the journal left unfinished is settled by looking, never by running it again (rulings 12). */
import { decideSettle, type StepResult } from "@skep/core";
import type { JobEntry, PlacementEntry } from "../journal/records.ts";
import type { JobOutcome } from "./job-context.ts";
import { isAlive, type Seen } from "./plan.ts";
import { placementOf } from "./run-apply.ts";

export interface Settled extends JobOutcome {
  readonly steps: readonly StepResult[];
}

/** undefined = it was never begun and runs normally. `seen` is what the drivers see of its placement. */
export function settleJob(entry: JobEntry, applied: PlacementEntry | undefined, seen: readonly Seen[]): Settled | undefined {
  const { command } = entry;
  const desired = command !== undefined && command.operation !== "teardown" ? command.desired : "running";
  const verdict = decideSettle(
    { operation: entry.operation, begun: entry.begun, desired, wanted: entry.wanted },
    seen.map(({ component }) => ({ component: component.labels.component, componentHash: component.labels.componentHash, state: component.state })),
  );
  switch (verdict.kind) {
    case "run":
      return undefined;
    case "succeeded":
      return {
        status: "succeeded",
        placement: command === undefined || command.operation === "teardown" ? null : placementOf(command, entry.wanted, applied),
        steps: [...entry.steps, { name: `after the restart: ${verdict.because}`.slice(0, 200), ok: true, ms: 0 }],
      };
    case "interrupted":
      return {
        status: "failed",
        errorCode: "interrupted",
        error: `the agent was restarted in the middle: ${verdict.because}`.slice(0, 2_000),
        // Nothing is stopped behind the operator's back, so the row must say what it left running.
        steps: [...entry.steps, ...seen.filter(isAlive).map(({ component }) => ({
          name: `left running: ${component.labels.component} of generation ${component.labels.generation}`,
          ok: false,
          error: `found ${component.state} after the restart`,
          ms: 0,
        }))],
      };
  }
}

/** Something it wanted is still on its way up: looking again shortly tells more than judging now. */
export const isUndecided = (entry: JobEntry, seen: readonly Seen[]): boolean =>
  entry.begun && entry.operation !== "teardown" && seen.some(({ component }) => component.state === "starting" && entry.wanted[component.labels.component] === component.labels.componentHash);
