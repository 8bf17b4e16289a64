/**
 * What a person sees of a placement and of a deployment: computed from what is desired, what was observed, whether
 * the host can be believed right now, and the open row. Nothing here is ever written by an operator (style 4).
 */
import type { ObservedState } from "../agent/observed.ts";
import type { HostStatus } from "../liveness/decide-host.ts";
import type { LifecycleRow } from "../lifecycle/row.ts";
import type { DeploymentStatus, DesiredState, ObservedRecord, PlacementRecord } from "../ports/records.ts";

export interface PlacementFacts {
  readonly placement: Pick<PlacementRecord, "desired" | "generation" | "removedAt">;
  readonly observed: Pick<ObservedRecord, "state" | "generation"> | undefined;
  readonly hostStatus: HostStatus;
  readonly openRow: Pick<LifecycleRow, "operation" | "status" | "phase"> | undefined;
}

export function visiblePlacement({ placement, observed, hostStatus, openRow }: PlacementFacts): { state: ObservedState; because: string } {
  if (placement.removedAt !== undefined) return { state: "absent", because: "torn down" };
  if (hostStatus === "unreachable") return { state: "unknown", because: "its host is unreachable: what runs there is unknown" };
  if (openRow !== undefined) {
    if (openRow.status === "lost") return { state: "unknown", because: `the outcome of its ${openRow.operation} is unknown` };
    const at = `${openRow.operation} is ${openRow.status} (${openRow.phase})`;
    if (openRow.operation === "teardown") return { state: "tearing_down", because: at };
    if (openRow.status === "pending" && observed !== undefined && observed.state === "running") return { state: "running", because: `${at}; the earlier generation runs` };
    return { state: openRow.status === "pending" ? "pending" : "deploying", because: at };
  }
  if (observed === undefined) return { state: "unknown", because: "its host has not reported it yet" };
  if (placement.desired === "absent" && observed.state !== "absent" && observed.state !== "unknown") return { state: "teardown_failed", because: `it should be gone and is ${observed.state}` };
  if (observed.generation < placement.generation && observed.state === "running") {
    return { state: "degraded", because: `generation ${observed.generation} runs, generation ${placement.generation} is wanted` };
  }
  if (observed.state === "unknown") return { state: "unknown", because: "its host cannot look at what runs it" };
  return { state: observed.state, because: `its host reports it ${observed.state}` };
}

/** The deployment's word, from its placements that are not removed. `rolling`: a rollout is open, so more is to come even where no row is. */
export function deploymentStatus(desired: DesiredState, placements: readonly PlacementFacts[], rolling = false): DeploymentStatus {
  const present = placements.filter((facts) => facts.placement.removedAt === undefined);
  const open = present.filter((facts) => facts.openRow !== undefined);
  if (desired === "absent") {
    if (present.length === 0) return "torn_down";
    return open.length > 0 ? "tearing_down" : "teardown_failed";
  }
  if (rolling || open.some((facts) => facts.openRow?.status !== "lost")) return "deploying";
  const states = present.map((facts) => visiblePlacement(facts).state);
  const good = states.filter((state) => state === desired).length;
  if (good === states.length && states.length > 0) return "active";
  if (states.some((state) => state === "running" || state === "degraded" || state === "unknown")) return "degraded";
  return states.every((state) => state === "pending") ? "pending" : "failed";
}
