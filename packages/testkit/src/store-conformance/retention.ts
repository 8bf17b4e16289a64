/** What has ended is deleted after its time, and not while somebody still reads it: rollouts, moves, drains, dead letters. */
import { DEFAULT_ROLLOUT } from "@skep/core";
import type { DrainId, HostId, MoveId, RolloutId, RolloutStatus, WebhookDeliveryId, WebhookId } from "@skep/core";
import { expect, test } from "vitest";
import { eventually } from "../eventually.ts";
import type { Placed, World } from "./world.ts";
import { newHash, newId } from "./world.ts";

const HOUR = 3_600_000;
/** Everything that has ended did so before a moment that is still to come. */
const ALL = -60_000;

export function retentionRules(world: () => World): void {
  const retain = (historyMs: number) => world().store.retain({ eventsMs: HOUR, idempotencyMs: HOUR, alertsMs: HOUR, historyMs });
  const write: World["store"]["transaction"] = (work) => world().store.transaction(work);
  const rollout = async (placed: Placed, generation: number, status: RolloutStatus = "failed", id = newId<RolloutId>()): Promise<RolloutId> => {
    await write((tx) => tx.insertRollout({
      id, deploymentId: placed.deploymentId, deployment: placed.name, action: "mutate", status: "running", generation, desired: "running", baseGeneration: 1, baseDesired: "running", basePlacement: undefined, policy: { ...DEFAULT_ROLLOUT, maxParallel: 3 },
      components: undefined, patchedGeneration: undefined, whole: false, timeoutS: undefined, wave: 1, members: [], because: "test",
    }));
    if (status !== "running") expect(await write((tx) => tx.casRollout(id, 1, { status, because: "x" }))).toBe(true);
    return id;
  };
  const drain = async (hostId: HostId, over = true): Promise<DrainId> => {
    const id = newId<DrainId>();
    expect(await write((tx) => tx.insertDrain({ id, hostId, host: "a", status: "draining", stopPinned: false, because: "test" }))).toBe("inserted");
    if (over) expect(await write((tx) => tx.casDrain(id, 1, { status: "drained" }))).toBe(true);
    return id;
  };
  const move = async (placed: Placed, drainId: DrainId | undefined, over = true): Promise<MoveId> => {
    const id = newId<MoveId>();
    expect(await write(async (tx) => tx.insertMove({
      id, deploymentId: placed.deploymentId, deployment: placed.name, reason: drainId === undefined ? "rebalance" : "drain", drainId, status: "pending", fromPlacementId: placed.placementId, fromHostId: placed.hostId,
      fromHost: "a", toHostId: placed.hostId, toHost: "b", toPlacementId: undefined, desired: "running", breakFirst: false, slot: undefined, because: "test",
    }))).toBe("inserted");
    if (over) expect(await write((tx) => tx.casMove(id, 1, { status: "succeeded" }))).toBe(true);
    return id;
  };
  const rolloutsOf = async ({ deploymentId }: Placed) => (await world().store.listRollouts({ deploymentId, limit: 100 })).map((one) => one.id);
  const movesOf = async ({ deploymentId }: Placed) => (await world().store.listMoves({ deploymentId, limit: 100 })).map((one) => one.id);
  /** Until the database's clock shows another millisecond. */
  const later = async (): Promise<void> => {
    const from = await world().store.now();
    await eventually(async () => (await world().store.now()) > from, { what: "a millisecond later" });
  };

  test("ended rollouts are kept for their time; after it a deployment keeps its newest", async () => {
    const placed = await world().placed();
    const [first, second, newest] = [await rollout(placed, 2), await rollout(placed, 3, "succeeded"), await rollout(placed, 4)];
    expect(await retain(HOUR)).toMatchObject({ rollouts: 0, more: false });
    expect(await rolloutsOf(placed)).toEqual([first, second, newest]);
    expect(await retain(ALL)).toMatchObject({ rollouts: 2, more: false });
    expect(await rolloutsOf(placed)).toEqual([newest]);
    expect(await retain(ALL)).toMatchObject({ rollouts: 0 });
  });

  test("an open rollout stays, and with it nothing that is older", async () => {
    const placed = await world().placed();
    await rollout(placed, 2);
    const open = await rollout(placed, 3, "running");
    await retain(ALL);
    expect(await rolloutsOf(placed)).toEqual([open]);
  });

  test("the newest is the newest by the database's clock, and by its id: each is asked for", async () => {
    const placed = await world().placed();
    const [oldest, small, great] = [newId<RolloutId>(), newId<RolloutId>(), newId<RolloutId>()];
    await rollout(placed, 2, "failed", oldest);
    await later();
    await rollout(placed, 3, "failed", great);
    await later();
    await rollout(placed, 4, "failed", small);
    await retain(ALL);
    expect(await rolloutsOf(placed)).toEqual([small, great]);
  });

  test("a rollout stays while a placement is at its generation, or is to be: it says whether that one was good", async () => {
    const placed = await world().placed();
    const [applied, wanted, other] = [await rollout(placed, 5), await rollout(placed, 6), await rollout(placed, 7)];
    const newest = await rollout(placed, 8);
    const { version } = (await world().view(placed)).placement;
    await write((tx) => tx.casPlacement(placed.placementId, version, { generation: 6, appliedGeneration: 5 }));
    await retain(ALL);
    expect(await rolloutsOf(placed)).toEqual([applied, wanted, newest]);
    expect(await world().store.findRollout(other)).toBeUndefined();
    // Of another deployment's placements, and of those that are gone, nothing is believed.
    await write((tx) => tx.casPlacement(placed.placementId, version + 1, { removed: true }));
    await retain(ALL);
    expect(await rolloutsOf(placed)).toEqual([newest]);
  });

  test("ended moves go after their time, open ones stay", async () => {
    const placed = await world().placed();
    const ended = await move(placed, undefined);
    const open = await move(placed, undefined, false);
    await retain(HOUR);
    expect(await movesOf(placed)).toEqual([ended, open]);
    expect((await retain(ALL)).moves).toBe(1);
    expect(await movesOf(placed)).toEqual([open]);
  });

  test("a host's last drain stays with its moves; an earlier one goes with its own", async () => {
    const { store } = world();
    const placed = await world().placed();
    const earlier = await drain(placed.hostId);
    await move(placed, earlier);
    const last = await drain(placed.hostId);
    const kept = await move(placed, last);
    expect(await retain(HOUR)).toMatchObject({ moves: 0, drains: 0 });
    expect(await retain(ALL)).toMatchObject({ moves: 1, drains: 1 });
    expect(await movesOf(placed)).toEqual([kept]);
    expect((await store.findDrain(placed.hostId))?.id).toBe(last);
    expect(await retain(ALL)).toMatchObject({ moves: 0, drains: 0 });
  });

  test("a drain that goes on keeps its ended moves, and leaves nothing of the drain before it", async () => {
    const placed = await world().placed();
    await drain(placed.hostId);
    const open = await drain(placed.hostId, false);
    const moved = await move(placed, open);
    expect(await retain(ALL)).toMatchObject({ moves: 0, drains: 1 });
    expect(await movesOf(placed)).toEqual([moved]);
    expect((await world().store.findDrain(placed.hostId))?.id).toBe(open);
  });

  test("a drain that is over stays as long as a move of it is under way", async () => {
    const placed = await world().placed();
    const cancelled = await drain(placed.hostId);
    const underWay = await move(placed, cancelled, false);
    await drain(placed.hostId);
    expect(await retain(ALL)).toMatchObject({ moves: 0, drains: 0 });
    await write((tx) => tx.casMove(underWay, 1, { status: "cancelled" }));
    expect(await retain(ALL)).toMatchObject({ moves: 1, drains: 1 });
  });

  deadLetterRules(world);
}

