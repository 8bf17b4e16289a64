/** The least that a ledger must hold for a row: a host, a deployment, a placement. */
import { seededRng, uuidv7, instant, type DeploymentId, type HostId, type JobId, type NewLifecycleRow, type PlacementId, type Store } from "@skep/core";

const rng = seededRng(5);
const newId = <T extends string>(): T => uuidv7(instant(1_700_000_000_000), rng) as T;

export interface Placed {
  readonly hostId: HostId;
  readonly deploymentId: DeploymentId;
  readonly placementId: PlacementId;
}

export async function placed(store: Store, host: string): Promise<Placed> {
  const ids: Placed = { hostId: newId(), deploymentId: newId(), placementId: newId() };
  await store.transaction(async (tx) => {
    await tx.insertHost({ id: ids.hostId, name: host, labels: {}, notes: undefined, address: "10.0.0.1", agentPort: 8444, allowedCidr: undefined });
    await tx.casHostStatus(ids.hostId, "pending", "active", "test");
    await tx.insertDeployment({ id: ids.deploymentId, name: `on-${host}`, generation: 1, desired: "running", reconcile: "report", placement: { hosts: [host] }, rollout: {} });
    await tx.insertGeneration({ deploymentId: ids.deploymentId, generation: 1, spec: { driver: "noop", components: [] }, specHash: "a".repeat(64) });
    await tx.insertPlacement({ id: ids.placementId, deploymentId: ids.deploymentId, hostId: ids.hostId, desired: "running", epoch: 1, generation: 1 });
  });
  return ids;
}

export const newRow = (at: Placed): NewLifecycleRow => ({ ...at, id: newId<JobId>(), operation: "deploy", generation: 1, epoch: 1, timeoutS: 60, because: "test" });
