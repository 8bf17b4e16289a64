/** Retention on PostgreSQL: bounded batches, several masters at once, and a dead letter that is sent again at that moment. */
import type { Store, WebhookDeliveryId, WebhookId } from "@skep/core";
import { runSql, withConnection } from "@skep/store/server";
import { useDatabase } from "@skep/testkit/vitest";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fillRows, idAt } from "./fill.ts";
import { openStore } from "./open-store.ts";

const HOUR = 3_600_000;
const LIMITS = { eventsMs: HOUR, idempotencyMs: HOUR, alertsMs: HOUR, historyMs: HOUR };
const ID = "('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid";
/** More than a batch. */
const MANY = 10_050;

const database = useDatabase();
let store: Store;
let other: Store;
beforeAll(async () => {
  await fillRows(database.url, 2);
  store = await openStore(database.url);
  other = await openStore(database.url);
});
afterAll(() => Promise.all([store.close(), other.close()]));

/** All of one host, which is the worst that can be. */
const fillMoves = async (): Promise<void> => {
  const age = "now() - interval '1 day' + n * interval '1 second'";
  await runSql(database.url, `INSERT INTO drains (id, host_id, host, status, stop_pinned, because, created_at, completed_at)
    SELECT ${ID}, '${idAt(1)}', 'a', 'drained', false, 'x', ${age}, ${age} FROM generate_series(1, ${MANY}) n`);
  await runSql(database.url, `INSERT INTO moves (id, deployment_id, deployment, reason, drain_id, status, from_placement_id, from_host_id, from_host, to_host_id, to_host, desired, break_first, because, completed_at)
    SELECT ${ID}, '${idAt(1)}', 'app-1', 'drain', ${ID}, 'succeeded', '${idAt(1)}', '${idAt(1)}', 'a', '${idAt(2)}', 'b', 'running', false, 'x', now() - interval '1 day' FROM generate_series(1, ${MANY}) n`);
};
const fillRollouts = (): Promise<unknown> => runSql(database.url, `
  INSERT INTO rollouts (id, deployment_id, deployment, action, status, generation, desired, base_desired, policy, whole, wave, members, because, created_at, completed_at)
    SELECT ${ID}, '${idAt(1)}', 'app-1', 'mutate', 'failed', n + 1, 'running', 'running', '{}', false, 1, '[]', 'x', now() - interval '2 day' + n * interval '1 second', now() - interval '1 day' FROM generate_series(1, ${MANY}) n`);

test("a backlog goes in batches, each saying that there is more; a drain never before its moves", async () => {
  await fillMoves();
  const first = await store.retain(LIMITS);
  expect(first).toMatchObject({ moves: 10_000, more: true });
  const second = await store.retain(LIMITS);
  expect(second.moves).toBe(MANY - 1 - 10_000);
  const third = await store.retain(LIMITS);
  expect([first.drains + second.drains + third.drains, third.more]).toEqual([MANY - 1, false]);
  expect((await store.listMoves({ limit: 10 })).map((move) => move.drainId)).toEqual([(await store.findDrain(idAt(1)))!.id]);
});

test("masters that delete at the same moment delete each row once, and none waits for a row that somebody holds", async () => {
  await fillRollouts();
  // Begun two days ago and over since yesterday: it is the end that counts.
  expect((await store.retain({ ...LIMITS, historyMs: 36 * HOUR })).rollouts).toBe(0);
  await withConnection(database.url, async (run) => {
    await run("BEGIN");
    await run("SELECT 1 FROM rollouts WHERE id = $1 FOR UPDATE", [idAt(7)]);
    const counts = await Promise.all([store, other, store, other].map((one) => one.retain(LIMITS)));
    const rest = await store.retain(LIMITS);
    expect([...counts, rest].reduce((sum, { rollouts }) => sum + rollouts, 0)).toBe(MANY - 2);
    await run("ROLLBACK");
  });
  expect((await store.listRollouts({ limit: 10 })).map((rollout) => rollout.id)).toEqual([idAt(7), idAt(MANY)]);
  expect((await store.retain(LIMITS)).rollouts).toBe(1);
});

test("a dead letter that is being sent again is not dropped under the hands of whoever asked for it", async () => {
  const [webhookId, again, gone] = [idAt<WebhookId>(1), idAt<WebhookDeliveryId>(1), idAt<WebhookDeliveryId>(2)];
  await store.transaction(async (tx) => {
    await tx.insertWebhook({ id: webhookId, name: "pager", url: "https://receiver.example/x", filter: { kinds: [], minSeverity: "info" }, secret: "whsec_x" });
    await tx.insertWebhookDeliveries([again, gone].map((id) => ({ id, webhookId, alertId: undefined, body: {} })));
    for (const id of [again, gone]) await tx.casWebhookDelivery(id, 1, { status: "dead" });
  });
  const drop = () => other.transaction((tx) => tx.dropDeadLetters({ deadLettersMs: -HOUR, deadLettersPerWebhook: 10 }));
  await store.transaction(async (tx) => {
    expect(await tx.casWebhookDelivery(again, 2, { status: "pending", attempt: 0 })).toBe(true);
    expect(await drop()).toMatchObject({ dropped: [{ webhook: "pager", expired: 1 }] });
  });
  expect(await drop()).toEqual({ dropped: [], more: false });
  expect((await store.listWebhookDeliveries({ webhookId, limit: 10 })).map(({ id, status }) => [id, status])).toEqual([[again, "pending"]]);
});
