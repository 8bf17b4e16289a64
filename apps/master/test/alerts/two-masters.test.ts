/** Two masters on one PostgreSQL, both looking and sending all the time: each notice reaches the receiver once. */
import { PRODUCTION_POLICY, timingsFor, uuidv7, type HostId } from "@skep/core";
import { createWebhookRequest } from "@skep/protocol";
import { createLogger, specHash, systemClock, systemRng } from "@skep/runtime";
import { eventually } from "@skep/testkit";
import { useDatabase } from "@skep/testkit/vitest";
import { expect, test } from "vitest";
import { createControl } from "../../src/control/index.ts";
import { createWebhookSender } from "../../src/webhooks/send.ts";
import { fakeAgents } from "../http/harness.ts";
import { openStore } from "../http/use-api.ts";
import { isFromSkep, startReceiver } from "./receiver.ts";

const database = useDatabase();
const HOSTS = 12;

test("two masters on one database tell of each beginning and each end once", async () => {
  const [clock, rng] = [systemClock(), systemRng()];
  const logger = createLogger({ name: "test", level: "silent", destination: "stderr" });
  const sender = createWebhookSender({ clock, allowLoopback: true, userAgent: "skep/test" });
  const stores = [await openStore(database.url), await openStore(database.url)];
  const masters = await Promise.all(stores.map((store) => createControl(
    { store, agents: fakeAgents(), clock, rng, logger, policy: PRODUCTION_POLICY, timings: timingsFor(30_000), hash: specHash, failpoint: () => undefined },
    { webhooks: { sender, allowLoopback: true } },
  )));
  const good = await startReceiver(200);
  const store = stores[0]!;
  await Promise.all(masters.map((master) => master.alertOnce()));
  const context = { actor: "token:test", requestId: "r", idempotency: undefined };
  const { secret } = (await masters[0]!.createWebhook(createWebhookRequest.parse({ name: "pager", url: good.url }), context)).body;
  const ids = Array.from({ length: HOSTS }, () => uuidv7(clock.now(), rng) as HostId);
  const tell = (kind: string): Promise<unknown> => Promise.all(ids.map((hostId) => store.transaction((tx) => tx.appendEvent({ kind, severity: "warning", message: kind, hostId }))));

  let over = false;
  const running = masters.map(async (master) => {
    while (!over) {
      await master.alertOnce();
      await master.deliverOnce();
    }
    await master.drainDeliveries();
  });
  const heard = (type: string): number => good.received.filter((request) => request.body.type === type).length;
  await store.transaction(async (tx) => {
    for (const [index, id] of ids.entries()) await tx.insertHost({ id, name: `web-${index}`, labels: {}, notes: undefined, address: undefined, agentPort: 1, allowedCidr: undefined });
  });
  await tell("breaker.opened");
  await eventually((status) => (status(`${heard("alert.firing")} told`), heard("alert.firing") >= HOSTS), { what: "every beginning is told" });
  await tell("breaker.opened");
  await tell("breaker.closed");
  await eventually((status) => (status(`${heard("alert.resolved")} told`), heard("alert.resolved") >= HOSTS), { what: "every end is told" });
  over = true;
  await Promise.all(running);

  expect(new Set(good.received.map((request) => request.body.delivery_id)).size).toBe(2 * HOSTS);
  expect(good.received).toHaveLength(2 * HOSTS);
  expect(new Set(good.received.map((request) => `${request.body.type} ${request.body.alert?.host_id ?? ""}`)).size).toBe(2 * HOSTS);
  for (const { headers, text } of good.received) expect(isFromSkep(secret, headers, text, clock.now() / 1_000)).toBe(true);
  expect((await store.listAlerts({ limit: 100 })).map((alert) => alert.state)).toEqual(Array.from({ length: HOSTS }, () => "resolved"));
  expect((await store.listWebhooks())[0]!.deliveries).toEqual({ pending: 0, dead: 0 });
  await good.close();
  for (const one of stores) await one.close();
});
