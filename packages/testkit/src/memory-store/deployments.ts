/** Deployments, their generations and their placements: desired state, written by compare-and-set on `version`. */
import { OPEN_STATUSES } from "@skep/core";
import type { DeploymentRecord, ObservedRecord, PlacementRecord, PlacementView, Reads, Tx } from "@skep/core";
import { afterPage, check, jsonCopy, type Context, type Sync } from "./state.ts";

type DeploymentReads = Sync<Pick<Reads, "findDeployment" | "listDeployments" | "findGeneration" | "listGenerations" | "listPlacements" | "findPlacement" | "listPlacementFacts" | "fleetCounts">>;
type DeploymentWrites = Sync<
  Pick<Tx, "lockDeployment" | "insertDeployment" | "casDeployment" | "insertGeneration" | "insertPlacement" | "casPlacement" | "placementStates">
>;

export const generationKey = (deploymentId: string, generation: number): string => `${deploymentId}/${generation}`;

/**
 * A list that repeats itself renews every placement on it without a write; a whole list, taken since the placement
 * exists, that never named it says that it is absent.
 */
export function observedOf({ state }: Context, placement: PlacementRecord): ObservedRecord | undefined {
  const { id: placementId, hostId, createdAt, removedAt } = placement;
  const row = state.observed.get(placementId);
  const hostObservedAt = removedAt === undefined ? state.liveness.get(hostId)?.observedAt : undefined;
  if (row !== undefined) return hostObservedAt === undefined || hostObservedAt < row.observedAt ? row : { ...row, observedAt: hostObservedAt };
  if (hostObservedAt === undefined || hostObservedAt <= createdAt) return undefined;
  return { placementId, hostId, state: "absent", generation: 0, epoch: 0, specHash: "", components: [], observedAt: hostObservedAt, changedAt: hostObservedAt };
}

export function placementViewOf(context: Context, placement: PlacementRecord): PlacementView {
  const { state } = context;
  let openRow;
  for (const row of state.lifecycle.values()) {
    if (row.placementId === placement.id && (OPEN_STATUSES as readonly string[]).includes(row.status)) openRow = row;
  }
  const host = state.hosts.get(placement.hostId)!;
  return { placement, hostName: host.name, hostStatus: host.status, observed: observedOf(context, placement), openRow };
}

export function deploymentReads(context: Context): DeploymentReads {
  const { state } = context;
  const viewOf = (placement: PlacementRecord): PlacementView => placementViewOf(context, placement);
  return {
    findDeployment: (idOrName) => {
      const byKey = state.deployments.get(idOrName);
      if (byKey !== undefined) return byKey;
      for (const deployment of state.deployments.values()) if (deployment.name === idOrName && deployment.deletedAt === undefined) return deployment;
      return undefined;
    },
    listDeployments: (query) => afterPage([...state.deployments.values()].filter((d) => (query.includeDeleted === true || d.deletedAt === undefined) && (query.unsettled !== true || d.status !== "active")), query),
    findGeneration: (id, generation) => state.generations.get(generationKey(id, generation)),
    listGenerations: (id) =>
      [...state.generations.values()]
        .filter((generation) => generation.deploymentId === id)
        .sort((a, b) => a.generation - b.generation)
        .map(({ spec: _spec, ...rest }) => rest),
    listPlacements: (query) =>
      afterPage(
        [...state.placements.values()].filter(
          (placement) =>
            (query.deploymentId === undefined || placement.deploymentId === query.deploymentId) &&
            (query.hostId === undefined || placement.hostId === query.hostId) &&
            (query.includeRemoved === true || placement.removedAt === undefined),
        ),
        query,
      ).map(viewOf),
    findPlacement: (id) => {
      const placement = state.placements.get(id);
      return placement && viewOf(placement);
    },
    listPlacementFacts: (hostIds) =>
      [...state.placements.values()].filter((placement) => hostIds.includes(placement.hostId) && placement.removedAt === undefined).map((placement) => {
        const { observed, hostStatus, openRow } = viewOf(placement);
        return {
          hostId: placement.hostId,
          facts: {
            placement: { desired: placement.desired, generation: placement.generation, removedAt: undefined },
            observed: observed && { state: observed.state, generation: observed.generation },
            hostStatus,
            openRow: openRow && { operation: openRow.operation, status: openRow.status, phase: openRow.phase },
          },
        };
      }),
    fleetCounts: () => {
      const hosts = { pending: 0, enrolled: 0, active: 0, suspect: 0, unreachable: 0, decommissioned: 0 };
      const openRows = { pending: 0, running: 0, lost: 0 };
      const deployments = { pending: 0, deploying: 0, active: 0, degraded: 0, failed: 0, tearing_down: 0, torn_down: 0, teardown_failed: 0 };
      for (const host of state.hosts.values()) hosts[host.status] += 1;
      for (const { status } of state.lifecycle.values()) if (status === "pending" || status === "running" || status === "lost") openRows[status] += 1;
      for (const deployment of state.deployments.values()) if (deployment.deletedAt === undefined) deployments[deployment.status] += 1;
      return { hosts, openRows, deployments };
    },
  };
}

