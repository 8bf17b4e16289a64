/** Deployments and placements as the API shows them: desired beside observed, and the word a person reads first. */
import { toIso, visiblePlacement, type DeploymentRecord, type GenerationRecord, type ObservedRecord, type PlacementView, type RolloutRecord } from "@skep/core";
import type { deploymentDetail, DeploymentJson, observedView, PlacementJson } from "@skep/protocol";
import type { z } from "zod";
import { rolloutJson } from "./rollout.ts";
import { timeOrNull } from "./time.ts";

export const deploymentJson = (deployment: DeploymentRecord): DeploymentJson => ({
  id: deployment.id,
  name: deployment.name,
  status: deployment.status,
  desired: deployment.desired,
  generation: deployment.generation,
  reconcile: deployment.reconcile,
  placement: {
    ...(deployment.placement.strategy === undefined ? {} : { strategy: deployment.placement.strategy }),
    ...(deployment.placement.hosts === undefined ? {} : { hosts: [...deployment.placement.hosts] }),
    ...(deployment.placement.replicas === undefined ? {} : { replicas: deployment.placement.replicas }),
    ...(deployment.placement.constraints === undefined ? {} : { constraints: Object.fromEntries(Object.entries(deployment.placement.constraints).map(([key, value]) => [key, typeof value === "string" ? value : [...value]])) }),
  },
  failover: { fallbacks: [...(deployment.failover.fallbacks ?? [])] },
  last_error: deployment.lastError ?? null,
  created_at: toIso(deployment.createdAt),
  updated_at: toIso(deployment.updatedAt),
  deleted_at: timeOrNull(deployment.deletedAt),
});

export function placementJson(view: PlacementView): PlacementJson {
  const { placement, observed, openRow } = view;
  const { state, because } = visiblePlacement(view);
  return {
    id: placement.id,
    deployment_id: placement.deploymentId,
    deployment: placement.deployment,
    host_id: placement.hostId,
    host: view.hostName,
    desired: placement.desired,
    epoch: placement.epoch,
    generation: placement.generation,
    applied_generation: placement.appliedGeneration ?? null,
    state,
    because,
    observed: observed === undefined ? null : observedJson(observed),
    open_lifecycle_id: openRow?.id ?? null,
    removed_at: timeOrNull(placement.removedAt),
  };
}

const observedJson = (observed: ObservedRecord): z.input<typeof observedView> => ({
  state: observed.state,
  generation: observed.generation,
  observed_at: toIso(observed.observedAt),
  components: observed.components.map((component) => ({
    name: component.name,
    state: component.state,
    restarts: component.restarts,
    ports: component.ports === undefined ? null : { ...component.ports },
    since: component.since ?? null,
    error: component.error ?? null,
    ...(component.drift === undefined || component.drift.length === 0 ? {} : { drift: [...component.drift] }),
  })),
});

/** How far the present generation has come, placement by placement. */
export function countOutcomes(deployment: DeploymentRecord, views: readonly PlacementView[]): { succeeded: number; failed: number; pending: number } {
  const counts = { succeeded: 0, failed: 0, pending: 0 };
  for (const { placement, openRow } of views) {
    const done = deployment.desired === "absent" ? placement.removedAt !== undefined : placement.appliedGeneration === placement.generation;
    counts[openRow !== undefined ? "pending" : done ? "succeeded" : "failed"] += 1;
  }
  return counts;
}

export const detailJson = (
  deployment: DeploymentRecord,
  present: GenerationRecord | undefined,
  generations: readonly Omit<GenerationRecord, "spec">[],
  views: readonly PlacementView[],
  rollout: RolloutRecord | undefined,
): z.input<typeof deploymentDetail> => ({
  ...deploymentJson(deployment),
  spec: present?.spec ?? null,
  spec_hash: present?.specHash ?? "",
  placements: views.map(placementJson),
  counts: countOutcomes(deployment, views),
  rollout: rollout === undefined ? null : rolloutJson(rollout),
  generations: generations.map((item) => ({ generation: item.generation, spec_hash: item.specHash, created_at: toIso(item.createdAt) })),
});
