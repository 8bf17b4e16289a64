/** Moves and drains: one open at most for each, changed by compare-and-set, frozen at their end, as many active as there are slots. */
import type { DrainId, MoveId, NewDrain, NewMove, SignalTopic } from "@skep/core";
import { expect, test } from "vitest";
import { eventually } from "../eventually.ts";
import type { Placed, World } from "./world.ts";
import { newId, reported } from "./world.ts";

export function moveRules(world: () => World): void {
  const newMove = async (placed: Placed, patch: Partial<NewMove> = {}): Promise<NewMove> => ({
    id: newId<MoveId>(), deploymentId: placed.deploymentId, deployment: placed.name, reason: "rebalance", drainId: undefined, status: "pending", fromPlacementId: placed.placementId, fromHostId: placed.hostId,
    fromHost: "a", toHostId: await world().host(), toHost: "b", toPlacementId: undefined, desired: "running", breakFirst: false, slot: undefined, because: "test", ...patch,
  });
  const newDrain = (hostId: Placed["hostId"]): NewDrain => ({ id: newId<DrainId>(), hostId, host: "a", status: "draining", stopPinned: false, because: "test" });
  const insert = (move: NewMove) => world().store.transaction((tx) => tx.insertMove(move));
  const cas = (id: MoveId, version: number, patch: Parameters<Parameters<Parameters<World["store"]["transaction"]>[0]>[0]["casMove"]>[2]) => world().store.transaction((tx) => tx.casMove(id, version, patch));

  test("a move is what was written, and its placement has one open at most", async () => {
    const { store } = world();
    const placed = await world().placed();
    const move = await newMove(placed);
    expect(await insert(move)).toBe("inserted");
    const found = (await store.findMove(move.id))!;
    expect(found).toMatchObject({ ...move, cancelRequested: false, completedAt: undefined, version: 1 });
    expect(await insert(await newMove(placed))).toBe("move_open");
    expect(await insert(await newMove(await world().placed()))).toBe("inserted");
    expect(await store.findMove(newId())).toBeUndefined();
    expect(await store.findMove("nonsense")).toBeUndefined();
  });

  test("a change applies to the version believed in; what has ended changes no more, and the next one may begin", async () => {
    const { store } = world();
    const placed = await world().placed();
    const move = await newMove(placed);
    await insert(move);
    expect(await cas(move.id, 1, { status: "stopping", slot: 3, breakFirst: true, desired: "stopped", because: "it began" })).toBe(true);
    expect(await cas(move.id, 1, { because: "late" })).toBe(false);
    const other = await world().placed();
    expect(await cas(move.id, 2, { status: "starting", toPlacementId: other.placementId, cancelRequested: true })).toBe(true);
    expect(await store.findMove(move.id)).toMatchObject({ status: "starting", slot: 3, breakFirst: true, desired: "stopped", toPlacementId: other.placementId, cancelRequested: true, because: "it began", version: 3 });
    expect(await cas(move.id, 3, { status: "succeeded" })).toBe(true);
    const ended = (await store.findMove(move.id))!;
    expect(ended.completedAt).toBeDefined();
    expect(ended.slot).toBeUndefined();
    expect(await cas(move.id, 4, { status: "pending" })).toBe(false);
    expect(await insert(await newMove(placed))).toBe("inserted");
  });

  test("a slot holds one move, and is free again when that has ended", async () => {
    const [first, second] = [await newMove(await world().placed()), await newMove(await world().placed())];
    await insert(first);
    await insert(second);
    expect(await cas(first.id, 1, { status: "starting", slot: 7 })).toBe(true);
    // Refused, and the transaction that asked goes on.
    const outcome = await world().store.transaction(async (tx) => [await tx.casMove(second.id, 1, { status: "starting", slot: 7 }), await tx.casMove(second.id, 1, { because: "waits" })]);
    expect(outcome).toEqual([false, true]);
    await cas(first.id, 2, { status: "failed" });
    expect(await cas(second.id, 2, { status: "starting", slot: 7 })).toBe(true);
    await cas(second.id, 3, { status: "cancelled" });
  });

  test("lists are of a deployment, a host, a drain, of the open ones or the ended, in either order", async () => {
    const { store } = world();
    const [placed, other] = [await world().placed(), await world().placed()];
    const drain = newDrain(placed.hostId);
    await store.transaction((tx) => tx.insertDrain(drain));
    const [first, second, elsewhere] = [await newMove(placed, { reason: "drain", drainId: drain.id }), await newMove(placed), await newMove(other, { toHostId: placed.hostId })];
    await insert(first);
    await cas(first.id, 1, { status: "failed" });
    await insert(second);
    await insert(elsewhere);
    const ids = async (query: object) => (await store.listMoves({ limit: 100, ...query })).map((move) => move.id);
    const { deploymentId, hostId } = placed;
    expect(await ids({ deploymentId })).toEqual([first.id, second.id]);
    expect(await ids({ deploymentId, newestFirst: true })).toEqual([second.id, first.id]);
    expect(await ids({ hostId })).toEqual([first.id, second.id, elsewhere.id]);
    expect(await ids({ drainId: drain.id })).toEqual([first.id]);
    expect(await ids({ deploymentId, open: true })).toEqual([second.id]);
    expect(await ids({ deploymentId, open: false })).toEqual([first.id]);
    expect(await ids({ hostId, after: first.id, limit: 1 })).toEqual([second.id]);
    expect(await ids({ hostId, after: second.id, newestFirst: true })).toEqual([first.id]);
    expect(await ids({ open: true })).toEqual(expect.arrayContaining([second.id, elsewhere.id]));
  });

  test("a host has one open drain at most, changed by compare-and-set, and its last one is found", async () => {
    const { store } = world();
    const hostId = await world().host();
    expect(await store.findDrain(hostId)).toBeUndefined();
    const [first, second] = [newDrain(hostId), newDrain(hostId)];
    const write = <T>(work: (tx: Parameters<Parameters<typeof store.transaction>[0]>[0]) => Promise<T>) => store.transaction(work);
    expect(await write((tx) => tx.insertDrain(first))).toBe("inserted");
    expect(await write((tx) => tx.insertDrain(second))).toBe("drain_open");
    expect((await store.listOpenDrains({ limit: 500 })).map((drain) => drain.id)).toContain(first.id);
    expect(await write((tx) => tx.casDrain(first.id, 1, { status: "blocked", stopPinned: true, because: "stuck" }))).toBe(true);
    expect(await write((tx) => tx.casDrain(first.id, 1, { because: "late" }))).toBe(false);
    expect(await store.findDrain(hostId)).toMatchObject({ ...first, status: "blocked", stopPinned: true, because: "stuck", completedAt: undefined, version: 2 });
    expect(await write((tx) => tx.casDrain(first.id, 2, { status: "drained" }))).toBe(true);
    expect((await store.findDrain(hostId))!.completedAt).toBeDefined();
    expect(await write((tx) => tx.casDrain(first.id, 3, { status: "draining" }))).toBe(false);
    expect((await store.listOpenDrains({ limit: 500 })).map((drain) => drain.id)).not.toContain(first.id);
    expect(await write((tx) => tx.insertDrain(second))).toBe("inserted");
    expect((await store.findDrain(hostId))!.id).toBe(second.id);
    expect((await store.listOpenDrains({ limit: 500, after: second.id })).map((drain) => drain.id)).not.toContain(second.id);
  });

  test("the open drain is the host's, whatever a master with another clock called it", async () => {
    const { store } = world();
    const hostId = await world().host();
    const [later, first] = [newDrain(hostId), newDrain(hostId)];
    await store.transaction((tx) => tx.insertDrain(first));
    await store.transaction((tx) => tx.casDrain(first.id, 1, { status: "drained" }));
    await store.transaction((tx) => tx.insertDrain(later));
    expect((await store.findDrain(hostId))!.id).toBe(later.id);
  });

  test("a host's view says when it could last look at its workloads", async () => {
    const placed = await world().placed();
    const seenAt = async () => (await world().store.findHostView(placed.hostId))?.liveness?.observedAt;
    expect(await seenAt()).toBeUndefined();
    const beat = await world().session(placed.hostId);
    await world().beat(beat(1, { placements: undefined, observedError: "the engine is away" }));
    expect(await seenAt()).toBeUndefined();
    await world().beat(beat(2, { placements: [reported(placed)], snapshotHash: "another" }));
    expect(await seenAt()).toBeDefined();
  });

  test("a change of a move or a drain wakes whoever waits for it", async () => {
    const { store } = world();
    const heard: SignalTopic[] = [];
    const leave = store.onSignal((topic) => void heard.push(topic));
    await eventually(async () => {
      await insert(await newMove(await world().placed()));
      return heard.includes("moves");
    }, { what: "the signal moves" });
    leave();
  });
}