export function deploymentWrites({ state, policy, now }: Context): DeploymentWrites {
  return {
    placementStates: (hostIds) =>
      [...state.placements.values()]
        .filter((placement) => hostIds.includes(placement.hostId) && placement.removedAt === undefined)
        .map(({ id, deploymentId, hostId }) => ({ placementId: id, deploymentId, hostId, state: state.observed.get(id)?.state, generation: state.observed.get(id)?.generation })),
    lockDeployment: (id) => state.deployments.get(id),
    insertDeployment: (deployment) => {
      check(state.deployments.get(deployment.id) === undefined, "deployments_pkey");
      for (const other of state.deployments.values()) if (other.name === deployment.name && other.deletedAt === undefined) return "deployment_exists";
      state.deployments.set(deployment.id, {
        id: deployment.id, name: deployment.name, generation: deployment.generation, desired: deployment.desired, reconcile: deployment.reconcile,
        placement: jsonCopy(deployment.placement), rollout: jsonCopy(deployment.rollout), failover: jsonCopy(deployment.failover ?? {}), status: "pending", lastError: undefined, createdAt: now(), updatedAt: now(), deletedAt: undefined, version: 1,
      });
      return "inserted";
    },
    casDeployment: (id, expectedVersion, { lastError, deleted, placement, rollout, failover, ...patch }) => {
      const deployment = state.deployments.get(id);
      if (deployment === undefined || (deployment.version !== expectedVersion && policy.compareAndSet)) return false;
      const next: DeploymentRecord = {
        ...deployment,
        ...patch,
        ...(placement === undefined ? {} : { placement: jsonCopy(placement) }),
        ...(rollout === undefined ? {} : { rollout: jsonCopy(rollout) }),
        ...(failover === undefined ? {} : { failover: jsonCopy(failover) }),
        ...(lastError === undefined ? {} : { lastError: lastError ?? undefined }),
        ...(deleted === undefined ? {} : { deletedAt: deleted ? (deployment.deletedAt ?? now()) : undefined }),
        updatedAt: now(),
        version: deployment.version + 1,
      };
      state.deployments.set(id, next);
      return true;
    },
    insertGeneration: (generation) => {
      const key = generationKey(generation.deploymentId, generation.generation);
      check(state.generations.get(key) === undefined, "deployment_generations_pkey");
      check(state.deployments.get(generation.deploymentId) !== undefined, "deployment_generations_deployment_fk");
      state.generations.set(key, { ...generation, spec: jsonCopy(generation.spec), createdAt: now() });
    },
    insertPlacement: (placement) => {
      const deployment = state.deployments.get(placement.deploymentId);
      check(deployment !== undefined && state.hosts.get(placement.hostId) !== undefined, "placements_fk");
      for (const other of state.placements.values()) {
        check(other.id !== placement.id, "placements_pkey");
        const taken = other.deploymentId === placement.deploymentId && other.hostId === placement.hostId && other.removedAt === undefined;
        check(!taken, "placements_one_per_host");
      }
      state.placements.set(placement.id, {
        id: placement.id, deploymentId: placement.deploymentId, hostId: placement.hostId, desired: placement.desired, epoch: placement.epoch,
        generation: placement.generation, deployment: deployment.name, appliedGeneration: undefined, reconcileAttempts: 0, reconcileNotBefore: undefined,
        createdAt: now(), removedAt: undefined, version: 1,
      });
    },
    casPlacement: (id, expectedVersion, { appliedGeneration, reconcileNotBefore, removed, ...patch }) => {
      const placement = state.placements.get(id);
      if (placement === undefined || (placement.version !== expectedVersion && policy.compareAndSet)) return false;
      state.placements.set(id, {
        ...placement,
        ...patch,
        ...(appliedGeneration === undefined ? {} : { appliedGeneration: appliedGeneration ?? undefined }),
        ...(reconcileNotBefore === undefined ? {} : { reconcileNotBefore: reconcileNotBefore ?? undefined }),
        ...(removed === undefined ? {} : { removedAt: removed ? (placement.removedAt ?? now()) : undefined }),
        version: placement.version + 1,
      });
      return true;
    },
  };
}
