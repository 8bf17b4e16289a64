/**
 * The operator's operations on deployments. Each one locks the deployment, plans in core, and writes desired state
 * and lifecycle rows in one transaction; the 202 follows the commit. Nothing is dispatched from here: the
 * dispatcher finds committed rows, so a crash after the commit loses nothing.
 */
import {
  SkepError, canonicalJson, leftBehind, networkTrouble, patchSpec, place, planDeploy, planMutate, planRedeploy, planTeardown, uuidv7,
  type ChangePlan, type DeploymentId, type DeploymentRecord, type GenerationRecord, type PlacementView, type PlannedPlacement, type RolloutAction, type Spec, type Tx,
} from "@skep/core";
import { specSchema, type RolloutRequest } from "@skep/protocol";
import type { ControlDeps, OperatorContext, Reply } from "../ports.ts";
import { accept } from "./accept.ts";
import type { AcceptedOrPlan, DeploymentControl } from "./control.ts";
import { planDryRun } from "./dry-run.ts";
import { checkFallbacks, failoverOf } from "./failover.ts";
import { requireNoMove } from "./move-guard.ts";
import { candidates, misplaced, namedHosts, requireAllowed } from "./scheduling.ts";
import { isDeferred, isStaying, mayOverlap, policyOf, wishOf } from "./start-rollout.ts";
import { writeChange, type Change } from "./write-change.ts";

