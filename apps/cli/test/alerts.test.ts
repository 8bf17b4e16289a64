/** `skep alerts` and `skep webhook`: what they ask for and what they show, to the letter. */
import type { AlertJson, WebhookDeliveryJson } from "@skep/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ago, problem, startFakeApi, type FakeApi } from "./fake-api.ts";
import { hastyClock, skep } from "./run-skep.ts";
import { list, uuid } from "./samples.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());

const run = (...argv: string[]) => skep(argv, { url: api.url, clock: hastyClock() });
const alert = (over: Partial<AlertJson> = {}): AlertJson => ({
  id: uuid(1), key: `host_unreachable:${uuid(100)}`, rule: "host_unreachable", severity: "error", state: "firing", title: "Host unreachable: web-01", message: "host web-01 is unreachable: no heartbeat for 95.0 s",
  next: "skep explain host web-01", kind: "host.unreachable", host_id: uuid(100), host: "web-01", deployment_id: null, deployment: null, placement_id: null, lifecycle_id: null, count: 1,
  first_at: ago(192), last_at: ago(192), resolved_at: null, resolved_because: null, notified_at: ago(191), acknowledged_at: null, acknowledged_by: null, version: 1, ...over,
});
const webhook = (over: object = {}) => ({ id: uuid(300), name: "pager", url: "https://hooks.example/…", kinds: ["host.", "boot."], min_severity: "error", enabled: true, created_at: ago(500), updated_at: ago(500), ...over });
const delivery = (over: Partial<WebhookDeliveryJson> = {}): WebhookDeliveryJson => ({
  id: uuid(400), webhook_id: uuid(300), alert_id: uuid(1), type: "alert.firing", title: "Host unreachable: web-01", status: "dead", attempt: 8, next_attempt_at: null, last_status: 503, last_error: "the receiver answered 503, after 8 attempts", created_at: ago(90), completed_at: ago(5), ...over,
});

test("alerts: what fires, with what to do next in full; with --all what has resolved", async () => {
  const old = alert({ id: uuid(2), severity: "warning", title: "Deployment degraded: shop", message: "deployment shop is degraded", next: "skep explain deployment shop", count: 4, acknowledged_at: ago(10), acknowledged_by: "token:1" });
  const over = alert({ id: uuid(3), state: "resolved", resolved_at: ago(60), resolved_because: "the host is active" });
  api.on("listAlerts", ({ query }) => ({ body: list(alert(), old, ...(query["state"] === "all" ? [over] : [])) }));
  const firing = `ERROR  Host unreachable: web-01  3m12s
  host web-01 is unreachable: no heartbeat for 95.0 s
  next: skep explain host web-01
  ${uuid(1)}

WARNING  Deployment degraded: shop  3m12s  4 times  acknowledged by token:1
  deployment shop is degraded
  next: skep explain deployment shop
  ${uuid(2)}
`;
  expect(await run("alerts")).toEqual({ code: 0, err: "", out: firing });
  expect((await run("alerts", "--all")).out).toBe(`${firing}
resolved  Host unreachable: web-01  1m ago
  host web-01 is unreachable: no heartbeat for 95.0 s
  over: the host is active
  ${uuid(3)}
`);
  expect((await run("alerts", "--exit-code", "--min-severity", "error", "--host", "web-01", "--deployment", "shop")).code).toBe(9);
  expect(api.seen.at(-1)!.query).toMatchObject({ min_severity: "error", host: "web-01", deployment: "shop" });
  expect(JSON.parse((await run("alerts", "--json")).out)).toMatchObject({ items: [{ id: uuid(1), next: "skep explain host web-01" }, { id: uuid(2) }], next_cursor: null });
});

test("alerts: nothing fires; a wrong severity is a usage error", async () => {
  api.on("listAlerts", { body: list() });
  expect(await run("alerts", "--exit-code")).toEqual({ code: 0, out: "", err: "Nothing fires.\n" });
  expect((await run("alerts", "--min-severity", "loud")).code).toBe(2);
});

test("alerts ack: by id, and what has resolved says so", async () => {
  api.on("acknowledgeAlert", { body: alert({ acknowledged_at: ago(0), acknowledged_by: "token:1" }) });
  expect(await run("alerts", "ack", uuid(1))).toEqual({ code: 0, err: "", out: "Host unreachable: web-01: acknowledged by token:1; no reminders until it resolves\n" });
  expect(api.seen[0]).toMatchObject({ id: "acknowledgeAlert", params: { id: uuid(1) } });
  api.on("acknowledgeAlert", problem("alert_resolved"));
  expect((await run("alerts", "ack", uuid(1))).code).toBe(5);
  expect((await run("alerts", "ack", "web-01")).code).toBe(2);
});

