/** Alerts and webhooks through the API: what is shown, what is refused, who may, and that each act is on record. */
import { uuidv7, type HostId, type WebhookDeliveryId } from "@skep/core";
import { systemClock, systemRng } from "@skep/runtime";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import { useApi } from "./use-api.ts";

const api = useApi();
const newId = <T extends string>(): T => uuidv7(systemClock().now(), systemRng()) as T;
const add = (name: string, over: object = {}) => api.call("POST", "/v1/webhooks", { body: { name, url: "https://receiver.example/T0/B0/secretpath", ...over } });

test("alerts: the firing ones unless asked otherwise, filtered by severity, host and deployment, page by page, acknowledged", async () => {
  await api.control.alertOnce();
  const [one, two] = [await api.activeHost("alert-01"), await api.activeHost("alert-02")];
  const happen = (kind: string, hostId: HostId) => api.store.transaction((tx) => tx.appendEvent({ kind, severity: "warning", message: `message of ${kind}`, hostId }));
  await happen("breaker.opened", one.id);
  await happen("host.token_replay", one.id);
  await happen("host.flapping", two.id);
  await happen("host.network_unreachable", two.id);
  await happen("host.network_reachable", two.id);
  // Events are read once every older transaction on the server has ended, another database's too.
  await eventually(async () => {
    await api.control.alertOnce();
    return (await api.call("GET", "/v1/alerts?state=all&limit=9")).json.items.filter((alert: { state: string }) => alert.state === "resolved").length === 1;
  }, { what: "the last event is taken" });
  expect((await api.call("GET", "/v1/alerts?state=all")).json.items).toHaveLength(4);
  const rules = async (query: string) => (await api.call("GET", `/v1/alerts${query}`)).json.items.map((alert: { rule: string }) => alert.rule).sort();
  expect(await rules("")).toEqual(["breaker_open", "enrolment_token_misused", "host_flapping"]);
  expect(await rules("?state=resolved")).toEqual(["host_network_unreachable"]);
  expect(await rules("?min_severity=error")).toEqual(["enrolment_token_misused"]);
  expect(await rules("?host=alert-02&state=all")).toEqual(["host_flapping", "host_network_unreachable"]);
  expect((await api.call("GET", "/v1/alerts?host=nobody")).json.code).toBe("host_not_found");
  expect((await api.call("GET", "/v1/alerts?deployment=nobody")).json.code).toBe("deployment_not_found");
  const page = (await api.call("GET", "/v1/alerts?limit=2")).json;
  expect([page.items.length, (await api.call("GET", `/v1/alerts?limit=2&cursor=${page.next_cursor}`)).json.items.length]).toEqual([2, 1]);

  const [shown] = (await api.call("GET", "/v1/alerts?host=alert-01&min_severity=error", { role: "viewer" })).json.items;
  expect(shown).toMatchObject({ state: "firing", severity: "error", title: "Enrolment token misused: alert-01", next: expect.stringContaining("skep host bundle alert-01"), host: "alert-01", host_id: one.id, deployment: null, count: 1, resolved_at: null, acknowledged_at: null, kind: "host.token_replay" });
  const acknowledged = await api.call("POST", `/v1/alerts/${shown.id}/acknowledge`, { role: "operator" });
  expect([acknowledged.status, acknowledged.json.acknowledged_by]).toEqual([200, `token:${api.tokenIds.operator}`]);
  expect((await api.call("POST", `/v1/alerts/${newId()}/acknowledge`)).json.code).toBe("alert_not_found");
  expect((await api.call("GET", "/v1/audit?action=alert.")).json.items).toMatchObject([{ action: "alert.acknowledge", actor: `token:${api.tokenIds.operator}`, subject: `alert:${shown.id}` }]);
});

test("a webhook's secret is in the answer of its creation and nowhere else, then or later; of its URL only where it is", async () => {
  const key = { "idempotency-key": crypto.randomUUID() };
  const made = await api.call("POST", "/v1/webhooks", { body: { name: "pager", url: "http://10.0.0.7:9000/T0/B0/secretpath?key=hush", kinds: ["host.", "boot."], min_severity: "error" }, headers: key });
  expect([made.status, made.headers["location"]]).toEqual([201, `/v1/webhooks/${made.json.id}`]);
  expect(made.json).toMatchObject({ name: "pager", url: "http://10.0.0.7:9000/…", kinds: ["host.", "boot."], min_severity: "error", enabled: true, secret: expect.stringMatching(/^whsec_/), warnings: [expect.stringContaining("http:")] });
  const again = await api.call("POST", "/v1/webhooks", { body: { name: "pager", url: "http://10.0.0.7:9000/T0/B0/secretpath?key=hush", kinds: ["host.", "boot."], min_severity: "error" }, headers: key });
  expect([again.status, again.json.code]).toEqual([409, "secret_shown_once"]);
  expect((await add("pager")).json.code).toBe("webhook_exists");
  expect((await add("quiet")).json.warnings).toEqual([]);
  const everywhere = [await api.call("GET", "/v1/webhooks", { role: "operator" }), await api.call("PATCH", "/v1/webhooks/pager", { body: { enabled: false } }), await api.call("GET", "/v1/audit?limit=500"), await api.call("GET", "/v1/events?limit=1000"), again];
  for (const { text } of everywhere) for (const secret of [made.json.secret, "secretpath", "hush"]) expect(text).not.toContain(secret);
  expect(api.logs.join("\n")).not.toContain(made.json.secret);
  expect((await api.call("GET", "/v1/webhooks")).json.items.map((webhook: { name: string; enabled: boolean }) => [webhook.name, webhook.enabled])).toEqual([["pager", false], ["quiet", true]]);
  expect((await api.call("GET", "/v1/audit?action=webhook.")).json.items.map((entry: { action: string }) => entry.action)).toEqual(["webhook.update", "webhook.create", "webhook.create"]);
});

