/** What the prober claims and writes. */
import { addMs, instant } from "@skep/core";
import type { HostId, ProbeLane, Reachability } from "@skep/core";
import { expect, test } from "vitest";
import type { World } from "./world.ts";
import { newId } from "./world.ts";

const HOUR_MS = 3_600_000;

export function reachabilityRules(world: () => World): void {
  const claim = async (lane: ProbeLane = "answering", everyMs = HOUR_MS, limit = 100): Promise<HostId[]> => (await world().store.claimProbes(lane, limit, everyMs)).map((host) => host.id).sort();
  const seen = async (id: HostId): Promise<Reachability> => (await world().store.findHostView(id))!.reachability!;
  const put = (record: Reachability, patch: Partial<Reachability> = {}): Promise<readonly HostId[]> => world().store.transaction((tx) => tx.casReachability([{ ...record, ...patch }]));

  test("a new host is unknown, due at once, and claimed once a period", async () => {
    const id = await world().host();
    const before = await seen(id);
    expect(before).toEqual({
      hostId: id, state: "unknown", consecutiveFailures: 0, consecutiveSuccesses: 0, changedAt: undefined, lastProbeAt: undefined, lastOkAt: undefined, lastError: undefined,
      transitions: [], flapping: false, dueAt: before.dueAt, version: 1,
    });
    expect(await claim()).toEqual([id]);
    expect(await claim()).toEqual([]);
    // A claim is the next time, one period after the last within a tenth, and nothing else.
    const after = await seen(id);
    expect({ ...after, dueAt: before.dueAt }).toEqual(before);
    expect(Math.abs(after.dueAt - before.dueAt - HOUR_MS)).toBeLessThanOrEqual(HOUR_MS / 10);
  });

  test("only hosts that have a certificate and an address to call are claimed", async () => {
    const { store } = world();
    const [unheard, homeless, portless, gone] = [await world().host(undefined, { heard: false }), newId<HostId>(), newId<HostId>(), await world().host()];
    await store.transaction(async (tx) => {
      await tx.insertHost({ id: homeless, name: homeless, labels: {}, notes: undefined, address: undefined, agentPort: 8444, allowedCidr: undefined });
      await tx.insertHost({ id: portless, name: portless, labels: {}, notes: undefined, address: "10.0.0.1", agentPort: 0, allowedCidr: undefined });
      for (const id of [homeless, portless]) await tx.casHostStatus(id, "pending", "active", "test");
      await tx.decommissionHost(gone);
    });
    expect(await claim()).toEqual([]);
    // The controls: each has what it lacked. The tombstone never gets anything again.
    await store.transaction(async (tx) => {
      await tx.casHostStatus(unheard, "pending", "enrolled", "test");
      await tx.openSession(homeless, { bootId: "b", hostBootId: "k", agentVersion: "1", agentUrl: "https://10.0.0.9:1" });
      await tx.updateHost(portless, { agentPort: 8444 });
    });
    expect(await claim()).toEqual([unheard, homeless, portless].sort());
    expect((await store.findHostView(gone))!.reachability).toBeUndefined();
    for (const status of ["suspect", "unreachable"] as const) {
      const id = await world().host();
      await store.transaction((tx) => tx.casHostStatus(id, "active", status, "test"));
      expect(await claim()).toEqual([id]);
    }
  });

  test("each lane has its own hosts, as the last probe left them, and claims keep their limit, the longest waiting first", async () => {
    const ids = [await world().host(), await world().host(), await world().host()];
    await put(await seen(ids[1]!), { consecutiveFailures: 1 });
    expect(await claim("failing")).toEqual([ids[1]]);
    expect(await claim("answering", HOUR_MS, 1)).toEqual([ids[0]]);
    expect(await claim("answering", HOUR_MS, 1)).toEqual([ids[2]]);
    expect([await claim("answering"), await claim("failing")]).toEqual([[], []]);
  });

  test("what is overdue by half a period is not claimed but given its next time, in either lane", async () => {
    const ids = [await world().host(), await world().host()];
    await put(await seen(ids[0]!), { consecutiveFailures: 1 });
    const now = await world().store.now();
    // Half of no time at all: whatever is due is overdue.
    expect([await claim("answering", 0), await claim("failing", 0)]).toEqual([[], []]);
    for (const id of ids) expect((await seen(id)).dueAt).toBeGreaterThanOrEqual(now);
    // The control: nothing was lost.
    expect([await claim("answering"), await claim("failing")]).toEqual([[ids[1]], [ids[0]]]);
  });

  test("a result is written whole where the record is as believed, many at once, and leaves the claim alone", async () => {
    const { store } = world();
    const [one, two, gone] = [await world().host(), await world().host(), await world().host()];
    const at = instant(Date.UTC(2026, 0, 1) + 123);
    const full = { state: "unreachable", consecutiveFailures: 3, consecutiveSuccesses: 0, changedAt: at, lastProbeAt: addMs(at, 1), lastOkAt: addMs(at, -1), lastError: "no answer \u0000 at all", transitions: [at, addMs(at, 7)], flapping: true } as const;
    const [first, second] = [await seen(one), await seen(two)];
    await store.transaction((tx) => tx.decommissionHost(gone));
    await claim();
    const written = await store.transaction((tx) => tx.casReachability([{ ...first, ...full }, { ...second, consecutiveSuccesses: 1, version: 7 }, { ...second, hostId: gone }]));
    expect(written).toEqual([one]);
    const after = await seen(one);
    expect(after).toMatchObject({ ...full, lastError: expect.stringMatching(/^no answer . at all$/s) as string, version: 2 });
    expect(after.dueAt).toBeGreaterThan(first.dueAt + HOUR_MS / 2);
    expect(await seen(two)).toMatchObject({ consecutiveSuccesses: 0, version: 1 });
    // And back to nothing: what a record no longer has is really gone.
    expect(await put({ ...after, ...first, version: 2 })).toEqual([one]);
    expect(await seen(one)).toEqual({ ...first, dueAt: after.dueAt, version: 3 });
    expect(await put(first)).toEqual([]);
  });

  test("records are locked and read in the order of their ids, without those that are gone", async () => {
    const { store } = world();
    const [one, two, gone] = [await world().host(), await world().host(), await world().host()];
    await store.transaction((tx) => tx.decommissionHost(gone));
    expect((await store.transaction((tx) => tx.lockReachability([two, gone, one]))).map((record) => record.hostId)).toEqual([one, two]);
    expect(await store.transaction((tx) => tx.lockReachability([]))).toEqual([]);
  });
}
