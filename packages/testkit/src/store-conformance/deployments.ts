/** Deployments, generations and placements. */
import { addMs, visiblePlacement } from "@skep/core";
import type { DeploymentId, HostId, PlacementId } from "@skep/core";
import { expect, test } from "vitest";
import type { World } from "./world.ts";
import { newId, reported, SPEC } from "./world.ts";

export function deploymentRules(world: () => World): void {
  test("a deployment and its generations are found; its name is free again once it is deleted", async () => {
    const { store } = world();
    const { deploymentId, name } = await world().placed();
    const deployment = (await store.findDeployment(name))!;
    expect(deployment).toMatchObject({ id: deploymentId, generation: 1, desired: "running", reconcile: "auto", placement: { hosts: ["x"] }, status: "pending", lastError: undefined, deletedAt: undefined });
    expect(await store.findDeployment(deploymentId)).toEqual(deployment);
    expect(await store.findGeneration(deploymentId, 1)).toMatchObject({ deploymentId, generation: 1, spec: SPEC, specHash: "a".repeat(64) });
    expect(await store.findGeneration(deploymentId, 2)).toBeUndefined();
    const insert = () => store.transaction((tx) => tx.insertDeployment({ id: newId<DeploymentId>(), name, generation: 1, desired: "running", reconcile: "report", placement: { replicas: 2 }, rollout: { canary: 1 } }));
    expect(await insert()).toBe("deployment_exists");
    expect(await store.transaction((tx) => tx.casDeployment(deploymentId, deployment.version, { deleted: true, desired: "absent", status: "torn_down" }))).toBe(true);
    expect(await store.findDeployment(name)).toBeUndefined();
    expect((await store.findDeployment(deploymentId))!.deletedAt).toBeDefined();
    expect(await insert()).toBe("inserted");
  });

  test("a change applies to the version believed in, and to no other", async () => {
    const { store } = world();
    const { deploymentId } = await world().placed();
    const { version } = (await store.findDeployment(deploymentId))!;
    expect(await store.transaction((tx) => tx.casDeployment(deploymentId, version, { generation: 2, status: "failed", lastError: "it broke" }))).toBe(true);
    expect(await store.transaction((tx) => tx.casDeployment(deploymentId, version, { generation: 3 }))).toBe(false);
    const changed = (await store.findDeployment(deploymentId))!;
    expect(changed).toMatchObject({ generation: 2, status: "failed", lastError: "it broke", version: version + 1, desired: "running" });
    expect(await store.transaction((tx) => tx.casDeployment(deploymentId, changed.version, { lastError: null }))).toBe(true);
    expect((await store.findDeployment(deploymentId))!.lastError).toBeUndefined();
  });

  test("generations are listed oldest first, without their specs", async () => {
    const { store } = world();
    const { deploymentId } = await world().placed();
    await store.transaction((tx) => tx.insertGeneration({ deploymentId, generation: 2, spec: SPEC, specHash: "b".repeat(64) }));
    const listed = await store.listGenerations(deploymentId);
    expect(listed.map((item) => [item.generation, item.specHash])).toEqual([[1, "a".repeat(64)], [2, "b".repeat(64)]]);
    expect("spec" in listed[0]!).toBe(false);
  });

  test("lists of deployments page by id and leave out the deleted", async () => {
    const { store } = world();
    const made = [await world().placed(), await world().placed(), await world().placed()];
    const { version } = (await store.findDeployment(made[1]!.deploymentId))!;
    await store.transaction((tx) => tx.casDeployment(made[1]!.deploymentId, version, { deleted: true }));
    const ids = (items: readonly { readonly id: string }[]) => items.map((item) => item.id).filter((id) => made.some((one) => one.deploymentId === id));
    expect(ids(await store.listDeployments({ limit: 100 }))).toEqual([made[0]!.deploymentId, made[2]!.deploymentId]);
    expect(ids(await store.listDeployments({ limit: 100, includeDeleted: true }))).toHaveLength(3);
    expect(ids(await store.listDeployments({ limit: 1, after: made[0]!.deploymentId }))).toEqual([made[2]!.deploymentId]);
  });

  test("a placement shows its deployment, its host and its open row", async () => {
    const { store } = world();
    const placed = await world().placed();
    const view = await world().view(placed);
    expect(view).toMatchObject({ hostStatus: "active", observed: undefined, openRow: undefined });
    expect(view.placement).toMatchObject({ id: placed.placementId, deployment: placed.name, epoch: 1, generation: 1, appliedGeneration: undefined, reconcileAttempts: 0, removedAt: undefined });
    expect(view.hostName).toBe((await store.findHost(placed.hostId))!.name);
    const row = await world().row(placed);
    expect((await world().view(placed)).openRow).toEqual(row);
    expect(await store.listPlacements({ deploymentId: placed.deploymentId })).toEqual([await world().view(placed)]);
    expect((await store.listPlacements({ hostId: placed.hostId, limit: 5 })).map((item) => item.placement.id)).toEqual([placed.placementId]);
    expect(await store.listPlacements({ hostId: placed.hostId, after: placed.placementId })).toEqual([]);
    expect(await store.findPlacement(newId<PlacementId>())).toBeUndefined();
  });

  test("the placements of many hosts look the same at once as one by one", async () => {
    const { store } = world();
    const [one, two, other] = [await world().host(), await world().host(), await world().host()];
    const silent = await world().session(two);
    await world().beat(silent(1));
    const [seen, busy, unseen, removed] = [await world().placed(one), await world().placed(one), await world().placed(two), await world().placed(two)];
    await world().placed(other);
    const beat = await world().session(one);
    await world().beat(beat(1, { placements: [reported(seen, { state: "degraded" })] }));
    await world().row(busy);
    const { version } = (await world().view(removed)).placement;
    await store.transaction((tx) => tx.casPlacement(removed.placementId, version, { removed: true }));
    const looks = async (): Promise<{ readonly at: HostId; readonly state: string }[]> => (await store.listPlacementFacts([one, two])).map(({ hostId, facts }) => ({ at: hostId, state: visiblePlacement(facts).state }));
    const oneByOne = async () => Promise.all([seen, busy, unseen].map(async (placed) => ({ at: placed.hostId, state: visiblePlacement(await world().view(placed)).state })));
    const inOrder = (items: readonly { readonly at: string; readonly state: string }[]): string[] => items.map(({ at, state }) => `${at} ${state}`).sort();
    expect(inOrder(await looks())).toEqual(inOrder(await oneByOne()));
    expect(inOrder(await looks())).toEqual([`${one} degraded`, `${one} pending`, `${two} unknown`].sort());
    // The same list again, which names neither: absent by silence, which no row says.
    await world().beat(silent(2));
    await world().beat(beat(2, { placements: [], snapshotHash: "other" }));
    expect(inOrder(await looks())).toEqual(inOrder(await oneByOne()));
    expect((await looks()).find(({ at }) => at === two)!.state).toBe("absent");
    await store.transaction((tx) => tx.casHostStatus(two, "active", "unreachable", "test"));
    expect((await looks()).find(({ at }) => at === two)!.state).toBe("unknown");
    expect(await store.listPlacementFacts([])).toEqual([]);
  });

  test("a placement changes by compare-and-set, and a removed one stays as history", async () => {
    const { store } = world();
    const placed = await world().placed();
    const notBefore = addMs(await store.now(), 60_000);
    const { version } = (await world().view(placed)).placement;
    expect(await store.transaction((tx) => tx.casPlacement(placed.placementId, version, { appliedGeneration: 1, reconcileAttempts: 2, reconcileNotBefore: notBefore }))).toBe(true);
    expect(await store.transaction((tx) => tx.casPlacement(placed.placementId, version, { epoch: 9 }))).toBe(false);
    expect((await world().view(placed)).placement).toMatchObject({ appliedGeneration: 1, reconcileAttempts: 2, reconcileNotBefore: notBefore, epoch: 1, version: version + 1 });
    expect(await store.transaction((tx) => tx.casPlacement(placed.placementId, version + 1, { appliedGeneration: null, reconcileNotBefore: null, removed: true }))).toBe(true);
    expect(await store.listPlacements({ deploymentId: placed.deploymentId })).toEqual([]);
    const [kept] = await store.listPlacements({ deploymentId: placed.deploymentId, includeRemoved: true });
    expect(kept!.placement).toMatchObject({ appliedGeneration: undefined, reconcileNotBefore: undefined });
    expect(kept!.placement.removedAt).toBeDefined();
    // The host can take the deployment again: the old row does not stand in the way.
    await store.transaction((tx) => tx.insertPlacement({ id: newId<PlacementId>(), deploymentId: placed.deploymentId, hostId: placed.hostId, desired: "running", epoch: 2, generation: 1 }));
    expect(await store.listPlacements({ deploymentId: placed.deploymentId })).toHaveLength(1);
  });

  test("a deployment is on a host once", async () => {
    const { store } = world();
    const placed = await world().placed();
    const twice = store.transaction((tx) => tx.insertPlacement({ id: newId<PlacementId>(), deploymentId: placed.deploymentId, hostId: placed.hostId, desired: "running", epoch: 1, generation: 1 }));
    await expect(twice).rejects.toThrow();
    expect(await store.listPlacements({ deploymentId: placed.deploymentId })).toHaveLength(1);
  });

  test("a transaction that throws leaves nothing", async () => {
    const { store } = world();
    const placed = await world().placed();
    const { version } = (await store.findDeployment(placed.deploymentId))!;
    const failed = store.transaction(async (tx) => {
      expect(await tx.lockDeployment(placed.deploymentId)).toMatchObject({ id: placed.deploymentId });
      expect(await tx.casDeployment(placed.deploymentId, version, { generation: 7 })).toBe(true);
      expect(await tx.findDeployment(placed.deploymentId)).toMatchObject({ generation: 7 });
      throw new Error("changed my mind");
    });
    await expect(failed).rejects.toThrow("changed my mind");
    expect(await store.findDeployment(placed.deploymentId)).toMatchObject({ generation: 1, version });
  });
}
