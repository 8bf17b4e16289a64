/** One accepted operation per (token, route, key), however often and from however many sides it is sent. */
import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { NOOP, useApi } from "./use-api.ts";

const api = useApi();
beforeAll(() => api.activeHost("web-01"));
const deploy = (name: string, key: string, extra: object = {}, role: "operator" | "admin" = "operator") =>
  api.call("POST", "/v1/deployments", { role, body: { name, spec: NOOP, ...extra }, headers: { "idempotency-key": key } });

test("the same request is answered with the same answer, and says that it is a repetition", async () => {
  const first = await deploy("once", "k1");
  const again = await deploy("once", "k1");
  expect([first.status, again.status]).toEqual([202, 202]);
  expect(again.json).toEqual(first.json);
  expect([first.headers["idempotent-replayed"], again.headers["idempotent-replayed"]]).toEqual([undefined, "true"]);
  expect(again.headers["location"]).toBe(`/v1/deployments/${first.json.deployment_id}`);
  expect((await api.call("GET", "/v1/lifecycle?deployment=once")).json.items).toHaveLength(1);
});

test("control: without the key the second one is another request", async () => {
  await api.call("POST", "/v1/deployments", { body: { name: "twice", spec: NOOP } });
  expect((await api.call("POST", "/v1/deployments", { body: { name: "twice", spec: NOOP } })).json.code).toBe("deployment_exists");
});

test("a default that is spelt out is the same request; another value is not", async () => {
  const first = await deploy("spelt", "k2");
  expect((await deploy("spelt", "k2", { replace: false, placement: { replicas: 1 } })).json).toEqual(first.json);
  expect((await deploy("spelt", "k2", { reconcile: "report" })).json).toMatchObject({ code: "idempotency_key_reused", status: 422 });
});

test("a key belongs to its token and its route", async () => {
  await deploy("mine", "k3");
  expect((await deploy("theirs", "k3", {}, "admin")).status).toBe(202);
  const row = (await api.call("GET", "/v1/lifecycle?deployment=mine")).json.items[0].id;
  expect((await api.call("POST", `/v1/lifecycle/${row}/cancel`, { role: "operator", headers: { "idempotency-key": "k3" } })).status).toBe(202);
});

test("the same route on another deployment is another request under the same key", async () => {
  await deploy("left", "k-left");
  await deploy("right", "k-right");
  const answers = [];
  for (const name of ["left", "right"]) answers.push(await api.call("POST", `/v1/deployments/${name}/redeploy`, { role: "operator", headers: { "idempotency-key": "k5" } }));
  expect(answers[1]!.json.code).toMatch(/idempotency_key_reused|operation_in_progress/);
});

test("twenty at once make one deployment", async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => deploy("parallel", "k4")));
  const accepted = answers.filter((answer) => answer.status === 202);
  expect(new Set(accepted.map((answer) => answer.json.deployment_id)).size).toBe(1);
  for (const answer of answers) expect([202, 409]).toContain(answer.status);
  expect(answers.filter((answer) => answer.status === 409).every((answer) => answer.json.code === "request_in_progress")).toBe(true);
  expect((await api.call("GET", "/v1/lifecycle?deployment=parallel")).json.items).toHaveLength(1);
});

test("a refusal is not remembered: the same key may succeed later", async () => {
  const refused = await deploy("later", "k6", { placement: { hosts: ["web-02"] } });
  expect(refused.json.code).toBe("host_not_found");
  await api.activeHost("web-02");
  expect((await deploy("later", "k6", { placement: { hosts: ["web-02"] } })).status).toBe(202);
});

test("a dry run takes no key and leaves nothing behind", async () => {
  expect((await deploy("dry", "k7", { dry_run: true })).json.status).toBe("dry_run");
  expect((await deploy("dry", "k7")).status).toBe(202);
});

test("a token is made once, and its secret is not kept to be said again", async () => {
  const make = () => api.call("POST", "/v1/tokens", { body: { name: "ci", role: "viewer" }, headers: { "idempotency-key": "t1" } });
  const first = await make();
  const again = await make();
  expect(first.status).toBe(201);
  expect(again.json).toMatchObject({ code: "secret_shown_once", status: 409 });
  expect(again.json.detail).toContain(first.json.id);
  expect((await api.store.listApiTokens()).filter((token) => token.name === "ci")).toHaveLength(1);
  expect((await api.call("GET", "/v1/version", { token: first.json.token })).status).toBe(200);
});

test("a host is made once; asked again there is a new bundle, and no bundle is kept", async () => {
  const make = () => api.call("POST", "/v1/hosts", { body: { name: "bundled" }, headers: { "idempotency-key": "h1" } });
  const [first, again] = [await make(), await make()];
  expect([first.status, again.status, again.headers["idempotent-replayed"]]).toEqual([201, 201, "true"]);
  expect(again.json.host.id).toBe(first.json.host.id);
  expect(again.json.bundle.token).not.toBe(first.json.bundle.token);
  const client = new pg.Client(api.url);
  await client.connect();
  const stored = JSON.stringify((await client.query("select * from idempotency_keys")).rows);
  await client.end();
  for (const secret of [first.json.bundle.token, again.json.bundle.token]) expect(stored).not.toContain(secret);
});
