/** The retention pass: nothing that was kept for somebody goes unsaid, whoever is killed, and one pass takes as much as there is. */
import { DAY_MS, DEFAULT_RETENTION, type Retention, type WebhookDeliveryId, type WebhookId } from "@skep/core";
import { expect, test } from "vitest";
import { startAlertRig, type AlertRig } from "../alerts/rig.ts";

const start = async (patch: Partial<Retention> = {}) => {
  const rig = await startAlertRig({ retention: { ...DEFAULT_RETENTION, ...patch } });
  await rig.addWebhook("pager", "http://127.0.0.1:1/x");
  const { id } = (await rig.store.findWebhook("pager"))!;
  return { rig, id };
};
let made = 0;
const die = async ({ store }: AlertRig, webhookId: WebhookId, count: number): Promise<void> => {
  const ids = Array.from({ length: count }, () => `00000000-0000-7000-8000-${String((made += 1)).padStart(12, "0")}` as WebhookDeliveryId);
  await store.transaction(async (tx) => {
    await tx.insertWebhookDeliveries(ids.map((id) => ({ id, webhookId, alertId: undefined, body: {} })));
    for (const id of ids) await tx.casWebhookDelivery(id, 1, { status: "dead" });
  });
};
const dead = async ({ store }: AlertRig): Promise<number> => (await store.listWebhooks())[0]!.deliveries.dead;
const told = ({ store }: AlertRig) => store.recentEvents(100, { kindPrefix: "webhook.dead_letters_dropped" });

test("dead letters are kept for thirty days, and their end is told of: whose, how many, why, and what to do", async () => {
  const { rig, id } = await start();
  await die(rig, id, 3);
  rig.clock.advance(DEFAULT_RETENTION.deadLettersMs);
  expect(await rig.control.retainOnce()).toMatchObject({ deadLetters: 0 });
  expect([await dead(rig), await told(rig)]).toEqual([3, []]);
  rig.clock.advance(1);
  expect(await rig.control.retainOnce()).toMatchObject({ deadLetters: 3 });
  const [event, ...more] = await told(rig);
  expect(more).toEqual([]);
  expect(event).toMatchObject({ severity: "warning", data: { webhook_id: id, expired: 3, surplus: 0 } });
  expect(event!.message).toBe("dead letters of webhook pager were deleted and can no longer be sent again: 3 given up longer than 30 days ago; see what is left and why it fails: skep webhook deliveries pager --status dead; alerts themselves: skep alerts --all");
  expect(rig.logs.filter((line) => line.includes("dead letters were deleted"))).toHaveLength(1);
  expect(await rig.control.retainOnce()).toMatchObject({ deadLetters: 0 });
  expect(await told(rig)).toHaveLength(1);
});

test("more dead letters of one webhook than are kept go at the next pass, however young", async () => {
  const { rig, id } = await start({ deadLettersPerWebhook: 2 });
  await die(rig, id, 5);
  expect(await rig.control.retainOnce()).toMatchObject({ deadLetters: 3 });
  expect(await dead(rig)).toBe(2);
  expect(await told(rig)).toMatchObject([{ message: expect.stringContaining("3 beyond the newest 2;") as string, data: { expired: 0, surplus: 3 } }]);
  rig.clock.advance(31 * DAY_MS);
  await die(rig, id, 2);
  await rig.control.retainOnce();
  expect((await told(rig)).at(-1)).toMatchObject({ data: { expired: 2, surplus: 0 } });
});

test("a master that is killed before its commit has neither deleted nor told; one that lost the answer has done both, once", async () => {
  const { rig, id } = await start({ deadLettersPerWebhook: 1 });
  await die(rig, id, 4);
  const lost = async (at: "commit" | "committed") => {
    let commits = 0;
    const { control } = await rig.another({ latency: async (point) => {
      // The first one of a pass is that of everything else.
      if (point === at && (commits += 1) === 2) throw new Error("gone");
    } });
    await expect(control.retainOnce()).rejects.toThrow("gone");
  };
  await lost("commit");
  expect([await dead(rig), await told(rig)]).toEqual([4, []]);
  await lost("committed");
  expect([await dead(rig), (await told(rig)).length]).toEqual([1, 1]);
  expect(await rig.control.retainOnce()).toMatchObject({ deadLetters: 0 });
  expect(await told(rig)).toHaveLength(1);
});

test("a backlog is taken in one pass, batch by batch, and the pass ends", async () => {
  const { rig } = await start();
  const batches = [10_000, 10_000, 7];
  let asked = 0;
  const none = { idempotencyKeys: 0, alerts: 0, webhookDeliveries: 0, rollouts: 0, moves: 0, drains: 0 };
  rig.store.retain = async () => {
    const events = batches[asked++] ?? 10_000;
    return { events, ...none, more: events === 10_000 };
  };
  expect(await rig.control.retainOnce()).toMatchObject({ events: 20_007, deadLetters: 0 });
  expect(asked).toBe(3);
  // One that never ends is left for the next pass.
  await rig.control.retainOnce();
  expect(asked).toBe(23);
});
