/** What a change would do, asked of the hosts themselves where they can be asked. Writes nothing anywhere. */
import { SkepError, diffSpec, uuidv7, type DeploymentRecord, type PlacementView, type PlannedPlacement, type Rejection, type Spec } from "@skep/core";
import type { DeployCommand, operationPlan } from "@skep/protocol";
import type { z } from "zod";
import type { ControlDeps } from "../ports.ts";
import { policyJson } from "../http/views/rollout.ts";
import { isDeferred, planWaves, type RolloutPlan } from "./start-rollout.ts";

type HostPlan = z.infer<typeof operationPlan>["hosts"][number];

export async function planDryRun(
  deps: ControlDeps,
  change: { deployment: DeploymentRecord; generation: number; spec: Spec | undefined; placements: readonly PlannedPlacement[]; views: readonly PlacementView[]; rejected: readonly Rejection[]; warnings: readonly string[]; before: Spec | undefined; rollout: RolloutPlan | undefined },
): Promise<z.infer<typeof operationPlan>> {
  const hosts = await Promise.all(change.placements.map((planned) => planFor(planned)));
  return {
    status: "dry_run",
    name: change.deployment.name,
    generation: change.generation,
    hosts,
    rejected: change.rejected.map((item) => ({ ...item })),
    rollout: change.rollout === undefined ? null : {
      policy: policyJson(change.rollout.policy),
      waves: planWaves(change.rollout.policy, change.placements, change.views).map((wave) => wave.map((view) => ({ host_id: view.placement.hostId, host: view.hostName }))),
    },
    changes: change.spec === undefined || change.before === undefined ? [] : diffSpec(change.before, change.spec).map(({ path, from, to }) => ({ path, from: from ?? null, to: to ?? null })),
    warnings: [...change.warnings],
  };

  async function planFor(planned: PlannedPlacement): Promise<HostPlan> {
    const host = await deps.store.findHost(planned.hostId);
    const name = host?.name ?? planned.hostId;
    if (host === undefined) return { host_id: planned.hostId, host: name, plan: [], warnings: ["the host is gone"] };
    if (planned.desired === "absent" || change.spec === undefined) {
      return { host_id: planned.hostId, host: name, plan: [], warnings: [change.rollout?.defers === true && isDeferred(planned) ? "everything of it would be torn down, once the rollout has passed everywhere else" : "everything of it would be torn down"] };
    }
    const command: DeployCommand = {
      operation: "deploy",
      job_id: uuidv7(deps.clock.now(), deps.rng),
      placement_id: planned.existing?.id ?? uuidv7(deps.clock.now(), deps.rng),
      deployment: change.deployment.name,
      epoch: planned.existing?.epoch ?? 1,
      generation: change.generation,
      ...(host.sessionEpoch === 0 ? {} : { session_epoch: host.sessionEpoch }),
      timeout_s: 60,
      spec: structuredClone(change.spec) as DeployCommand["spec"],
      spec_hash: deps.hash(change.spec),
      desired: planned.desired === "stopped" ? "stopped" : "running",
      dry_run: true,
    };
    try {
      const reply = await deps.agents.dryRun(host, command);
      return { host_id: planned.hostId, host: name, plan: reply.plan, warnings: reply.warnings };
    } catch (error) {
      // A host that cannot be asked makes the plan incomplete, and the plan says so; a refusal refuses the dry run.
      if (!(error instanceof SkepError) || !error.retryable) throw error;
      return { host_id: planned.hostId, host: name, plan: [], warnings: [`the host could not be asked (${error.code}): ${error.detail}`] };
    }
  }
}
