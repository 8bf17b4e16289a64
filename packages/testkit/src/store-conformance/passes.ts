/** What the background passes see and claim. */
import { HOST_STATUSES, addMs, instant } from "@skep/core";
import { expect, test } from "vitest";
import type { World } from "./world.ts";
import { newHash, newId, reported, SPEC } from "./world.ts";

export function passRules(world: () => World): void {
  const claim = async (claimMs = 10_000, limit = 100) => world().store.claimDispatchable(limit, claimMs);

  test("due rows are claimed once, marked sent, with everything needed to deliver them", async () => {
    const { store } = world();
    const placed = await world().placed();
    const row = await world().row(placed);
    const deliveries = await claim();
    expect(deliveries).toHaveLength(1);
    const [delivery] = deliveries;
    expect(delivery!.row).toMatchObject({ id: row.id, status: "pending", phase: "sent", dispatchAttempts: 1, version: row.version + 1 });
    expect(delivery!.row.sentAt).toBeDefined();
    expect(delivery!.row.claimExpiresAt).toBeGreaterThan(delivery!.row.sentAt!);
    expect(delivery).toMatchObject({ host: { id: placed.hostId }, placement: { id: placed.placementId, deployment: placed.name }, generation: { generation: 1, spec: SPEC } });
    expect(await claim()).toEqual([]);
    expect(await store.deliveriesFor([row.id, newId()])).toEqual([delivery]);
    // Given back and due again: the first time of sending stays.
    const { version } = delivery!.row;
    await store.transaction((tx) => tx.casLifecycle({ id: row.id, expectedVersion: version, because: "not delivered", releaseClaim: true, nextDispatchAt: addMs(delivery!.row.sentAt!, -1) }));
    expect(await claim()).toMatchObject([{ row: { id: row.id, dispatchAttempts: 2, sentAt: delivery!.row.sentAt } }]);
    await store.transaction((tx) => tx.casLifecycle({ id: row.id, expectedVersion: version + 2, because: "done", status: "succeeded" }));
  });

  test("a claim expires; what is not due, not pending, cancelled in time or on a host that takes nothing is left", async () => {
    const { store } = world();
    const expired = await world().row(await world().placed());
    expect((await claim(0)).map((item) => item.row.id)).toEqual([expired.id]);
    expect((await claim(60_000)).map((item) => item.row.id)).toEqual([expired.id]);

    const later = await world().row(await world().placed());
    await store.transaction(async (tx) => tx.casLifecycle({ id: later.id, expectedVersion: later.version, because: "later", nextDispatchAt: addMs(await tx.now(), 60_000) }));
    const running = await world().row(await world().placed());
    await store.transaction((tx) => tx.casLifecycle({ id: running.id, expectedVersion: running.version, because: "runs", status: "running" }));
    const cancelled = await world().row(await world().placed());
    await store.transaction((tx) => tx.requestCancel(cancelled.id, cancelled.version, "operator"));
    const unheard = await world().row(await world().placed(await world().host(undefined, { heard: false })));
    expect(await claim()).toEqual([]);
    // The control: the host is heard.
    await store.transaction((tx) => tx.casHostStatus(unheard.hostId, "pending", "enrolled", "test"));
    expect((await claim()).map((item) => item.row.id)).toEqual([unheard.id]);
  });

  test("claims respect their limit", async () => {
    const rows = [await world().row(await world().placed()), await world().row(await world().placed()), await world().row(await world().placed())];
    const [one, two] = [await claim(60_000, 2), await claim(60_000, 2)];
    expect([one.length, two.length]).toEqual([2, 1]);
    expect(new Set([...one, ...two].map((item) => item.row.id))).toEqual(new Set(rows.map((row) => row.id)));
  });

  test("the sweep sees open rows, oldest first, with what their hosts listed and how often", async () => {
    const { store } = world();
    const placed = await world().placed();
    const row = await world().row(placed);
    const ended = await world().row(await world().placed());
    await store.transaction((tx) => tx.casLifecycle({ id: ended.id, expectedVersion: ended.version, because: "done", status: "succeeded" }));
    const find = async () => (await store.sweepCases(1_000, undefined)).cases.find((item) => item.row.id === row.id);
    expect(await find()).toMatchObject({ row, host: { id: placed.hostId }, inventory: undefined });
    const beat = await world().session(placed.hostId);
    await world().beat(beat(3, { jobIds: ["x"], opSeq: 1 }));
    expect((await find())!.inventory).toMatchObject({ jobIds: ["x"], truncated: false, opSeq: 1, beats: 1 });
    await world().beat(beat(4, { jobIds: ["x"], opSeq: 2 }));
    expect((await find())!.inventory).toMatchObject({ jobIds: ["x"], opSeq: 2, beats: 2 });
    await world().beat(beat(5, { jobIds: undefined, snapshotHash: "no list" }));
    expect((await find())!.inventory).toMatchObject({ jobIds: undefined, beats: 1 });
    const { now, cases } = await store.sweepCases(1_000, undefined);
    expect(cases.some((item) => item.row.id === ended.id)).toBe(false);
    expect(cases.map((item) => item.row.id)).toEqual(cases.map((item) => item.row.id).sort());
    expect((await find())!.inventory!.receivedAt).toBeLessThanOrEqual(await store.now());
    expect(now).toBeLessThanOrEqual(await store.now());
    expect((await store.sweepCases(1, undefined)).cases).toHaveLength(1);
    expect((await store.sweepCases(1_000, row.id)).cases.every((item) => item.row.id > row.id)).toBe(true);
  });

  test("silent hosts are those that were heard, longer ago than asked", async () => {
    const { store } = world();
    const [heard, never, gone] = [await world().host(), await world().host(), await world().host()];
    await world().beat({ hostId: heard, agentVersion: "1" }, { hostId: gone, agentVersion: "1" });
    await store.transaction((tx) => tx.decommissionHost(gone));
    const silent = async (olderThanMs: number) => (await store.silentHosts(olderThanMs, 1_000)).hosts.map((view) => view.host.id);
    expect(await silent(3_600_000)).not.toContain(heard);
    const all = await silent(-1_000);
    expect(all).toContain(heard);
    expect(all).not.toContain(never);
    expect(all).not.toContain(gone);
    expect((await store.silentHosts(-1_000, 1)).hosts).toHaveLength(1);
  });

  test("reconcile looks at what differs from what is desired, is due, and has nothing open", async () => {
    const { store } = world();
    const isCase = async (id: string) => (await store.reconcileCases(1_000, undefined)).cases.find((item) => item.placement.id === id);
    const placed = await world().placed();
    const beat = await world().session(placed.hostId);
    await world().beat(beat(1, { placements: [reported(placed, { state: "running" })] }));
    expect(await isCase(placed.placementId)).toBeUndefined();
    await world().beat(beat(2, { placements: [reported(placed, { state: "failed" })], snapshotHash: "failed" }));
    expect(await isCase(placed.placementId)).toMatchObject({ deployment: { id: placed.deploymentId }, hostStatus: "active", observed: { state: "failed" }, lastRow: undefined });
    expect((await store.reconcileCases(1_000, placed.placementId)).cases.every((item) => item.placement.id > placed.placementId)).toBe(true);

    const row = await world().row(placed);
    expect(await isCase(placed.placementId)).toBeUndefined();
    await store.transaction((tx) => tx.casLifecycle({ id: row.id, expectedVersion: row.version, because: "x", status: "failed", failureCode: "agent_error" }));
    expect(await isCase(placed.placementId)).toMatchObject({ lastRow: { id: row.id, status: "failed" } });

    const { placement } = await world().view(placed);
    await store.transaction(async (tx) => tx.casPlacement(placement.id, placement.version, { reconcileNotBefore: addMs(await tx.now(), 60_000) }));
    expect(await isCase(placed.placementId)).toBeUndefined();
    await store.transaction((tx) => tx.casPlacement(placement.id, placement.version + 1, { reconcileNotBefore: null, removed: true }));
    expect(await isCase(placed.placementId)).toBeUndefined();
  });

  test("an older generation that runs, and a teardown that nobody recorded, are cases too", async () => {
    const { store } = world();
    const ids = async () => (await store.reconcileCases(1_000, undefined)).cases.map((item) => item.placement.id);
    const [old, torn] = [await world().placed(), await world().placed(undefined, "absent")];
    const { version } = (await world().view(old)).placement;
    await store.transaction((tx) => tx.casPlacement(old.placementId, version, { generation: 2 }));
    await world().beat((await world().session(old.hostId))(1, { placements: [reported(old)] }), (await world().session(torn.hostId))(1, { placements: [] }));
    expect(await ids()).toEqual(expect.arrayContaining([old.placementId, torn.placementId]));
  });

  test("asked for all, those that are not due come too; what was told to differ is looked at until it is as desired again", async () => {
    const { store } = world();
    const placed = await world().placed();
    const beat = await world().session(placed.hostId);
    const find = async (all: boolean) => (await store.reconcileCases(1_000, undefined, { all })).cases.find((item) => item.placement.id === placed.placementId);
    await world().beat(beat(1, { placements: [reported(placed, { state: "failed" })] }));
    const { version } = (await world().view(placed)).placement;
    await store.transaction(async (tx) => tx.casPlacement(placed.placementId, version, { reconcileNotBefore: addMs(await tx.now(), 60_000) }));
    expect([await find(false), (await find(true))?.hostName]).toEqual([undefined, (await world().view(placed)).hostName]);

    await store.transaction(async (tx) => tx.casPlacement(placed.placementId, version + 1, { reconcileNotBefore: await tx.now() }));
    await world().beat(beat(2, { placements: [reported(placed)], snapshotHash: "well" }));
    expect(await find(false)).toBeUndefined();
    const deployment = (await store.findDeployment(placed.deploymentId))!;
    await store.transaction((tx) => tx.casDeployment(placed.deploymentId, deployment.version, { reconcile: "report" }));
    expect(await find(false)).toMatchObject({ observed: { state: "running" } });
    await store.transaction((tx) => tx.casPlacement(placed.placementId, version + 2, { reconcileNotBefore: null }));
    expect(await find(true)).toBeUndefined();
  });

  test("counts name every state", async () => {
    const { store } = world();
    const counts = await store.fleetCounts();
    expect(Object.keys(counts.hosts).sort()).toEqual(["active", "decommissioned", "enrolled", "pending", "suspect", "unreachable"]);
    expect(Object.keys(counts.deployments)).toHaveLength(8);
    const before = counts.openRows.pending;
    await world().row(await world().placed());
    const after = await store.fleetCounts();
    expect(after.openRows.pending).toBe(before + 1);
    expect(after.hosts.active).toBe(counts.hosts.active + 1);
    for (const [nth, status] of HOST_STATUSES.entries()) {
      for (let n = 0; n <= nth; n++) {
        const id = await world().host(undefined, { heard: false });
        if (status !== "pending") await store.transaction((tx) => (status === "decommissioned" ? tx.decommissionHost(id) : tx.casHostStatus(id, "pending", status, "test")));
      }
    }
    const { hosts } = await store.fleetCounts();
    expect(hosts).toEqual(Object.fromEntries(HOST_STATUSES.map((status, nth) => [status, after.hosts[status] + nth + 1])));
  });

  test("retention takes only what is older than its limits", async () => {
    const { store } = world();
    const key = { scope: "s", key: newHash(), bodyHash: "b" };
    await store.transaction((tx) => tx.claimIdempotency(key));
    await store.transaction((tx) => tx.appendEvent({ kind: "test.kept", severity: "info", message: "x" }));
    expect(await store.retain({ eventsMs: 3_600_000, idempotencyMs: 3_600_000, alertsMs: 3_600_000, historyMs: 3_600_000 })).toEqual({ events: 0, idempotencyKeys: 0, alerts: 0, webhookDeliveries: 0, rollouts: 0, moves: 0, drains: 0, more: false });
    expect(await store.transaction((tx) => tx.claimIdempotency(key))).toMatchObject({ kind: "in_progress" });
    expect(instant(await store.now())).toBeGreaterThan(0);
  });
}
