/** What a scrape reads: each number is about what it says, and about nothing else. */
import { DEFAULT_ROLLOUT, instant } from "@skep/core";
import type { HostId, RolloutId } from "@skep/core";
import { expect, test } from "vitest";
import type { Placed, World } from "./world.ts";
import { newHash, newId } from "./world.ts";

const DAY_MS = 86_400_000;

export function gaugeRules(world: () => World): void {
  const read = (lateAfterMs = 3_600_000) => world().store.fleetGauges({ lateAfterMs });

  test("an empty ledger is zeros, and there is no certificate to run out", async () => {
    expect(await read()).toEqual({
      hosts: { pending: 0, enrolled: 0, active: 0, suspect: 0, unreachable: 0, decommissioned: 0 },
      lateHosts: 0, reachability: { unknown: 0, reachable: 0, unreachable: 0 }, agentVersions: [],
      openRows: { deploy: 0, mutate: 0, teardown: 0 }, rollouts: { running: 0, paused: 0, rolling_back: 0 }, rolloutStalledMs: 0, firstCertEnd: undefined,
    });
  });

  test("hosts by status, by whether masters reach them and by their agent's version; the dead and the unborn are left out of the latter two", async () => {
    const { store } = world();
    const [old, other, gone] = [await world().host(), await world().host(), await world().host()];
    await world().host(undefined, { heard: false });
    const speak = (id: HostId, agentVersion: string) => store.transaction((tx) => tx.openSession(id, { bootId: newId(), hostBootId: "k", agentVersion, agentUrl: undefined }));
    for (const [id, version] of [[old, "0.1.0"], [other, "0.2.0"], [gone, "0.2.0"]] as const) await speak(id, version);
    const more = await world().host();
    await speak(more, "0.2.0");
    await store.transaction(async (tx) => {
      const records = await tx.lockReachability([old, other, gone]);
      await tx.casReachability(records.map((record) => ({ ...record, state: record.hostId === other ? ("reachable" as const) : ("unreachable" as const) })));
    });
    await store.transaction((tx) => tx.decommissionHost(gone));
    const seen = await read();
    expect(seen.hosts).toMatchObject({ pending: 1, active: 3, decommissioned: 1 });
    expect(seen.reachability).toEqual({ unknown: 1, reachable: 1, unreachable: 1 });
    expect(seen.agentVersions).toEqual([{ version: "0.2.0", hosts: 2 }, { version: "0.1.0", hosts: 1 }]);
  });

  test("late is an active or suspect host whose beat is older than asked", async () => {
    const { store } = world();
    const before = (await read(-3_600_000)).lateHosts;
    const id = await world().host();
    expect((await read(-3_600_000)).lateHosts).toBe(before);
    await world().beat((await world().session(id))(1));
    expect((await read()).lateHosts).toBe(0);
    // Older than an hour from now: every beat there is.
    expect((await read(-3_600_000)).lateHosts).toBe(before + 1);
    await store.transaction((tx) => tx.casHostStatus(id, "active", "unreachable", "silent"));
    expect((await read(-3_600_000)).lateHosts).toBe(before);
  });

  test("open rows by operation; what has ended is not open", async () => {
    const { store } = world();
    const row = await world().row(await world().placed());
    await world().row(await world().placed(), { operation: "teardown" });
    expect((await read()).openRows).toEqual({ deploy: 1, mutate: 0, teardown: 1 });
    await store.transaction((tx) => tx.casLifecycle({ id: row.id, expectedVersion: row.version, status: "cancelled", because: "test" }));
    expect((await read()).openRows).toEqual({ deploy: 0, mutate: 0, teardown: 1 });
  });

  test("open rollouts by status; one that is paused is not stalled", async () => {
    const { store } = world();
    const open = async (placed: Placed): Promise<RolloutId> => {
      const id = newId<RolloutId>();
      await store.transaction((tx) => tx.insertRollout({
        id, deploymentId: placed.deploymentId, deployment: placed.name, action: "mutate", status: "running", generation: 2, desired: "running", baseGeneration: 1, baseDesired: "running", basePlacement: undefined,
        policy: { ...DEFAULT_ROLLOUT }, components: undefined, patchedGeneration: undefined, whole: false, timeoutS: undefined, wave: 1, members: [], because: "test",
      }));
      return id;
    };
    const id = await open(await world().placed());
    const seen = await read();
    expect(seen.rollouts).toEqual({ running: 1, paused: 0, rolling_back: 0 });
    expect(seen.rolloutStalledMs).toBeGreaterThanOrEqual(0);
    expect(seen.rolloutStalledMs).toBeLessThan(600_000);
    await store.transaction((tx) => tx.casRollout(id, 1, { status: "paused" }));
    expect(await read()).toMatchObject({ rollouts: { running: 0, paused: 1, rolling_back: 0 }, rolloutStalledMs: 0 });
    await store.transaction((tx) => tx.casRollout(id, 2, { status: "running" }));
    await store.transaction((tx) => tx.casRollout(id, 3, { status: "succeeded" }));
    expect((await read()).rollouts).toEqual({ running: 0, paused: 0, rolling_back: 0 });
  });

  test("the first certificate to run out is one that a living host uses", async () => {
    const { store } = world();
    const now = await store.now();
    const end = (days: number) => instant(Math.floor(now / 1_000) * 1_000 + days * DAY_MS);
    const certify = async (id: HostId, days: number, status: "active" | "pending" = "active"): Promise<void> => {
      await store.transaction((tx) => tx.insertCert({ fingerprint: newHash() as never, hostId: id, spkiSha256: newHash(), status, notBefore: instant(now - 1_000), notAfter: end(days) }));
    };
    const [living, dying, unborn] = [await world().host(), await world().host(), await world().host(undefined, { heard: false })];
    await certify(living, 20);
    await certify(living, 3, "pending");
    await certify(dying, 5);
    await certify(unborn, 4);
    expect((await read()).firstCertEnd).toBe(end(5));
    await store.transaction((tx) => tx.decommissionHost(dying));
    expect((await read()).firstCertEnd).toBe(end(20));
  });

  test("pools are told of without asking anybody", () => {
    for (const use of Object.values(world().store.poolUse())) {
      expect(use.waiting).toBe(0);
      expect(use.open).toBeLessThanOrEqual(use.max);
    }
  });
}
