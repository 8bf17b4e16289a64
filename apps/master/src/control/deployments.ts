/**
 * The operator's operations on deployments. Each one locks the deployment, plans in core, and writes desired state
 * and lifecycle rows in one transaction; the 202 follows the commit. Nothing is dispatched from here: the
 * dispatcher finds committed rows, so a crash after the commit loses nothing.
 */
import {
  DEFAULT_TIMEOUT_S, SkepError, canonicalJson, patchSpec, place, planDeploy, planMutate, planTeardown, uuidv7,
  type ChangePlan, type DeploymentId, type DeploymentRecord, type DesiredState, type GenerationRecord, type HostId, type JobId,
  type PlacementId, type PlacementRequest, type PlacementView, type PlannedPlacement, type Rejection, type RowOptions, type Spec, type Tx,
} from "@skep/core";
import { specSchema, type AcceptedOperation } from "@skep/protocol";
import type { ControlDeps, OperatorContext, Reply } from "../ports.ts";
import { accept } from "./accept.ts";
import type { AcceptedOrPlan, DeploymentControl } from "./control.ts";
import { planDryRun } from "./dry-run.ts";
import { refreshDeployment } from "./outcome.ts";
import { candidates, namedHosts, requireAllowed } from "./scheduling.ts";

/** Everything a change needs to be written, after all questions are settled. */
interface Change {
  readonly action: string;
  readonly deployment: DeploymentRecord;
  readonly isNew: boolean;
  readonly generation: number;
  readonly spec: Spec | undefined;
  readonly desired: DesiredState;
  readonly placement: PlacementRequest;
  readonly reconcile: DeploymentRecord["reconcile"];
  readonly placements: readonly PlannedPlacement[];
  readonly views: readonly PlacementView[];
  readonly rejected: readonly Rejection[];
  readonly timeoutS: number | undefined;
  readonly warnings: readonly string[];
  readonly options?: RowOptions | undefined;
}

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
      return { status: 202, body: await writeChange(tx, change, context) };
    });
    wake();
    return reply;
  };

  const writeChange = async (tx: Tx, change: Change, context: OperatorContext): Promise<AcceptedOperation> => {
    const { deployment, generation } = change;
    if (change.isNew) {
      const outcome = await tx.insertDeployment({ id: deployment.id, name: deployment.name, generation, desired: change.desired, reconcile: change.reconcile, placement: change.placement });
      if (outcome === "deployment_exists") throw new SkepError("deployment_exists");
    } else {
      const done = await tx.casDeployment(deployment.id, deployment.version, { generation, desired: change.desired, reconcile: change.reconcile, placement: change.placement });
      if (!done) throw new SkepError("request_in_progress", "the deployment changed at the same moment", { retryAfterMs: 100 });
    }
    if (change.spec !== undefined) await tx.insertGeneration({ deploymentId: deployment.id, generation, spec: change.spec, specHash: deps.hash(change.spec) });
    const rows: { placement_id: string; host_id: string; host: string; lifecycle_id: string; operation: PlannedPlacement["row"]["operation"] }[] = [];
    for (const planned of change.placements) {
      const placementId = (planned.existing?.id ?? newId()) as PlacementId;
      if (planned.existing === undefined) {
        await tx.insertPlacement({ id: placementId, deploymentId: deployment.id, hostId: planned.hostId, desired: planned.desired, epoch: 1, generation });
      } else {
        await tx.casPlacement(placementId, planned.existing.version, { desired: planned.desired, generation, reconcileAttempts: 0, reconcileNotBefore: null });
      }
      const lost = planned.row.supersedes;
      if (lost !== undefined) {
        const closed = await tx.casLifecycle({ id: lost.id, expectedVersion: lost.version, status: "superseded", because: `taken over by ${change.action}` });
        if (closed === undefined) throw new SkepError("operation_in_progress", "a lost row came back to life at the same moment");
        await tx.appendEvent({ kind: "lifecycle.superseded", severity: "warning", message: `${lost.operation} of ${deployment.name} is superseded by ${change.action}`, hostId: lost.hostId, deploymentId: deployment.id, placementId, lifecycleId: lost.id });
      }
      const id = newId() as JobId;
      const inserted = await tx.insertLifecycle({
        id, placementId, deploymentId: deployment.id, hostId: planned.hostId, operation: planned.row.operation, generation,
        baseGeneration: planned.row.baseGeneration, epoch: planned.existing?.epoch ?? 1,
        timeoutS: change.timeoutS ?? DEFAULT_TIMEOUT_S[planned.row.operation], retryOf: lost?.id, options: change.options, because: `requested by ${context.actor}`,
      });
      if (inserted === "operation_in_progress") throw new SkepError("operation_in_progress");
      rows.push({ placement_id: placementId, host_id: planned.hostId, host: planned.hostId, lifecycle_id: id, operation: planned.row.operation });
    }
    await tx.appendEvent({ kind: `deployment.${change.action}`, severity: "info", message: `${change.action} of ${deployment.name}, generation ${generation}`, deploymentId: deployment.id, data: { generation, placements: rows.length } });
    await tx.appendAudit({ actor: context.actor, action: `deployment.${change.action}`, subject: `deployment:${deployment.id}`, outcome: "allowed", requestId: context.requestId, detail: { name: deployment.name, generation } });
    await refreshDeployment(tx, deployment.id);
    const names = await hostNames(tx, rows.map((row) => row.host_id as HostId));
    return {
      deployment_id: deployment.id,
      name: deployment.name,
      generation,
      lifecycle_ids: rows.map((row) => row.lifecycle_id),
      placements: rows.map((row) => ({ ...row, host: names.get(row.host_id) ?? row.host_id })),
      warnings: [...change.warnings],
    };
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
    tx: Tx, ref: string, action: string, timeoutS: number | undefined,
    next: (present: GenerationRecord, deployment: DeploymentRecord) => Promise<{ spec: Spec; desired: "running" | "stopped"; full: boolean; options?: RowOptions | undefined }>,
  ): Promise<Change> => {
    const { deployment, views, present } = await open(tx, ref);
    if (present === undefined || deployment.desired === "absent") throw new SkepError("nothing_to_do", `${deployment.name} is ${deployment.status}`);
    const { spec, desired, full, options } = await next(present, deployment);
    await requireAllowed(tx, spec, views);
    const plan = full ? planDeploy(views, views.map((view) => view.placement.hostId), desired) : planMutate(views, desired);
    return {
      action, deployment, isNew: false, generation: deployment.generation + 1, spec: parsedSpec(spec), desired, placement: deployment.placement,
      reconcile: deployment.reconcile, placements: settled(plan), views, rejected: [], timeoutS, warnings: [], options,
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
        const named = await namedHosts(tx, request.placement.hosts);
        const outcome = place(await candidates(tx, views), { named, replicas: request.placement.replicas, constraints: request.placement.constraints, spec: request.spec });
        if (outcome.kind === "no_eligible_host") {
          throw new SkepError("no_eligible_host", `${outcome.wanted} wanted; ${outcome.rejected.map((r) => `${r.host}: ${r.because}`).join("; ") || "no hosts are enrolled"}`, {
            errors: outcome.rejected.map((r) => ({ pointer: `/hosts/${r.host}`, message: r.because })),
          });
        }
        const generation = (locked?.generation ?? 0) + 1;
        const deployment: DeploymentRecord = locked ?? blankDeployment(newId() as DeploymentId, request.name);
        return {
          action: "deploy", deployment, isNew: locked === undefined, generation, spec: request.spec, desired: "running",
          placement: request.placement, reconcile: request.reconcile, views, rejected: outcome.rejected, timeoutS: request.timeout_s, warnings: [],
          placements: settled(planDeploy(views, outcome.hosts.map((host) => host.id), "running")),
        };
      }),
    mutate: (ref, request, context) =>
      run(context, request.dry_run, (tx) =>
        inPlace(tx, ref, "mutate", request.timeout_s, async (present, deployment) => {
          const patched = patchSpec(present.spec, request);
          if (patched.kind === "unknown_component") {
            throw new SkepError("unknown_component", `no component ${patched.names.join(", ")}; there are: ${present.spec.components.map((c) => c.name).join(", ")}`);
          }
          const desired = request.desired ?? (deployment.desired === "stopped" ? "stopped" : "running");
          // A change of named components touches only them; one of everything has no such bound (B13).
          const bounded = request.components !== undefined && request.env === undefined && request.desired === undefined;
          return { spec: patched.spec, desired, full: false, options: bounded ? { components: Object.keys(request.components ?? {}) } : undefined };
        })),
    redeploy: (ref, request, context) =>
      run(context, false, (tx) => inPlace(tx, ref, "redeploy", request.timeout_s, async (present, deployment) => ({ spec: present.spec, desired: deployment.desired === "stopped" ? "stopped" : "running", full: true }))),
    rollback: (ref, request, context) =>
      run(context, false, (tx) =>
        inPlace(tx, ref, "rollback", request.timeout_s, async (_present, deployment) => {
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
          options: request.volumes ? { removeVolumes: true } : undefined,
          placements: settled(planTeardown(remaining)),
          warnings: [
            ...(views.length === remaining.length ? [] : [`${views.length - remaining.length} placements on unreachable hosts were dropped; they are reported as orphans if their hosts return`]),
            ...(request.volumes ? [] : keptVolumes(present?.spec)),
          ],
        };
      }),
  };
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

async function hostNames(tx: Tx, ids: readonly HostId[]): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  if (ids.length > 20) {
    for (const view of await tx.listHosts({ limit: 10_000 })) names.set(view.host.id, view.host.name);
    return names;
  }
  for (const id of ids) {
    const host = await tx.findHost(id);
    if (host !== undefined) names.set(id, host.name);
  }
  return names;
}

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
  return { id, name, generation: 0, desired: "running", reconcile: "auto", placement: {}, status: "pending", lastError: undefined, createdAt: never, updatedAt: never, deletedAt: undefined, version: 0 };
}
