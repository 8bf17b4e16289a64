/** Heartbeats: what they move, what they must not, and what an unchanged one still confirms. */
import { instant } from "@skep/core";
import { expect, test } from "vitest";
import type { World } from "./world.ts";
import { newId, reported } from "./world.ts";

export function beatRules(world: () => World): void {
  test("a minimal beat wakes a host and says nothing else", async () => {
    const { store } = world();
    const id = await world().host(undefined, { heard: false });
    expect(await world().beat({ hostId: id, agentVersion: "0.9" })).toEqual([{ hostId: id, was: "pending", sessionStale: false, snapshotTaken: false, changed: false }]);
    const view = (await store.findHostView(id))!;
    expect(view.host).toMatchObject({ status: "active", agentVersion: "0.9" });
    expect(view.host.enrolledAt).toBeDefined();
    expect(view.liveness).toMatchObject({ hostId: id, bootId: undefined });
    expect(view.report).toBeUndefined();
  });

  test("every accepted beat brings a silent host back", async () => {
    const id = await world().host();
    const beat = await world().session(id);
    for (const [seq, from] of (["suspect", "unreachable"] as const).entries()) {
      await world().store.transaction((tx) => tx.casHostStatus(id, "active", from, "silent"));
      expect(await world().beat(beat(seq + 1))).toMatchObject([{ was: from }]);
      expect(await world().store.findHost(id)).toMatchObject({ status: "active" });
    }
  });

  test("unknown and decommissioned hosts are not written", async () => {
    const gone = await world().host();
    const beat = await world().session(gone);
    await world().store.transaction((tx) => tx.decommissionHost(gone));
    const nobody = newId<typeof gone>();
    expect(await world().beat({ ...beat(1), hostId: nobody }, beat(1))).toMatchObject([{ hostId: nobody, was: undefined, snapshotTaken: false }, { hostId: gone, was: undefined, snapshotTaken: false }]);
    expect((await world().store.findHostView(gone))!.liveness).toBeUndefined();
  });

  test("a beat of a closed session writes nothing", async () => {
    const id = await world().host();
    const [old, current] = [await world().session(id), await world().session(id)];
    expect(await world().beat(old(1))).toMatchObject([{ hostId: id, sessionStale: true, snapshotTaken: false, changed: false }]);
    expect((await world().store.findHostView(id))!.liveness).toBeUndefined();
    // The control: the open session's.
    expect(await world().beat(current(1))).toMatchObject([{ sessionStale: false, snapshotTaken: true, changed: true }]);
  });

  test("a snapshot is taken when it is newer, rewritten when it differs", async () => {
    const { store } = world();
    const id = await world().host();
    const beat = await world().session(id);
    const cert = { sha256: "c".repeat(64), notAfter: instant(1_900_000_000_000) };
    const [first] = await world().beat(beat(5, { opSeq: 3, jobIds: ["j1"], jobsTruncated: true, cert, observedError: "cannot see" }));
    expect(first).toMatchObject({ was: "active", snapshotTaken: true, changed: true });
    expect((await store.findHostView(id))!.report).toMatchObject({ opSeq: 3, sinceSeq: 5, jobIds: ["j1"], jobsTruncated: true, resources: { load: 1 }, capabilities: ["noop"], cert, observedError: "cannot see" });
    // Same hash: the report stays as it stood, whatever else the beat carries.
    expect(await world().beat(beat(6, { opSeq: 4, jobIds: ["j2"] }))).toMatchObject([{ snapshotTaken: true, changed: false }]);
    expect(await store.findHostView(id)).toMatchObject({ liveness: { seq: 6, opSeq: 4 }, report: { sinceSeq: 5, jobIds: ["j1"] } });
    // Older or repeated: heard, not taken.
    for (const seq of [5, 6]) expect(await world().beat(beat(seq, { snapshotHash: "late", phase: "stopping" }))).toMatchObject([{ snapshotTaken: false, changed: false }]);
    expect(await store.findHostView(id)).toMatchObject({ liveness: { seq: 6, phase: "ready" }, report: { sinceSeq: 5 } });
    expect(await world().beat(beat(7, { snapshotHash: "other", jobIds: undefined, observedError: undefined }))).toMatchObject([{ snapshotTaken: true, changed: true }]);
    const view = (await store.findHostView(id))!;
    expect(view.report).toMatchObject({ sinceSeq: 7, jobIds: undefined, observedError: undefined, cert: undefined });
    expect(view.liveness!.lastHeartbeatAt).toBeGreaterThanOrEqual(view.report!.receivedAt);
  });

  test("a boot is kept as it was last reported, and told for the hosts that have one", async () => {
    const [id, other] = [await world().host(), await world().host()];
    const [beat, plain] = [await world().session(id), await world().session(other)];
    const boot = { stage: "foundation", state: "blocked", members: [{ name: "dns", healthy: false, error: "disk not there" }], alerts: 2 } as const;
    await world().beat(beat(1, { boot }), plain(1));
    const reports = (): Promise<ReadonlyMap<string, unknown>> => world().store.transaction((tx) => tx.bootReports([id, other]));
    expect([...(await reports())]).toEqual([[id, boot]]);
    expect((await world().store.findHostView(id))?.report?.boot).toEqual(boot);
    await world().beat(beat(2, { snapshotHash: "no boot any more" }));
    expect([...(await reports())]).toEqual([]);
  });

  test("another agent process starts a new count, with the same snapshot too", async () => {
    const id = await world().host();
    await world().beat((await world().session(id))(900));
    const [restarted] = await world().beat((await world().session(id))(1));
    expect(restarted).toMatchObject({ snapshotTaken: true, changed: true });
    expect(await world().store.findHostView(id)).toMatchObject({ liveness: { seq: 1 }, report: { sinceSeq: 1 } });
  });

  test("a batch answers in its order, also when a host comes twice", async () => {
    const ids = [await world().host(), await world().host()];
    const [a, b] = [await world().session(ids[0]!), await world().session(ids[1]!)];
    const results = await world().beat(b(1), a(1), b(2), b(2));
    expect(results.map((result) => [result.hostId, result.snapshotTaken, result.changed])).toEqual([[ids[1], true, true], [ids[0], true, true], [ids[1], true, false], [ids[1], false, false]]);
    expect(await world().beat()).toEqual([]);
  });

  test("the ring keeps the last 64", async () => {
    const id = await world().host();
    const beat = await world().session(id);
    await world().beat(...Array.from({ length: 70 }, (_, index) => beat(index + 1, { snapshotHash: index === 69 ? "new" : "same" })));
    const ring = await world().store.listRing(id);
    expect(ring.map((item) => item.seq).sort((x, y) => x - y)).toEqual(Array.from({ length: 64 }, (_, index) => index + 7));
    expect(ring.filter((item) => item.changed).map((item) => item.seq)).toEqual([70]);
  });

  test("a list moves the observation of the host's own placements, and of no others", async () => {
    const own = await world().placed();
    const foreign = await world().placed();
    const beat = await world().session(own.hostId);
    await world().beat(beat(1, { placements: [reported(own, { state: "degraded", generation: 1 }), reported(foreign)] }));
    const seen = (await world().view(own)).observed!;
    expect(seen).toMatchObject({ placementId: own.placementId, hostId: own.hostId, state: "degraded", generation: 1, epoch: 1, components: [{ name: "main", state: "running", restarts: 0 }] });
    expect((await world().view(foreign)).observed).toBeUndefined();
    expect(await world().store.transaction((tx) => tx.placementStates([own.hostId, foreign.hostId]))).toEqual([
      { placementId: own.placementId, deploymentId: own.deploymentId, hostId: own.hostId, state: "degraded", generation: 1 },
      { placementId: foreign.placementId, deploymentId: foreign.deploymentId, hostId: foreign.hostId, state: undefined, generation: undefined },
    ]);
  });

  test("a whole list that leaves a placement out says that it is absent", async () => {
    const placed = await world().placed();
    const beat = await world().session(placed.hostId);
    await world().beat(beat(1, { placements: [reported(placed)] }));
    await world().beat(beat(2, { placements: [], snapshotHash: "empty" }));
    expect((await world().view(placed)).observed).toMatchObject({ state: "absent", components: [] });
  });

  test("a host that could not look changes no observation, and does not renew it", async () => {
    const placed = await world().placed();
    const beat = await world().session(placed.hostId);
    await world().beat(beat(1, { placements: [reported(placed)] }));
    const seen = (await world().view(placed)).observed!;
    await world().beat(beat(2, { placements: undefined, observedError: "driver is down", snapshotHash: "blind" }));
    await world().beat(beat(3, { placements: undefined, observedError: "driver is down", snapshotHash: "blind" }));
    expect((await world().view(placed)).observed).toEqual(seen);
    // The control: an unchanged list renews what it repeats.
    await world().beat(beat(4, { placements: [reported(placed)], snapshotHash: "sees" }));
    const again = (await world().view(placed)).observed!;
    expect(again.observedAt).toBeGreaterThanOrEqual(seen.observedAt);
    await world().beat(beat(5, { placements: [reported(placed)], snapshotHash: "sees" }));
    const view = await world().view(placed);
    expect(view.observed!.observedAt).toBe((await world().store.findHostView(placed.hostId))!.liveness!.lastHeartbeatAt);
  });

  test("what is seen again unchanged keeps the time it was first seen, whatever else the host's list says", async () => {
    const placed = await world().placed();
    const other = await world().placed(placed.hostId);
    const beat = await world().session(placed.hostId);
    await world().beat(beat(1, { placements: [reported(placed), reported(other)] }));
    const first = (await world().view(placed)).observed!;
    expect(first.changedAt).toBeLessThanOrEqual(first.observedAt);
    await world().beat(beat(2, { placements: [reported(placed), reported(other, { state: "failed" })], snapshotHash: "two" }));
    const second = (await world().view(placed)).observed!;
    expect(second.changedAt).toBe(first.changedAt);
    expect((await world().view(other)).observed!.changedAt).toBeGreaterThanOrEqual(first.changedAt);
    const components = [{ name: "main", state: "running" as const, restarts: 0, drift: ["its image was changed"] }];
    await world().beat(beat(3, { placements: [reported(placed, { components }), reported(other)], snapshotHash: "three" }));
    expect((await world().view(placed)).observed).toMatchObject({ components: [{ drift: ["its image was changed"] }] });
  });

  test("orphans are what a host runs and nobody placed there; gone or unknown ones are not, nor those of a host that is gone", async () => {
    const { store } = world();
    const placed = await world().placed();
    const [stray, unknown, gone] = [newId(), newId(), newId()];
    const beat = await world().session(placed.hostId);
    const mine = async () => (await store.listOrphans(1_000)).filter((orphan) => orphan.hostId === placed.hostId);
    const placements = [reported(placed), { ...reported(placed), placement_id: stray }, { ...reported(placed, { state: "unknown" }), placement_id: unknown }, { ...reported(placed, { state: "absent" }), placement_id: gone }];
    await world().beat(beat(1, { placements }));
    const host = (await store.findHost(placed.hostId))!;
    expect(await mine()).toMatchObject([{ hostName: host.name, placement: { placement_id: stray, deployment: placed.name, state: "running" } }]);
    // A host that could not look leaves the last list.
    await world().beat(beat(2, { placements: undefined, snapshotHash: "blind" }));
    expect(await mine()).toHaveLength(1);
    expect(await store.listOrphans(0)).toEqual([]);
    await store.transaction((tx) => tx.decommissionHost(placed.hostId));
    expect(await mine()).toEqual([]);
  });

  test("a removed placement is not observed any more", async () => {
    const placed = await world().placed();
    const beat = await world().session(placed.hostId);
    await world().beat(beat(1, { placements: [reported(placed)] }));
    const { placement } = await world().view(placed);
    await world().store.transaction((tx) => tx.casPlacement(placed.placementId, placement.version, { removed: true }));
    await world().beat(beat(2, { placements: [reported(placed, { state: "failed" })], snapshotHash: "later" }));
    expect((await world().view(placed)).observed).toMatchObject({ state: "running" });
  });

  test("what an agent writes is kept, or made harmless; the others of the batch are not harmed", async () => {
    const placed = await world().placed();
    const [hostile, harmless] = [await world().session(placed.hostId), await world().session(await world().host())];
    const components = [{ name: "main", state: "failed" as const, restarts: 1, error: "nul \0 and half \ud800 a pair \u{1f41d}" }];
    const results = await world().beat(hostile(1, { placements: [reported(placed, { components }), { ...reported(placed), placement_id: "junk" }], observedError: "nul \0" }), harmless(1));
    expect(results.map((result) => result.snapshotTaken)).toEqual([true, true]);
    expect((await world().view(placed)).observed!.components[0]!.error).toContain("\u{1f41d}");
  });

  test("counters are exact up to 2^53 - 1", async () => {
    const top = Number.MAX_SAFE_INTEGER;
    const placed = await world().placed();
    const beat = await world().session(placed.hostId);
    await world().beat(beat(top - 1, { opSeq: top - 1, placements: [reported(placed, { generation: top - 1, epoch: top })] }));
    expect(await world().beat(beat(top, { opSeq: top }))).toMatchObject([{ snapshotTaken: true, changed: false }]);
    expect(await world().beat(beat(top - 1))).toMatchObject([{ snapshotTaken: false }]);
    expect(await world().store.findHostView(placed.hostId)).toMatchObject({ liveness: { seq: top, opSeq: top }, report: { sinceSeq: top - 1 } });
    expect((await world().view(placed)).observed).toMatchObject({ generation: top - 1, epoch: top });
    const row = await world().row(placed, { generation: top - 1, baseGeneration: top - 2, epoch: top });
    expect(row).toMatchObject({ generation: top - 1, baseGeneration: top - 2, epoch: top });
    const accepted = await world().store.transaction((tx) => tx.casLifecycle({ id: row.id, expectedVersion: row.version, because: "x", status: "running", acceptedOpSeq: top }));
    expect(accepted).toMatchObject({ acceptedOpSeq: top });
  });
}
