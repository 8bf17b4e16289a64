/**
 * What this host says of its placements: what the drivers see, held against what the last successful job asked for.
 * A component that runs under another hash than the applied one is shown, but never counted as running as wanted; what
 * a driver that cannot look may run is unknown, and never left out, because left out reads as gone.
 */
import { aggregateState, instant, toIso, type ComponentState, type ObservedState, type ReportedComponent, type ReportedPlacement } from "@skep/core";
import { MAX_PLACEMENTS } from "@skep/protocol";
import type { JobEntry, PlacementEntry } from "../journal/records.ts";
import type { JournalState } from "../journal/state.ts";
import type { Sight } from "./eyes.ts";
import { hasDrifted, isAlive, type Seen } from "./plan.ts";

/** Said of something whose spec this host does not know. */
const UNKNOWN_HASH = "0".repeat(64);
/** The wire's limits. */
const MAX_DRIFT = 20;
const MAX_DRIFT_CHARS = 300;

export function viewPlacements(state: JournalState, { seen, blind }: Sight): ReportedPlacement[] {
  const byPlacement = new Map<string, Seen[]>();
  for (const id of state.placements.keys()) byPlacement.set(id, []);
  for (const item of seen) {
    const id = item.component.labels.placementId;
    byPlacement.set(id, [...(byPlacement.get(id) ?? []), item]);
  }
  const working = new Map([...state.jobs.values()].filter((job) => job.status === "running").map((job) => [job.placementId, job]));
  for (const id of working.keys()) if (!byPlacement.has(id)) byPlacement.set(id, []);
  const unseen = new Set(blind.map((one) => one.driver.name));
  if (unseen.size > 0) for (const id of mayBeHere(state)) if (!byPlacement.has(id)) byPlacement.set(id, []);
  return [...byPlacement].slice(0, MAX_PLACEMENTS).map(([id, items]) => viewOne(id, items, state, working.get(id), unseen));
}

/** Whatever was ever taken here and is not known to be gone: a failed job may have left something that cannot be seen now. */
function mayBeHere(state: JournalState): string[] {
  const newest = new Map<string, JobEntry>();
  for (const job of state.jobs.values()) if (job.begun && job.opSeq > (newest.get(job.placementId)?.opSeq ?? -1)) newest.set(job.placementId, job);
  return [...state.floors.keys()].filter((id) => {
    const last = newest.get(id);
    return last === undefined || last.operation !== "teardown" || last.status !== "succeeded";
  });
}

function viewOne(id: string, items: readonly Seen[], state: JournalState, job: JobEntry | undefined, unseen: ReadonlySet<string>): ReportedPlacement {
  const applied = state.placements.get(id);
  const newest = [...items].sort((a, b) => b.component.labels.generation - a.component.labels.generation)[0]?.component.labels;
  const floor = state.floors.get(id);
  const command = job?.command;
  const asked = command !== undefined && command.operation !== "teardown" ? command : undefined;
  const driver = applied?.spec.driver ?? asked?.spec.driver;
  // Nobody knows what ran it: then any driver that cannot look may.
  const blind = driver === undefined ? unseen.size > 0 && items.length === 0 : unseen.has(driver);
  const components = [...items.map((item) => reportOf(item, applied)), ...(blind ? [] : missing(items, applied))];
  return {
    placement_id: id,
    deployment: applied?.deployment ?? newest?.deployment ?? job?.deployment ?? [...state.jobs.values()].find((one) => one.placementId === id)?.deployment ?? "unknown",
    epoch: applied?.epoch ?? newest?.epoch ?? job?.epoch ?? floor?.epoch ?? 0,
    generation: applied?.generation ?? newest?.generation ?? job?.generation ?? floor?.generation ?? 0,
    spec_hash: applied?.specHash ?? asked?.spec_hash ?? UNKNOWN_HASH,
    state: job !== undefined ? (job.operation === "teardown" ? "tearing_down" : "deploying") : blind ? "unknown" : stateOf(items, applied),
    components: components.slice(0, 100),
  };
}

function stateOf(items: readonly Seen[], applied: PlacementEntry | undefined): ObservedState {
  if (applied === undefined) {
    if (items.length === 0) return "absent";
    // Leftovers of a job that did not succeed: whatever lives is not a deployment as anybody wanted it.
    return items.some(isAlive) ? "degraded" : "failed";
  }
  const states: ComponentState[] = items.filter((item) => isAlive(item) || isApplied(item, applied)).map((item) => (isAlive(item) && !isApplied(item, applied) ? "unhealthy" : item.component.state));
  const state = aggregateState(applied.spec.components.length, states, applied.desired);
  return state === "running" && items.some((item) => isAlive(item) && hasDrifted(item)) ? "degraded" : state;
}

/** Started as the last successful job wanted it. Dead remains of anything else count for nothing. */
const isApplied = (item: Seen, applied: PlacementEntry): boolean => applied.hashes[item.component.labels.component] === item.component.labels.componentHash;

function missing(items: readonly Seen[], applied: PlacementEntry | undefined): ReportedComponent[] {
  if (applied === undefined || applied.desired === "stopped") return [];
  const present = new Set(items.map((item) => item.component.labels.component));
  return applied.spec.components
    .filter((component) => !present.has(component.name))
    .map((component) => ({ name: component.name, state: "failed", restarts: 0, error: "it is not on this host any more" }));
}

function reportOf(item: Seen, applied: PlacementEntry | undefined): ReportedComponent {
  const { component } = item;
  const { labels } = component;
  const foreign = applied !== undefined && isAlive(item) && !isApplied(item, applied);
  const drift = [...(foreign ? [`generation ${labels.generation} of it runs, which is not what was applied`] : []), ...(component.drift ?? [])];
  return {
    name: labels.component,
    state: component.state,
    restarts: component.restarts,
    since: toIso(instant(component.since)),
    ...(Object.keys(component.ports).length === 0 ? {} : { ports: component.ports }),
    ...(component.error === undefined ? {} : { error: component.error.slice(0, 2_000) }),
    ...(drift.length === 0 ? {} : { drift: drift.slice(0, MAX_DRIFT).map((text) => text.slice(0, MAX_DRIFT_CHARS)) }),
  };
}
