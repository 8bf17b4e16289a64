/** The two routes of metrics: who may read them, in what form, and what a database or an agent that is away does to them. */
import { PRODUCTION_POLICY, SkepError, type ApiToken, type Store } from "@skep/core";
import { createMemoryStore, eventually, findPrometheus, ManualClock, promtool } from "@skep/testkit";
import { systemClock } from "@skep/runtime";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MAX_AGENTS_ASKED } from "../../src/http/routes/metrics.ts";
import { rememberTokens, REMEMBERED_MS } from "../../src/http/remembered-tokens.ts";
import { startHarness, type Harness } from "./harness.ts";

let real: Store;
let api: Harness;
/** What the database does; both at once: nothing comes back. */
let fault: "none" | "away" | "silent" = "none";
const faulty = <A extends unknown[], R>(method: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
  if (fault === "away") throw new SkepError("database_unavailable");
  if (fault === "silent") return new Promise(() => undefined);
  return method(...args);
};
beforeAll(async () => {
  real = createMemoryStore({ clock: systemClock(), policy: PRODUCTION_POLICY });
  api = await startHarness({ store: { ...real, findApiToken: faulty(real.findApiToken), fleetGauges: faulty(real.fleetGauges), findHost: faulty(real.findHost) } });
  await api.activeHost("web-01");
});
afterAll(() => api.close());

test("a viewer reads the master's metrics as Prometheus wants them", async () => {
  const { status, headers, text } = await api.call("GET", "/metrics", { role: "viewer" });
  expect([status, headers["content-type"]]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
  expect(text).toMatch(/^master_hosts\{liveness="active"\} 1$/m);
  expect((await api.call("GET", "/metrics", { role: "none" })).json).toMatchObject({ code: "unauthenticated" });
  expect((await api.call("GET", "/metrics?job=x", { role: "viewer" })).json).toMatchObject({ code: "invalid_request" });
});

test.skipIf("missing" in findPrometheus())("promtool finds nothing to mend in them", async () => {
  expect(await promtool(["check", "metrics"], { input: (await api.call("GET", "/metrics")).text })).toEqual({ code: 0, output: "" });
});

test("while the database is away, whoever it vouched for before still reads what this process knows", async () => {
  expect((await api.call("GET", "/metrics", { role: "viewer" })).status).toBe(200);
  try {
    for (fault of ["away", "silent"] as const) {
      const { status, text } = await api.call("GET", "/metrics", { role: "viewer" });
      expect([fault, status]).toEqual([fault, 200]);
      expect(text).toMatch(/^master_build_info\{.*\} 1$/m);
    }
    fault = "away";
    const { token } = await startedBefore();
    // A secret that was never checked is not taken on trust, a wrong one for a known id neither, and no other route opens.
    expect((await api.call("GET", "/metrics", { role: "none", token })).json).toMatchObject({ code: "database_unavailable" });
    const forged = `${api.tokens.viewer.slice(0, -1)}${api.tokens.viewer.endsWith("A") ? "B" : "A"}`;
    expect((await api.call("GET", "/metrics", { role: "none", token: forged })).json).toMatchObject({ code: "unauthenticated" });
    expect((await api.call("GET", "/v1/hosts", { role: "viewer" })).json).toMatchObject({ code: "database_unavailable" });
  } finally {
    fault = "none";
  }
});

async function startedBefore(): Promise<{ token: string }> {
  fault = "none";
  const made = await api.makeToken("viewer");
  fault = "away";
  return made;
}

test("a token that the ledger no longer knows is refused at once, remembered or not; and memory has an end", async () => {
  const clock = new ManualClock();
  const token = { id: "one", name: "t" } as unknown as ApiToken;
  let answer: () => Promise<ApiToken | undefined> = async () => token;
  const tokens = rememberTokens({ findApiToken: () => answer() }, clock);
  const ask = () => tokens.findApiToken(token.id);
  const away = (): Promise<never> => Promise.reject(new SkepError("database_unavailable"));
  expect(await ask()).toBe(token);
  answer = away;
  expect(await ask()).toBe(token);
  answer = async () => undefined;
  expect(await ask()).toBeUndefined();
  answer = away;
  await expect(ask()).rejects.toThrow();
  answer = async () => token;
  await ask();
  // A fault of ours is no outage: it is not covered up by what was remembered.
  answer = () => Promise.reject(new TypeError("a bug"));
  await expect(ask()).rejects.toThrow("a bug");
  answer = away;
  expect(await ask()).toBe(token);
  clock.advance(REMEMBERED_MS + 1);
  await expect(ask()).rejects.toThrow();
});

test("an agent's metrics are asked of it and passed on; one that is away is 503", async () => {
  const { status, headers, text } = await api.call("GET", "/v1/hosts/web-01/metrics", { role: "viewer" });
  expect([status, headers["content-type"]]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
  expect(text).toContain("worker_agent_startup_total 1");
  api.agents.deaf = true;
  expect((await api.call("GET", "/v1/hosts/web-01/metrics")).json).toMatchObject({ status: 503, code: "host_unreachable", fix: expect.stringMatching(/./) });
  api.agents.deaf = false;
  expect((await api.call("GET", "/v1/hosts/nobody/metrics")).json).toMatchObject({ status: 404, code: "host_not_found" });
});

test("a rack of dead hosts holds so many requests and no more, and gives them back", async () => {
  const asked = api.agents.metrics;
  let release: () => void = () => undefined;
  const gone = new Promise<void>((resolve) => (release = resolve));
  let waiting = 0;
  api.agents.metrics = async (host) => {
    waiting += 1;
    await gone;
    return asked(host);
  };
  const ask = () => api.call("GET", "/v1/hosts/web-01/metrics", { role: "viewer" });
  const held = Array.from({ length: MAX_AGENTS_ASKED }, ask);
  await eventually(() => waiting === MAX_AGENTS_ASKED, { what: "all of them wait" });
  expect(await ask()).toMatchObject({ status: 503, json: { code: "overloaded" }, headers: { "retry-after": "1" } });
  release();
  for (const answer of await Promise.all(held)) expect(answer.status).toBe(200);
  expect((await ask()).status).toBe(200);
  api.agents.metrics = asked;
});

test("both are documented as text, with problems for refusals", async () => {
  const { json } = await api.call("GET", "/openapi.json", { role: "none" });
  for (const path of ["/metrics", "/v1/hosts/{host}/metrics"]) expect(Object.keys(json.paths[path].get.responses["200"].content)).toEqual(["text/plain"]);
});
