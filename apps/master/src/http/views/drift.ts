/** Drift and orphans as the API shows them. */
import { instant, toIso, type DriftAssessment, type OrphanRecord, type ReconcileCase } from "@skep/core";
import type { DriftJson, OrphanJson } from "@skep/protocol";
import { timeOrNull } from "./time.ts";

export function driftJson({ placement, observed, hostName }: ReconcileCase, drift: DriftAssessment): DriftJson {
  return {
    placement_id: placement.id,
    deployment_id: placement.deploymentId,
    deployment: placement.deployment,
    host_id: placement.hostId,
    host: hostName,
    wanted: { state: placement.desired, generation: placement.generation },
    observed: { state: observed!.state, generation: observed!.generation },
    differences: [...drift.differences],
    since: toIso(observed!.changedAt),
    action: drift.action,
    repair_at: timeOrNull(drift.repairAt),
    because: drift.because,
  };
}

export function orphanJson({ hostId, hostName, reportedAt, placement }: OrphanRecord): OrphanJson {
  // The host's own clock, as everything a component says of its times.
  const times = placement.components.map((component) => Date.parse(component.since ?? "")).filter((at) => !Number.isNaN(at));
  return {
    host_id: hostId,
    host: hostName,
    placement_id: placement.placement_id,
    deployment: placement.deployment,
    generation: placement.generation,
    state: placement.state,
    components: placement.components.map((component) => `${component.name} (${component.state})`),
    since: toIso(times.length === 0 ? reportedAt : instant(Math.min(...times))),
  };
}
