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
  const asked = command === undefined || command.operation === "teardown" ? undefined : command;
  const verdict = decideSettle(
    {
      operation: entry.operation, begun: entry.begun, desired: asked?.desired ?? "running", wanted: entry.wanted,
      only: asked?.operation === "mutate" ? asked.components : undefined,
      toCompletion: asked?.spec.components.filter((component) => component.run_to_completion === true).map((component) => component.name),
    },
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

/** How long what is starting is waited for, at least: the moment a process takes to come up. */
const LEAST_PATIENCE_MS = 3_000;
/** At most. Longer: a host is mute after a restart because one service is slow; shorter: slow probes read as interrupted. */
const PATIENCE_CAP_MS = 30_000;

/**
 * How long something that the job wanted, and that is still on its way up, is worth waiting for; 0 = nothing is. Probes
 * begin anew with the agent, so the slowest of them gets the time it may take to say no.
 */
export function patienceMs(entry: JobEntry, seen: readonly Seen[]): number {
  const { command } = entry;
  if (!entry.begun || command === undefined || command.operation === "teardown") return 0;
  const times = command.spec.components.flatMap((component) => {
    const onItsWay = (state: string): boolean => state === "starting" || (component.run_to_completion === true && state === "running");
    if (!seen.some((item) => item.component.labels.component === component.name && item.component.labels.componentHash === entry.wanted[component.name] && onItsWay(item.component.state))) return [];
    const { probe } = component;
    return [probe === undefined ? LEAST_PATIENCE_MS : probe.failure_threshold * probe.interval_ms + probe.timeout_ms];
  });
  return times.length === 0 ? 0 : Math.min(PATIENCE_CAP_MS, Math.max(LEAST_PATIENCE_MS, ...times));
}