test("what may not be called is refused, whatever way it is written; and no refusal repeats it", async () => {
  for (const url of ["http://169.254.169.254/latest", "https://100.100.100.200/", "http://0.0.0.0/x", "http://[::]/", "http://224.0.0.1/", "http://[::ffff:169.254.169.254]/", "http://2852039166/", "ftp://receiver.example/hush", "receiver.example/hush", "https://user:hush@receiver.example/", "https://receiver.example:0/hush", "http://127.0.0.1/hush", "http://localhost/hush"]) {
    const { json, text } = await add("refused", { url });
    expect([url, json.code]).toEqual([url, "webhook_url_refused"]);
    expect(text).not.toContain("hush");
  }
  await add("moving");
  expect((await api.call("PATCH", "/v1/webhooks/moving", { body: { url: "http://169.254.169.254/" } })).json.code).toBe("webhook_url_refused");
  expect((await add("typo", { min_severity: "loud" })).json.code).toBe("invalid_request");
  expect((await add("typo", { kinds: ["Host!"] })).json.code).toBe("invalid_request");
  expect((await api.call("PATCH", "/v1/webhooks/moving", { body: { min_severity: "info", kinds: [] } })).json).toMatchObject({ min_severity: "info", url: "https://receiver.example/…" });
});

test("a test is queued and listed, a dead one is sent again, and all of it goes with the webhook", async () => {
  await add("target");
  const queued = await api.call("POST", "/v1/webhooks/target/test", { role: "operator" });
  expect([queued.status, queued.json.webhook]).toEqual([202, "target"]);
  const list = async (query = "") => (await api.call("GET", `/v1/webhooks/target/deliveries${query}`, { role: "operator" })).json.items;
  expect(await list()).toMatchObject([{ id: queued.json.delivery_id, type: "test", status: "pending", attempt: 0, alert_id: null, last_error: null, completed_at: null }]);
  const retry = (id: string) => api.call("POST", `/v1/webhooks/target/deliveries/${id}/retry`, { role: "operator" });
  expect((await retry(queued.json.delivery_id)).json.code).toBe("delivery_not_dead");
  expect((await retry(newId())).json.code).toBe("delivery_not_found");
  await api.store.transaction((tx) => tx.casWebhookDelivery(queued.json.delivery_id as WebhookDeliveryId, 1, { status: "dead", lastStatus: 410, lastError: "gone" }));
  expect(await list("?status=dead")).toMatchObject([{ status: "dead", last_status: 410, last_error: "gone", next_attempt_at: null }]);
  expect((await api.call("GET", "/v1/webhooks")).json.items.find((webhook: { name: string }) => webhook.name === "target").deliveries).toEqual({ pending: 0, dead: 1 });
  expect((await retry(queued.json.delivery_id)).json).toMatchObject({ status: "pending" });
  expect(await list("?status=dead")).toEqual([]);
  expect((await api.call("GET", "/v1/audit?action=webhook.&limit=2")).json.items.map((entry: { action: string }) => entry.action)).toEqual(["webhook.retry", "webhook.test"]);
  expect((await api.call("DELETE", "/v1/webhooks/target")).json.name).toBe("target");
  for (const [method, path] of [["DELETE", ""], ["PATCH", ""], ["GET", "/deliveries"], ["POST", "/test"]] as const) expect((await api.call(method, `/v1/webhooks/target${path}`, method === "PATCH" ? { body: {} } : {})).json.code).toBe("webhook_not_found");
});

test("there is an end to how many there may be", async () => {
  const { items } = (await api.call("GET", "/v1/webhooks")).json;
  for (let n = items.length; n < 64; n++) expect((await add(`many-${n}`)).status).toBe(201);
  expect((await add("one-too-many")).json.code).toBe("too_many_webhooks");
});
