/**
 * In what a placement differs from what is desired, in words: one account for repair, events, the drift list and
 * explain. A restart by policy, a failing probe and a host that cannot look are no differences: the first two are looked
 * after where they happen, and of the last nothing is known.
 */
import type { ReportedComponent } from "../agent/observed.ts";
import type { Operation } from "../lifecycle/states.ts";
import type { ObservedRecord, PlacementRecord } from "../ports/records.ts";

export interface Difference {
  /** The operation that puts it right. */
  readonly operation: Operation;
  /** Never empty: the whole placement's first, then each component's. */
  readonly differences: readonly string[];
}

/** For one line; the list itself is whole. */
const MAX_TOLD = 5;

/** undefined = as desired, as far as it can be seen. Only for placements without an open row. */
export function differencesOf(placement: Pick<PlacementRecord, "desired" | "generation">, observed: Pick<ObservedRecord, "state" | "generation" | "components"> | undefined): Difference | undefined {
  if (observed === undefined || observed.state === "unknown") return undefined;
  const { state, components } = observed;
  switch (placement.desired) {
    case "absent":
      return { operation: "teardown", differences: [state === "absent" ? "the teardown was not recorded as done" : `it should be gone and is ${state}`] };
    case "stopped": {
      if (state !== "running" && state !== "degraded") return undefined;
      return { operation: "deploy", differences: [`it should be stopped and is ${state}`] };
    }
    case "running": {
      const parts = components.flatMap(componentDifferences);
      if (state === "failed" || state === "stopped" || state === "absent") return { operation: "deploy", differences: [`it should be running and is ${state}`, ...parts] };
      if (state === "running" && observed.generation < placement.generation) return { operation: "deploy", differences: [`generation ${observed.generation} runs, ${placement.generation} is wanted`] };
      return state === "degraded" && parts.length > 0 ? { operation: "deploy", differences: parts } : undefined;
    }
  }
}

function componentDifferences({ name, state, error, drift = [] }: ReportedComponent): string[] {
  const dead = state === "failed" || state === "stopped" ? [`${name} is ${state}${error === undefined ? "" : `: ${error}`}`] : [];
  return [...dead, ...drift.map((what) => `${name}: ${what}`)];
}

export function differenceWords({ differences }: Difference): string {
  const rest = differences.length - MAX_TOLD;
  return `${differences.slice(0, MAX_TOLD).join("; ")}${rest > 0 ? `; and ${rest} more` : ""}`;
}
