/** Deliveries to real receivers over real HTTP: signed, retried, given up, sent again; and nobody waits for somebody else's receiver. */
import { HOUR_MS, type HostId, type WebhookDeliveryStatus } from "@skep/core";
import { eventually } from "@skep/testkit";
import { afterEach, expect, test } from "vitest";
import { isFromSkep, startReceiver, type Receiver } from "./receiver.ts";
import { startAlertRig, type AlertRig } from "./rig.ts";

const open: Receiver[] = [];
const receiver = async (first: Parameters<typeof startReceiver>[0]): Promise<Receiver> => {
  const started = await startReceiver(first);
  open.push(started);
  return started;
};
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const deliveries = async (rig: AlertRig, webhook: string, status?: WebhookDeliveryStatus) => rig.store.listWebhookDeliveries({ webhookId: (await rig.store.findWebhook(webhook))!.id, limit: 100, status });
async function unreachable(rig: AlertRig, name = "web-01"): Promise<HostId> {
  const hostId = await rig.host(name, "unreachable");
  await rig.happen("host.unreachable", { hostId, message: `host ${name} is unreachable: silent` });
  return hostId;
}

test("a receiver gets the alert, knows that it is ours, and hears of its end", async () => {
  const rig = await startAlertRig();
  const good = await receiver(204);
  const secret = await rig.addWebhook("pager", good.url);
  const hostId = await unreachable(rig);
  await rig.look();
  await rig.happen("host.active", { hostId, message: "the host is active" });
  await rig.look();
  expect(good.received.map((request) => [request.path, request.body.type, request.body.attempt, request.body.alert?.state])).toEqual([
    ["/hook?token=hidden", "alert.firing", 1, "firing"], ["/hook?token=hidden", "alert.resolved", 1, "resolved"],
  ]);
  const [firing, resolved] = good.received as [Receiver["received"][0], Receiver["received"][0]];
  expect(firing.body).toMatchObject({ schema_version: 1, title: "Host unreachable: web-01", alert: { rule: "host_unreachable", severity: "error", host: "web-01", host_id: hostId, next: "skep explain host web-01", count: 1, version: 1 } });
  expect(resolved.body.alert).toMatchObject({ id: firing.body.alert!.id, resolved_because: "the host is active", version: 2 });
  const nowS = rig.clock.now() / 1_000;
  for (const { headers, text, body } of good.received) {
    expect(headers).toMatchObject({ "content-type": "application/json", "skep-delivery": body.delivery_id, "user-agent": "skep/test" });
    expect(isFromSkep(secret, headers, text, nowS)).toBe(true);
    expect(isFromSkep(`${secret}x`, headers, text, nowS)).toBe(false);
    expect(isFromSkep(secret, headers, text.replace("web-01", "web-02"), nowS)).toBe(false);
    expect(isFromSkep(secret, { ...headers, "skep-timestamp": String(Number(headers["skep-timestamp"]) + 1) }, text, nowS)).toBe(false);
    expect(isFromSkep(secret, headers, text, nowS + 301)).toBe(false);
  }
  expect((await deliveries(rig, "pager")).map((one) => [one.status, one.attempt, one.lastStatus])).toEqual([["delivered", 1, 204], ["delivered", 1, 204]]);
});

test("one that fails until the third attempt gets it then: the same delivery, each attempt signed anew", async () => {
  const rig = await startAlertRig();
  const shaky = await receiver(500);
  const secret = await rig.addWebhook("shaky", shaky.url);
  await unreachable(rig);
  await rig.look();
  await rig.deliver();
  expect(shaky.received).toHaveLength(1);
  expect(await deliveries(rig, "shaky")).toMatchObject([{ status: "pending", attempt: 1, lastStatus: 500, lastError: "the receiver answered 500" }]);
  rig.clock.advance(30_001);
  await rig.deliver();
  shaky.answer = (_request, response) => void response.writeHead(200).end();
  rig.clock.advance(120_001);
  await rig.deliver();
  expect(shaky.received.map((request) => request.body.attempt)).toEqual([1, 2, 3]);
  expect(new Set(shaky.received.map((request) => request.headers["skep-delivery"])).size).toBe(1);
  expect(new Set(shaky.received.map((request) => request.headers["skep-signature"])).size).toBe(3);
  expect(isFromSkep(secret, shaky.received[2]!.headers, shaky.received[2]!.text, rig.clock.now() / 1_000)).toBe(true);
  expect(await deliveries(rig, "shaky")).toMatchObject([{ status: "delivered", attempt: 3 }]);
});

test("one that always refuses is a dead letter after eight attempts, is told of, and is sent again when a person says so", async () => {
  const rig = await startAlertRig();
  const never = await receiver(503);
  await rig.addWebhook("never", never.url);
  const hostId = await unreachable(rig);
  await rig.look();
  await rig.happen("host.active", { hostId });
  for (let look = 0; look < 12; look++) {
    await rig.look();
    rig.clock.advance(12 * HOUR_MS);
  }
  await rig.deliver();
  const of = async (type: string) => (await deliveries(rig, "never")).find((one) => one.body["type"] === type)!;
  const [firing, resolved] = [await of("alert.firing"), await of("alert.resolved")];
  expect(firing).toMatchObject({ status: "dead", attempt: 8, lastStatus: 503, lastError: "the receiver answered 503, after 8 attempts" });
  // The end waited for the beginning, and has begun since.
  const types = never.received.map((request) => request.body.type);
  expect(types.slice(0, 8)).toEqual(Array.from({ length: 8 }, () => "alert.firing"));
  expect(types.slice(8).every((type) => type === "alert.resolved")).toBe(true);
  expect(await rig.store.recentEvents(5, { kindPrefix: "webhook.delivery_dead" })).toMatchObject([{ severity: "warning", message: expect.stringContaining(`skep webhook retry never ${firing.id}`) as string }]);
  await expect(rig.control.retryWebhookDelivery("never", resolved.id, rig.context())).rejects.toMatchObject({ code: "delivery_not_dead" });
  await expect(rig.control.retryWebhookDelivery("never", hostId, rig.context())).rejects.toMatchObject({ code: "delivery_not_found" });
  never.answer = (_request, response) => void response.writeHead(200).end();
  expect((await rig.control.retryWebhookDelivery("never", firing.id, rig.context())).status).toBe(202);
  await rig.deliver();
  expect(never.received.at(-1)!.body).toMatchObject({ type: "alert.firing", attempt: 1, delivery_id: firing.id });
  expect((await deliveries(rig, "never", "delivered")).map((one) => one.id)).toContain(firing.id);
  expect((await rig.store.listAudit({ limit: 1, actionPrefix: "webhook.retry" }))[0]).toMatchObject({ actor: "token:test", detail: { name: "never", delivery_id: firing.id } });
});

