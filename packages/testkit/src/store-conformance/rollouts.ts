/** Rollouts: one open at most for each deployment, changed by compare-and-set, frozen at their end. */
import { DEFAULT_ROLLOUT } from "@skep/core";
import type { NewRollout, RolloutId, RolloutMember, SignalTopic } from "@skep/core";
import { expect, test } from "vitest";
import { eventually } from "../eventually.ts";
import type { Placed, World } from "./world.ts";
import { newId, reported } from "./world.ts";

export function rolloutRules(world: () => World): void {
  const newRollout = (placed: Placed, patch: Partial<NewRollout> = {}): NewRollout => ({
    id: newId<RolloutId>(), deploymentId: placed.deploymentId, deployment: placed.name, action: "mutate", status: "running", generation: 2, desired: "running", baseGeneration: 1, baseDesired: "running", basePlacement: undefined,
    policy: { ...DEFAULT_ROLLOUT, maxParallel: 3 }, components: undefined, patchedGeneration: undefined, whole: false, timeoutS: undefined, wave: 1,
    members: [{ placementId: placed.placementId, hostId: placed.hostId, host: "web-01", state: "open", wave: 1 }], because: "the first wave is open", ...patch,
  });
  const insert = (rollout: NewRollout) => world().store.transaction((tx) => tx.insertRollout(rollout));

  test("a rollout is what was written, and its deployment has one open at most", async () => {
    const { store } = world();
    const placed = await world().placed();
    const rollout = newRollout(placed, { components: ["web"], timeoutS: 60, patchedGeneration: 1, basePlacement: { hosts: ["web-01"], strategy: "ordered", replicas: 1 } });
    expect(await insert(rollout)).toBe("inserted");
    const found = (await store.findRollout(rollout.id))!;
    expect(found).toMatchObject({ ...rollout, rollbackGeneration: undefined, promoted: false, completedAt: undefined, version: 1 });
    expect(found.progressAt).toBe(found.createdAt);
    expect(await insert(newRollout(placed))).toBe("rollout_open");
    expect(await insert(newRollout(await world().placed()))).toBe("inserted");
    expect(await store.findRollout(newId())).toBeUndefined();
    expect((await store.listRollouts({ deploymentId: placed.deploymentId, limit: 1 }))[0]).toEqual(found);
    expect(await store.findRollout("nonsense")).toBeUndefined();
  });

  test("a change applies to the version believed in; what has ended changes no more, and the next one may begin", async () => {
    const { store } = world();
    const placed = await world().placed();
    const rollout = newRollout(placed);
    await insert(rollout);
    const cas = (version: number, patch: Parameters<Parameters<Parameters<typeof store.transaction>[0]>[0]["casRollout"]>[2]) => store.transaction((tx) => tx.casRollout(rollout.id, version, patch));
    const members: RolloutMember[] = [{ placementId: placed.placementId, hostId: placed.hostId, host: "web-01", state: "refused", wave: 1, because: "probe: 503", rollback: "open" }];
    expect(await cas(1, { status: "rolling_back", rollbackGeneration: 3, wave: 2, members, because: "it failed", promoted: true, progressed: true })).toBe(true);
    expect(await cas(1, { wave: 9 })).toBe(false);
    const changed = (await store.findRollout(rollout.id))!;
    expect(changed).toMatchObject({ status: "rolling_back", rollbackGeneration: 3, wave: 2, members, because: "it failed", promoted: true, version: 2, completedAt: undefined });
    expect(changed.progressAt).toBeGreaterThanOrEqual(changed.createdAt);
    expect(await cas(2, { because: "no progress in this" })).toBe(true);
    expect((await store.findRollout(rollout.id))!.progressAt).toBe(changed.progressAt);
    expect(await cas(3, { status: "rolled_back" })).toBe(true);
    expect((await store.findRollout(rollout.id))!.completedAt).toBeDefined();
    expect(await cas(4, { status: "running" })).toBe(false);
    expect(await insert(newRollout(placed))).toBe("inserted");
  });

  test("lists are of one deployment or of all, of the open ones or the ended, in either order", async () => {
    const { store } = world();
    const [placed, other] = [await world().placed(), await world().placed()];
    const [first, second, elsewhere] = [newRollout(placed), newRollout(placed), newRollout(other)];
    await insert(first);
    await store.transaction((tx) => tx.casRollout(first.id, 1, { status: "superseded", because: "x" }));
    await insert(second);
    await insert(elsewhere);
    const ids = async (query: object) => (await store.listRollouts({ limit: 100, ...query })).map((rollout) => rollout.id);
    const { deploymentId } = placed;
    expect(await ids({ deploymentId })).toEqual([first.id, second.id]);
    expect(await ids({ deploymentId, newestFirst: true })).toEqual([second.id, first.id]);
    expect(await ids({ deploymentId, open: true })).toEqual([second.id]);
    expect(await ids({ deploymentId, open: false })).toEqual([first.id]);
    expect(await ids({ deploymentId, after: first.id })).toEqual([second.id]);
    expect(await ids({ deploymentId, after: second.id, newestFirst: true })).toEqual([first.id]);
    expect(await ids({ deploymentId, limit: 1 })).toEqual([first.id]);
    expect(await ids({ open: true })).toEqual(expect.arrayContaining([second.id, elsewhere.id]));
  });

  test("reconcile is shown the newest rollout of the deployment", async () => {
    const { store } = world();
    const placed = await world().placed();
    await world().beat((await world().session(placed.hostId))(1, { placements: [reported(placed, { state: "failed" })] }));
    const shown = async () => (await store.reconcileCases(1_000, undefined)).cases.find((item) => item.placement.id === placed.placementId)!.rollout;
    expect(await shown()).toBeUndefined();
    const [first, second] = [newRollout(placed), newRollout(placed)];
    await insert(first);
    expect(await shown()).toMatchObject({ id: first.id, status: "running" });
    await store.transaction((tx) => tx.casRollout(first.id, 1, { status: "failed", because: "x" }));
    await insert(second);
    expect(await shown()).toMatchObject({ id: second.id });
  });

  test("a deployment keeps what it says of its own changes", async () => {
    const { store } = world();
    const { deploymentId } = await world().placed();
    const { version, rollout } = (await store.findDeployment(deploymentId))!;
    expect(rollout).toEqual({});
    await store.transaction((tx) => tx.casDeployment(deploymentId, version, { rollout: { maxParallel: "50%", canary: 1 } }));
    expect((await store.findDeployment(deploymentId))!.rollout).toEqual({ maxParallel: "50%", canary: 1 });
  });

  test("a change of a rollout wakes whoever waits for it", async () => {
    const { store } = world();
    const heard: SignalTopic[] = [];
    const leave = store.onSignal((topic) => void heard.push(topic));
    const placed = await world().placed();
    await eventually(async () => {
      const rollout = newRollout(placed);
      await insert(rollout);
      await store.transaction((tx) => tx.casRollout(rollout.id, 1, { status: "superseded", because: "x" }));
      return heard.includes("rollouts");
    }, { what: "the signal rollouts" });
    leave();
  });
}