export function createDeploymentControl(deps: ControlDeps, wake: () => void): DeploymentControl {
  const newId = (): string => uuidv7(deps.clock.now(), deps.rng);

  const run = async (context: OperatorContext, dryRun: boolean, prepare: (tx: Tx) => Promise<Change>): Promise<Reply<AcceptedOrPlan>> => {
    if (dryRun) {
      // A dry run reads in a transaction that is thrown away by never writing; it leaves no row, no key, no trace.
      const change = await deps.store.transaction(prepare);
      const body = await planDryRun(deps, change);
      return { status: 200, body, replayed: false };
    }
    const reply = await accept(deps, context, async (tx) => {
      const change = await prepare(tx);
      return { status: 202, body: await writeChange(tx, deps, change, context) };
    });
    wake();
    return reply;
  };

  /** The present deployment with its lock, placements and spec. */
  const open = async (tx: Tx, ref: string): Promise<{ deployment: DeploymentRecord; views: readonly PlacementView[]; present: GenerationRecord | undefined }> => {
    const found = await tx.findDeployment(ref);
    if (found === undefined) throw new SkepError("deployment_not_found", `no deployment ${ref}`);
    const deployment = (await tx.lockDeployment(found.id)) ?? found;
    const views = await tx.listPlacements({ deploymentId: deployment.id });
    return { deployment, views, present: await latestSpec(tx, deployment) };
  };

  const settled = (plan: ChangePlan): readonly PlannedPlacement[] => {
    if (plan.kind === "plan") return plan.placements;
    const words = plan.rows.slice(0, 5).map((row) => `${row.id} (${row.operation}, ${row.status})`);
    throw new SkepError("operation_in_progress", `open: ${words.join(", ")}${plan.rows.length > 5 ? ` and ${plan.rows.length - 5} more` : ""}`);
  };

  const inPlace = async (
    tx: Tx, ref: string, action: RolloutAction, request: { readonly timeout_s?: number | undefined; readonly rollout?: RolloutRequest | undefined },
    next: (present: GenerationRecord, deployment: DeploymentRecord) => Promise<{ spec: Spec; desired: "running" | "stopped"; full: boolean; components?: readonly string[] | undefined }>,
  ): Promise<Change> => {
    const { deployment, views, present } = await open(tx, ref);
    if (present === undefined || deployment.desired === "absent") throw new SkepError("nothing_to_do", `${deployment.name} is ${deployment.status}`);
    const { spec: wanted, desired, full, components } = await next(present, deployment);
    await requireNoMove(tx, deployment);
    const spec = parsedSpec(withOrder(wanted, request.rollout));
    await requireAllowed(tx, spec, views);
    const strays = await misplaced(tx, deployment.placement.constraints, views);
    const [newest] = await tx.listRollouts({ deploymentId: deployment.id, newestFirst: true, limit: 1 });
    const behind = leftBehind(newest, deployment.generation);
    // Where nothing else is left of it (what was to replace it was dropped), it is what is changed: a change in place is no teardown.
    const leaving = views.some(({ placement }) => placement.desired !== "absent" && !behind.has(placement.id)) ? behind : undefined;
    const plan = full ? planRedeploy(views, desired, leaving) : planMutate(views, desired, leaving);
    return {
      action, deployment, isNew: false, generation: deployment.generation + 1, spec, desired, placement: deployment.placement,
      reconcile: deployment.reconcile, placements: settled(plan), views, rejected: [], timeoutS: request.timeout_s,
      warnings: strays.map(({ host, because }) => `it stays on ${host}, which no longer meets its constraints: ${because}; skep deploy -f FILE --replace places it anew`),
      before: present.spec, wish: deployment.rollout, failover: deployment.failover,
      rollout: views.every((view) => view.placement.desired === "absent") ? undefined : {
        action, whole: full, components, patchedGeneration: present.generation,
        policy: policyOf(action, deployment.desired, desired, deployment.rollout, wishOf(request.rollout)), defers: true,
      },
    };
  };

  return {
    deploy: (request, context) =>
      run(context, request.dry_run, async (tx) => {
        const found = await tx.findDeployment(request.name);
        if (found !== undefined && found.name === request.name && !request.replace) throw new SkepError("deployment_exists", `${request.name} is ${found.status}; use mutate, or replace`);
        const held = found === undefined ? undefined : await tx.lockDeployment(found.id);
        // What ended while we waited for its lock stays ended, and a name that is another deployment's id means no other:
        // both are a new deployment, or its placements would run under a row that says torn_down.
        const locked = held?.deletedAt === undefined && held?.name === request.name ? held : undefined;
        const views = locked === undefined ? [] : await tx.listPlacements({ deploymentId: locked.id });
        if (locked !== undefined) await requireNoMove(tx, locked);
        const named = await namedHosts(tx, request.placement.hosts);
        const { strategy, replicas, constraints } = request.placement;
        const outcome = place(await candidates(tx, views, { circuitOf: (host) => deps.agents.circuit(host).state }), { strategy, named, replicas, constraints, spec: request.spec });
        if (outcome.kind === "no_eligible_host") {
          throw new SkepError("no_eligible_host", `${outcome.wanted} wanted; ${outcome.rejected.map((r) => `${r.host}: ${r.because}`).join("; ") || "no hosts are enrolled"}`, {
            errors: outcome.rejected.map((r) => ({ pointer: `/hosts/${r.host}`, message: r.because })),
          });
        }
        const generation = (locked?.generation ?? 0) + 1;
        const deployment: DeploymentRecord = locked ?? blankDeployment(newId() as DeploymentId, request.name);
        const failover = failoverOf(request.failover);
        const warnings = [
          ...(await checkFallbacks(tx, deployment, failover)),
          ...outcome.hosts.flatMap((host) => {
            const trouble = networkTrouble(host);
            return trouble === undefined ? [] : [`${host.name}: ${trouble}; what is to be done there is offered with its next heartbeat`];
          }),
        ];
        const placements = settled(planDeploy(views, outcome.hosts.map((host) => host.id), "running"));
        const wish = wishOf(request.rollout);
        const before = locked === undefined ? undefined : await latestSpec(tx, locked);
        const spec = parsedSpec(withOrder(request.spec, request.rollout));
        const defers = await mayOverlap(tx, before === undefined ? [spec] : [before.spec, spec], placements);
        if (!defers) warnings.push(...departures(placements, views));
        return {
          action: "deploy", deployment, isNew: locked === undefined, generation, spec, desired: "running",
          placement: request.placement, reconcile: request.reconcile, views, rejected: outcome.rejected, timeoutS: request.timeout_s, warnings,
          placements, wish, failover, before: before?.spec,
          rollout: placements.some(isStaying) || (defers && placements.some(isDeferred))
            ? { action: "deploy", whole: true, components: undefined, patchedGeneration: before?.generation, policy: policyOf("deploy", deployment.desired, "running", {}, wish), defers }
            : undefined,
        };
      }),
    mutate: (ref, request, context) =>
      run(context, request.dry_run, (tx) =>
        inPlace(tx, ref, "mutate", request, async (present, deployment) => {
          const patched = patchSpec(present.spec, request);
          if (patched.kind === "unknown_component") {
            throw new SkepError("unknown_component", `no component ${patched.names.join(", ")}; there are: ${present.spec.components.map((c) => c.name).join(", ")}`);
          }
          const desired = request.desired ?? (deployment.desired === "stopped" ? "stopped" : "running");
          // A change of named components touches only them; one of everything has no such bound (B13).
          const bounded = request.components !== undefined && request.env === undefined && request.desired === undefined;
          return { spec: patched.spec, desired, full: false, components: bounded ? Object.keys(request.components ?? {}) : undefined };
        })),
    redeploy: (ref, request, context) =>
      run(context, false, (tx) => inPlace(tx, ref, "redeploy", request, async (present, deployment) => ({ spec: present.spec, desired: deployment.desired === "stopped" ? "stopped" : "running", full: true }))),
    rollback: (ref, request, context) =>
      run(context, false, (tx) =>
        inPlace(tx, ref, "rollback", request, async (_present, deployment) => {
          const earlier = await tx.findGeneration(deployment.id, request.generation);
          if (earlier === undefined) throw new SkepError("generation_not_found", `${deployment.name} has no generation ${request.generation} with a spec`);
          return { spec: earlier.spec, desired: deployment.desired === "stopped" ? "stopped" : "running", full: true };
        })),
    teardown: (ref, request, context) =>
      run(context, false, async (tx) => {
        const { deployment, views, present } = await open(tx, ref);
        if (deployment.deletedAt !== undefined) throw new SkepError("nothing_to_do", `${deployment.name} is torn down`);
        const remaining = request.force ? await dropUnreachable(tx, views, context) : views;
        return {
          action: "teardown", deployment, isNew: false, generation: deployment.generation + 1, spec: undefined, desired: "absent",
          placement: deployment.placement, reconcile: deployment.reconcile, views: remaining, rejected: [], timeoutS: request.timeout_s,
          options: request.volumes ? { removeVolumes: true } : undefined, before: undefined, wish: deployment.rollout, failover: deployment.failover, rollout: undefined,
          placements: settled(planTeardown(remaining)),
          warnings: [
            ...(views.length === remaining.length ? [] : [`${views.length - remaining.length} placements on unreachable hosts were dropped; they are reported as orphans if their hosts return`]),
            ...(request.volumes ? [] : keptVolumes(present?.spec)),
          ],
        };
      }),
  };
}