test("webhook add: the secret alone on stdout, everything else beside it", async () => {
  api.on("createWebhook", { status: 201, body: { ...webhook(), secret: "whsec_abc", warnings: ["http: it can be read"] } });
  const { code, out, err } = await run("webhook", "add", "pager", "http://hooks.example/x", "--kind", "host.", "--kind", "boot.", "--min-severity", "error");
  expect([code, out]).toEqual([0, "whsec_abc\n"]);
  expect(err).toBe("warning: http: it can be read\npager is told of alerts from host. boot. from error on; the secret is not shown again. Try it: skep webhook test pager\n");
  expect(api.seen[0]!.body).toEqual({ name: "pager", url: "http://hooks.example/x", kinds: ["host.", "boot."], min_severity: "error" });
  await run("webhook", "add", "pager", "https://hooks.example/");
  expect(api.seen[1]!.body).toEqual({ name: "pager", url: "https://hooks.example/" });
  await skep(["webhook", "add", "pager", "-"], { url: api.url, clock: hastyClock(), stdin: "https://hooks.example/secret\n" });
  expect(api.seen[2]!.body).toEqual({ name: "pager", url: "https://hooks.example/secret" });
  expect(JSON.parse((await run("webhook", "add", "pager", "https://hooks.example/", "--json")).out)).toMatchObject({ secret: "whsec_abc" });
});

test("webhook ls and deliveries fit into 80 columns", async () => {
  api.on("listWebhooks", { body: list({ ...webhook(), deliveries: { pending: 2, dead: 1 } }, { ...webhook({ name: "chat", enabled: false, kinds: [], min_severity: "warning" }), deliveries: { pending: 0, dead: 0 } }) });
  api.on("listWebhookDeliveries", { body: list(delivery(), delivery({ id: uuid(401), type: "test", status: "delivered", attempt: 1, last_error: null })) });
  expect((await run("webhook", "ls")).out).toBe(`NAME   STATE     FROM     PENDING  DEAD  KINDS        RECEIVER
pager  enabled   error          2     1  host. boot.  https://hooks.example/…
chat   disabled  warning        0     0  all          https://hooks.example/…
`);
  expect((await run("webhook", "deliveries", "pager", "--status", "dead")).out).toBe(`ID                                      AGE  TYPE    STATUS     TRY  ERROR
${uuid(400)}  1m30s  firing  dead         8  the receiver answered 503, after 8 attempts
${uuid(401)}  1m30s  test    delivered    1  -
`);
  expect(api.seen.at(-1)).toMatchObject({ params: { webhook: "pager" }, query: { status: "dead" } });
  for (const argv of [["webhook", "ls"], ["webhook", "deliveries", "pager"]]) {
    const { out } = await skep(argv, { url: api.url, tty: true, columns: 80 });
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  }
  api.on("listWebhooks", { body: list() });
  expect((await run("webhook", "ls")).err).toBe("No webhooks. Add one: skep webhook add NAME URL\n");
});

test("webhook update, enable, disable, rm, test and retry", async () => {
  api.on("updateWebhook", { body: { ...webhook(), warnings: [] } });
  api.on("deleteWebhook", { body: webhook() });
  api.on("testWebhook", { status: 202, body: { delivery_id: uuid(400), webhook: "pager", status: "pending" } });
  api.on("retryWebhookDelivery", { status: 202, body: { delivery_id: uuid(400), webhook: "pager", status: "pending" } });
  expect((await run("webhook", "update", "pager", "--to", "https://b.example/", "--min-severity", "info")).out).toBe("pager is at https://hooks.example/…, told of alerts from host. boot. from error on\n");
  expect((await run("webhook", "enable", "pager")).out).toContain("is told of alerts again");
  expect((await run("webhook", "disable", "pager")).out).toContain("is told of nothing");
  expect(api.seen.map((seen) => seen.body)).toEqual([{ url: "https://b.example/", min_severity: "info" }, { enabled: true }, { enabled: false }]);
  expect((await run("webhook", "rm", "pager")).out).toBe("pager is removed\n");
  expect((await run("webhook", "test", "pager")).out).toContain("skep webhook deliveries pager");
  expect((await run("webhook", "retry", "pager", uuid(400))).out).toContain("is on its way again");
  expect(api.seen.at(-1)).toMatchObject({ id: "retryWebhookDelivery", params: { webhook: "pager", delivery: uuid(400) } });
  api.on("testWebhook", problem("webhook_not_found"));
  expect((await run("webhook", "test", "nobody")).code).toBe(3);
});
