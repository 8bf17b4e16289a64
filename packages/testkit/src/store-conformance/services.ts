/** What resolving a service reads: deployments with everything between them and their callers. */
import type { DeploymentId, ReportedPlacement, Spec } from "@skep/core";
import { expect, test } from "vitest";
import type { Placed, World } from "./world.ts";
import { newId, reported, SPEC } from "./world.ts";

const withPorts = (...names: readonly string[]): Spec => ({
  driver: "noop",
  components: [
    { ...SPEC.components[0]!, name: "web", ports: names.map((name) => ({ name, protocol: "tcp" })) },
    { ...SPEC.components[0]!, name: "side", ports: [{ name: "dns", host: 53, protocol: "udp", publish: false }] },
  ],
});

export function serviceRules(world: () => World): void {
  const generation = (placed: Placed, number: number, spec: Spec) => world().store.transaction((tx) => tx.insertGeneration({ deploymentId: placed.deploymentId, generation: number, spec, specHash: "b".repeat(64) }));
  const speaking = async (placed: Placed, ...lists: readonly (readonly ReportedPlacement[])[]): Promise<void> => {
    const beat = await world().session(placed.hostId);
    for (const [index, placements] of lists.entries()) await world().beat(beat(index + 1, { placements, snapshotHash: `list ${index}`, resources: { load1: 1, cpu_millicores: 2_000 } }));
  };

  test("a deployment comes with its placements, their hosts, and the ports of every generation that is wanted or seen", async () => {
    const { store } = world();
    const placed = await world().placed();
    await generation(placed, 2, withPorts("http", "admin"));
    await generation(placed, 3, withPorts("http"));
    await generation(placed, 4, withPorts("never"));
    await speaking(placed, [reported(placed, { generation: 2, components: [{ name: "web", state: "running", restarts: 0, ports: { http: 8080 } }] })]);
    const { version } = (await store.findDeployment(placed.deploymentId))!;
    await store.transaction((tx) => tx.casDeployment(placed.deploymentId, version, { generation: 3, failover: { fallbacks: ["other"] } }));
    const snapshot = await store.serviceSnapshot({ refs: [placed.name] });
    expect(snapshot.deployments).toEqual([await store.findDeployment(placed.deploymentId)]);
    expect(snapshot.deployments[0]).toMatchObject({ failover: { fallbacks: ["other"] } });
    expect(snapshot.placements).toEqual([await world().view(placed)]);
    expect([...snapshot.hosts]).toEqual([[placed.hostId, await store.findHostView(placed.hostId)]]);
    expect(snapshot.hosts.get(placed.hostId)).toMatchObject({ host: { address: "10.0.0.1" }, reachability: { state: "unknown" }, report: { resources: { load1: 1 } } });
    expect(snapshot.ports.map((item) => item.generation)).toEqual([1, 2, 3]);
    expect(snapshot.ports[1]).toEqual({ deploymentId: placed.deploymentId, generation: 2, components: withPorts("http", "admin").components.map(({ name, ports }) => ({ name, ports })) });
    expect(snapshot.now).toBeLessThanOrEqual(await store.now());
    expect(snapshot.running).toEqual(new Map());
    expect(await store.serviceSnapshot({ refs: [placed.deploymentId] })).toMatchObject({ deployments: [{ id: placed.deploymentId }] });
  });

  test("unknown names are left out, and so is what is deleted or removed; nobody has no fallbacks by accident", async () => {
    const { store } = world();
    const [kept, gone] = [await world().placed(), await world().placed()];
    const remove = async ({ placementId }: Placed) => store.transaction(async (tx) => tx.casPlacement(placementId, (await tx.findPlacement(placementId))!.placement.version, { removed: true }));
    await remove(gone);
    await store.transaction(async (tx) => tx.casDeployment(gone.deploymentId, (await tx.findDeployment(gone.deploymentId))!.version, { deleted: true }));
    const snapshot = await store.serviceSnapshot({ refs: [kept.name, gone.name, gone.deploymentId, "nobody", newId<DeploymentId>()] });
    expect(snapshot.deployments.map((one) => one.id)).toEqual([kept.deploymentId]);
    expect(snapshot.deployments[0]!.failover).toEqual({});
    expect(snapshot.placements.map((view) => view.placement.id)).toEqual([kept.placementId]);
    await remove(kept);
    expect(await store.serviceSnapshot({ refs: [kept.name] })).toMatchObject({ deployments: [{ id: kept.deploymentId }], placements: [] });
    expect(await store.serviceSnapshot({ refs: [] })).toMatchObject({ deployments: [], placements: [], ports: [] });
  });

  test("pages go by the deployments' ids", async () => {
    const made = [await world().placed(), await world().placed(), await world().placed()];
    const page = async (after: Placed, limit?: number) => (await world().store.serviceSnapshot({ after: after.deploymentId, limit })).deployments.map((one) => one.id);
    expect(await page(made[0]!, 1)).toEqual([made[1]!.deploymentId]);
    expect(await page(made[0]!)).toEqual([made[1]!.deploymentId, made[2]!.deploymentId]);
    expect((await world().store.serviceSnapshot({ after: made[0]!.deploymentId, limit: 1 })).placements.map((view) => view.placement.id)).toEqual([made[1]!.placementId]);
  });

  test("load counts what runs on the hosts, whoever's it is, and only what runs", async () => {
    const { store } = world();
    const first = await world().placed();
    const [second, third] = [await world().placed(first.hostId), await world().placed(first.hostId)];
    const elsewhere = await world().placed();
    await speaking(first, [reported(first), reported(second), reported(third, { state: "failed" })]);
    await speaking(elsewhere, [reported(elsewhere)]);
    expect((await store.serviceSnapshot({ refs: [first.name], load: true })).running).toEqual(new Map([[first.hostId, 2]]));
    expect((await store.serviceSnapshot({ refs: [first.name] })).running).toEqual(new Map());
  });
}