function deadLetterRules(world: () => World): void {
  const write: World["store"]["transaction"] = (work) => world().store.transaction(work);
  const webhook = async (name = `hook-${newHash().slice(0, 8)}`) => {
    const id = newId<WebhookId>();
    await write((tx) => tx.insertWebhook({ id, name, url: "https://receiver.example/x", filter: { kinds: [], minSeverity: "info" }, secret: "whsec_x" }));
    return { webhookId: id, webhook: name };
  };
  const deliver = async (webhookId: WebhookId, status: "dead" | "delivered" | "pending" = "dead"): Promise<WebhookDeliveryId> => {
    const id = newId<WebhookDeliveryId>();
    await write((tx) => tx.insertWebhookDeliveries([{ id, webhookId, alertId: undefined, body: {} }]));
    if (status !== "pending") await write((tx) => tx.casWebhookDelivery(id, 1, { status }));
    return id;
  };
  const drop = (deadLettersMs: number, deadLettersPerWebhook: number) => write((tx) => tx.dropDeadLetters({ deadLettersMs, deadLettersPerWebhook }));
  const left = async (webhookId: WebhookId) => (await world().store.listWebhookDeliveries({ webhookId, limit: 100 })).map((one) => one.id);

  test("of dead letters the newest so many of each webhook are kept, and it is said whose went", async () => {
    const [one, two] = [await webhook("a-gone"), await webhook("b-well")];
    const [oldest, older, newer, newest] = [await deliver(one.webhookId), await deliver(one.webhookId), await deliver(one.webhookId), await deliver(one.webhookId)];
    const others = [await deliver(one.webhookId, "delivered"), await deliver(one.webhookId, "pending"), await deliver(one.webhookId, "pending")];
    const same = [await deliver(two.webhookId), await deliver(two.webhookId)];
    expect(await drop(HOUR, 4)).toEqual({ dropped: [], more: false });
    expect(await drop(HOUR, 2)).toEqual({ dropped: [{ ...one, expired: 0, surplus: 2 }], more: false });
    expect(await left(one.webhookId)).toEqual([...others.toReversed(), newest, newer]);
    expect(await left(two.webhookId)).toEqual(same.toReversed());
    for (const id of [oldest, older]) expect(await world().store.findWebhookDelivery(id)).toBeUndefined();
    // What was given up longest ago goes first, and not what was made first.
    await write(async (tx) => tx.casWebhookDelivery(newer, 2, { status: "pending", attempt: 0 }));
    await eventually(async () => (await world().store.now()) > (await world().store.findWebhookDelivery(newest))!.completedAt!, { what: "a millisecond later" });
    await write((tx) => tx.casWebhookDelivery(newer, 3, { status: "dead" }));
    expect(await drop(HOUR, 1)).toEqual({ dropped: [{ ...one, expired: 0, surplus: 1 }, { ...two, expired: 0, surplus: 1 }], more: false });
    expect((await left(one.webhookId)).slice(3)).toEqual([newer]);
    await write(async (tx) => [await tx.deleteWebhook(one.webhookId), await tx.deleteWebhook(two.webhookId)]);
  });

  test("dead letters go after their time, few as they are; one that is on its way again stays, and so does all else", async () => {
    const hook = await webhook();
    const [sent, again, delivered] = [await deliver(hook.webhookId), await deliver(hook.webhookId), await deliver(hook.webhookId, "delivered")];
    await write((tx) => tx.casWebhookDelivery(again, 2, { status: "pending", attempt: 0 }));
    expect(await drop(HOUR, 10)).toEqual({ dropped: [], more: false });
    expect(await drop(ALL, 10)).toEqual({ dropped: [{ ...hook, expired: 1, surplus: 0 }], more: false });
    expect(await left(hook.webhookId)).toEqual([delivered, again]);
    expect(await world().store.findWebhookDelivery(sent)).toBeUndefined();
    await world().store.retain({ eventsMs: HOUR, idempotencyMs: HOUR, alertsMs: HOUR, historyMs: ALL });
    expect(await left(hook.webhookId)).toEqual([delivered, again]);
  });
}
