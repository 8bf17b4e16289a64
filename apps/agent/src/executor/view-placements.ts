/**
 * What this host says of its placements: what the drivers see, held against what the last successful job asked for.
 * A component that runs under another hash than the applied one is shown, but never counted as running as wanted.
 */
import { aggregateState, instant, toIso, type ComponentState, type ObservedState, type ReportedComponent, type ReportedPlacement } from "@skep/core";
import { MAX_PLACEMENTS } from "@skep/protocol";
import type { JobEntry, PlacementEntry } from "../journal/records.ts";
import type { JournalState } from "../journal/state.ts";
import { isAlive, type Seen } from "./plan.ts";

/** Said of something whose spec this host does not know. */
const UNKNOWN_HASH = "0".repeat(64);

export function viewPlacements(state: JournalState, seen: readonly Seen[]): ReportedPlacement[] {
  const byPlacement = new Map<string, Seen[]>();
  for (const id of state.placements.keys()) byPlacement.set(id, []);
  for (const item of seen) {
    const id = item.component.labels.placementId;
    byPlacement.set(id, [...(byPlacement.get(id) ?? []), item]);
  }
  const working = new Map([...state.jobs.values()].filter((job) => job.status === "running").map((job) => [job.placementId, job]));
  for (const id of working.keys()) if (!byPlacement.has(id)) byPlacement.set(id, []);
  return [...byPlacement].slice(0, MAX_PLACEMENTS).map(([id, items]) => viewOne(id, items, state, working.get(id)));
}

function viewOne(id: string, items: readonly Seen[], state: JournalState, job: JobEntry | undefined): ReportedPlacement {
  const applied = state.placements.get(id);
  const newest = [...items].sort((a, b) => b.component.labels.generation - a.component.labels.generation)[0]?.component.labels;
  const command = job?.command;
  const specHash = applied?.specHash ?? (command !== undefined && command.operation !== "teardown" ? command.spec_hash : UNKNOWN_HASH);
  const components = [...items.map(reportOf), ...missing(items, applied)];
  return {
    placement_id: id,
    deployment: applied?.deployment ?? newest?.deployment ?? job?.deployment ?? "unknown",
    epoch: applied?.epoch ?? newest?.epoch ?? job?.epoch ?? 0,
    generation: applied?.generation ?? newest?.generation ?? job?.generation ?? 0,
    spec_hash: specHash,
    state: job !== undefined ? (job.operation === "teardown" ? "tearing_down" : "deploying") : stateOf(items, applied),
    components: components.slice(0, 100),
  };
}

function stateOf(items: readonly Seen[], applied: PlacementEntry | undefined): ObservedState {
  if (applied === undefined) {
    if (items.length === 0) return "absent";
    // Leftovers of a job that did not succeed: whatever lives is not a deployment as anybody wanted it.
    return items.some(isAlive) ? "degraded" : "failed";
  }
  const states: ComponentState[] = items.filter((item) => !isLeftover(item, applied)).map((item) => (isWrong(item, applied) ? "unhealthy" : item.component.state));
  return aggregateState(applied.spec.components.length, states, applied.desired);
}

const isLeftover = (item: Seen, applied: PlacementEntry): boolean => !isAlive(item) && applied.hashes[item.component.labels.component] === undefined;
const isWrong = (item: Seen, applied: PlacementEntry): boolean => isAlive(item) && applied.hashes[item.component.labels.component] !== item.component.labels.componentHash;

function missing(items: readonly Seen[], applied: PlacementEntry | undefined): ReportedComponent[] {
  if (applied === undefined || applied.desired === "stopped") return [];
  const present = new Set(items.map((item) => item.component.labels.component));
  return applied.spec.components
    .filter((component) => !present.has(component.name))
    .map((component) => ({ name: component.name, state: "failed", restarts: 0, error: "it is not on this host any more" }));
}

function reportOf({ component }: Seen): ReportedComponent {
  return {
    name: component.labels.component,
    state: component.state,
    restarts: component.restarts,
    since: toIso(instant(component.since)),
    ...(Object.keys(component.ports).length === 0 ? {} : { ports: component.ports }),
    ...(component.error === undefined ? {} : { error: component.error.slice(0, 2_000) }),
  };
}
