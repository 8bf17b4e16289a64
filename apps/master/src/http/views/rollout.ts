/** Rollouts as the API shows them. */
import { countWaves, gated, inWaves, toIso, type RolloutPolicy, type RolloutRecord } from "@skep/core";
import type { RolloutJson } from "@skep/protocol";
import { timeOrNull } from "./time.ts";

export const policyJson = (policy: RolloutPolicy): RolloutJson["policy"] => ({
  max_parallel: policy.maxParallel, min_healthy_s: policy.minHealthyS, progress_deadline_s: policy.progressDeadlineS, canary: policy.canary,
  auto_promote: policy.autoPromote, auto_rollback: policy.autoRollback,
});

export function rolloutJson(rollout: RolloutRecord): RolloutJson {
  const members = gated(rollout.members);
  const count = (state: (typeof members)[number]["state"]): number => members.filter((member) => member.state === state).length;
  return {
    id: rollout.id,
    deployment_id: rollout.deploymentId,
    deployment: rollout.deployment,
    action: rollout.action,
    status: rollout.status,
    generation: rollout.generation,
    base_generation: rollout.baseGeneration ?? null,
    rollback_generation: rollout.rollbackGeneration ?? null,
    policy: policyJson(rollout.policy),
    components: rollout.components === undefined ? null : [...rollout.components],
    wave: rollout.wave,
    waves: Math.max(rollout.wave, countWaves(rollout.policy, inWaves(rollout.members).length)),
    counts: {
      total: members.length, waiting: count("waiting"), open: count("open"), passed: count("passed"), refused: count("refused"), skipped: count("skipped"), leaving: rollout.members.length - members.length,
      taken_back: rollout.members.filter((member) => member.rollback === "done").length, left: rollout.members.filter((member) => member.rollback === "left").length,
    },
    because: rollout.because,
    placements: rollout.members.map((member) => ({
      placement_id: member.placementId, host_id: member.hostId, host: member.host, state: member.state, arriving: member.arriving === true, wave: member.wave ?? null, lifecycle_id: member.rowId ?? null,
      rollback: member.rollback ?? null, rollback_lifecycle_id: member.rollbackRowId ?? null, because: member.because ?? null,
    })),
    created_at: toIso(rollout.createdAt),
    updated_at: toIso(rollout.updatedAt),
    completed_at: timeOrNull(rollout.completedAt),
  };
}