/** Two copies must not run side by side, so what leaves goes at once: nobody should learn that from a rollback that did not bring it back (0019). */
function departures(placements: readonly PlannedPlacement[], views: readonly PlacementView[]): string[] {
  const leaving = new Set(placements.filter(isDeferred).map(({ hostId }) => hostId));
  const hosts = views.filter((view) => leaving.has(view.placement.hostId)).map((view) => view.hostName);
  return hosts.length === 0 ? [] : [`torn down at once on ${hosts.join(", ")}, because two copies must not run side by side, and a rollback does not bring it back there; skep host drain HOST stops it, starts it elsewhere and can go back`];
}

/** Data outlives its deployment unless told otherwise, and nobody should find that out by a full disk. */
function keptVolumes(spec: Spec | undefined): string[] {
  const names = Object.entries(spec?.volumes ?? {}).filter(([, { external }]) => external === undefined).map(([name]) => name);
  return names.length === 0 ? [] : [`kept on its hosts, with what is in them: the volumes ${names.join(", ")} (a teardown with volumes removes them)`];
}

/** Force lets go of what cannot be asked: by the operator's decision, and with their name on it. */
async function dropUnreachable(tx: Tx, views: readonly PlacementView[], context: OperatorContext): Promise<readonly PlacementView[]> {
  const remaining: PlacementView[] = [];
  for (const view of views) {
    if (view.hostStatus !== "unreachable" && view.hostStatus !== "decommissioned") {
      remaining.push(view);
      continue;
    }
    if (view.openRow !== undefined) {
      const because = `teardown with force by ${context.actor}`;
      const closed = await tx.casLifecycle({ id: view.openRow.id, expectedVersion: view.openRow.version, status: "failed", failureCode: "host_lost", because });
      if (closed === undefined) throw new SkepError("operation_in_progress", "the host answered at the same moment; try again");
      await tx.appendEvent({ kind: "lifecycle.failed", severity: "warning", message: `${closed.operation} of ${closed.deployment} is given up: ${because}`, hostId: closed.hostId, deploymentId: closed.deploymentId, placementId: closed.placementId, lifecycleId: closed.id });
    }
    await tx.casPlacement(view.placement.id, view.placement.version, { desired: "absent", removed: true });
    await tx.appendEvent({ kind: "placement.dropped", severity: "warning", message: `placement on ${view.hostName} is dropped: the host is ${view.hostStatus}`, hostId: view.placement.hostId, deploymentId: view.placement.deploymentId, placementId: view.placement.id });
  }
  return remaining;
}

async function latestSpec(tx: Tx, deployment: DeploymentRecord): Promise<GenerationRecord | undefined> {
  const direct = await tx.findGeneration(deployment.id, deployment.generation);
  if (direct !== undefined) return direct;
  const newest = (await tx.listGenerations(deployment.id)).reduce((top, item) => Math.max(top, item.generation), 0);
  return newest === 0 ? undefined : tx.findGeneration(deployment.id, newest);
}

const withOrder = (spec: Spec, rollout: RolloutRequest | undefined): Spec => (rollout?.order === undefined ? spec : { ...spec, update_order: rollout.order });

/** A patched spec is judged like a new one: the same rules on every path. */
function parsedSpec(spec: Spec): Spec {
  const parsed = specSchema.safeParse(JSON.parse(canonicalJson(spec)));
  if (parsed.success) return parsed.data;
  throw new SkepError("invalid_request", "the resulting spec is not valid", {
    errors: parsed.error.issues.map((issue) => ({ pointer: `/spec/${issue.path.join("/")}`, message: issue.message })),
  });
}

function blankDeployment(id: DeploymentId, name: string): DeploymentRecord {
  const never = 0 as DeploymentRecord["createdAt"];
  return { id, name, generation: 0, desired: "running", reconcile: "auto", placement: {}, rollout: {}, failover: {}, status: "pending", lastError: undefined, createdAt: never, updatedAt: never, deletedAt: undefined, version: 0 };
}