test("one that hangs is cut off after ten seconds and delays nobody else's, however much waits for it", async () => {
  const rig = await startAlertRig();
  const hung = await receiver((_request, response) => void hung.held.push(response));
  const good = await receiver(200);
  await rig.addWebhook("hung", hung.url);
  await rig.addWebhook("good", good.url);
  for (let n = 1; n <= 9; n++) await unreachable(rig, `web-0${n}`);
  await rig.control.alertOnce();
  await rig.control.deliverOnce();
  // Four at a time to each: the good one's places are free again at once, the hung one's are not.
  await eventually(async () => {
    await rig.control.deliverOnce();
    return good.received.length === 9;
  }, { what: "the good receiver has everything while the other hangs" });
  await eventually(() => hung.held.length === 4, { what: "the hung one holds its four" });
  await rig.control.deliverOnce();
  expect(hung.received).toHaveLength(4);
  expect(await deliveries(rig, "hung", "pending")).toHaveLength(9);
  rig.clock.advance(10_000);
  await rig.control.drainDeliveries();
  expect((await deliveries(rig, "hung")).filter((one) => one.lastError === "no answer within 10000 ms")).toHaveLength(4);
});

test("redirects are not followed, an endless answer is not read, 410 is the end at once", async () => {
  const rig = await startAlertRig();
  const elsewhere = await receiver(200);
  const moved = await receiver((_request, response) => void response.writeHead(307, { location: elsewhere.url }).end());
  const endless = await receiver((_request, response) => {
    response.writeHead(200);
    const more = (): void => void (response.writable && response.write("x".repeat(65_536), () => more()));
    more();
  });
  const gone = await receiver(410);
  for (const [name, one] of [["moved", moved], ["endless", endless], ["gone", gone]] as const) await rig.addWebhook(name, one.url);
  await unreachable(rig);
  await rig.look();
  expect(elsewhere.received).toEqual([]);
  expect(await deliveries(rig, "moved")).toMatchObject([{ status: "pending", lastStatus: 307, lastError: "the receiver answered 307: redirects are not followed" }]);
  expect(await deliveries(rig, "endless")).toMatchObject([{ status: "delivered" }]);
  expect(await deliveries(rig, "gone")).toMatchObject([{ status: "dead", attempt: 1, lastStatus: 410 }]);
  await moved.close();
  rig.clock.advance(HOUR_MS);
  await rig.deliver();
  expect(await deliveries(rig, "moved")).toMatchObject([{ status: "pending", attempt: 2, lastStatus: undefined, lastError: "connection failed (ECONNREFUSED)" }]);
});

test("a test delivery says that it is one; a disabled webhook is sent nothing and keeps what waits", async () => {
  const rig = await startAlertRig();
  const good = await receiver(200);
  await rig.addWebhook("pager", good.url);
  expect((await rig.control.testWebhook("pager", rig.context())).body).toMatchObject({ webhook: "pager", status: "pending" });
  await rig.deliver();
  expect(good.received[0]!.body).toMatchObject({ type: "test", title: "A test of webhook pager", alert: null });
  await unreachable(rig);
  await rig.control.alertOnce();
  await rig.control.updateWebhook("pager", { enabled: false }, rig.context());
  await rig.deliver();
  await expect(rig.control.testWebhook("pager", rig.context())).rejects.toMatchObject({ code: "webhook_disabled" });
  expect(good.received).toHaveLength(1);
  await rig.control.updateWebhook("pager", { enabled: true }, rig.context());
  await rig.deliver();
  expect(good.received[1]!.body.type).toBe("alert.firing");
});

test("neither the secret nor more of the URL than where it is gets into a log, an event, the audit log or a list", async () => {
  const rig = await startAlertRig();
  const bad = await receiver(500);
  const secret = await rig.addWebhook("pager", bad.url);
  expect(secret).toMatch(/^whsec_[0-9A-Za-z]{40,}$/);
  await unreachable(rig);
  await rig.look();
  await rig.control.updateWebhook("pager", { url: `${bad.url}&more=hidden` }, rig.context());
  rig.clock.advance(HOUR_MS);
  await bad.close();
  await rig.deliver();
  const written = JSON.stringify([rig.logs, await rig.store.recentEvents(100), await rig.store.listAudit({ limit: 100 }), await deliveries(rig, "pager"), (await rig.control.testWebhook("pager", rig.context())).body, (await rig.control.updateWebhook("pager", {}, rig.context())).body]);
  expect(written).toContain("a webhook delivery failed");
  expect(written).not.toContain(secret);
  expect(written).not.toContain("hidden");
  expect(JSON.stringify(await rig.store.listWebhooks())).not.toContain(secret);
});
