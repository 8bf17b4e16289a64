/** Whatever is sent, the answer is an answer: never a 5xx, always a problem, and the master goes on. */
import { OPERATOR_ROUTES, deployRequest, mutateRequest, problemSchema, type Route } from "@skep/protocol";
import { seedFromEnv } from "@skep/testkit";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { NOOP, useApi } from "./use-api.ts";

const api = useApi();
const seed = seedFromEnv();
beforeAll(async () => {
  await api.activeHost("fuzz-01");
  await api.call("POST", "/v1/deployments", { body: { name: "fuzzed", spec: NOOP } });
});

/** Words that occur in real requests, so that some of what is tried gets past the first check. */
const words = fc.constantFrom("name", "spec", "driver", "noop", "process", "components", "app", "env", "ports", "placement", "hosts", "replicas", "fuzz-01", "fuzzed", "desired", "running", "generation", "restart", "role", "viewer", "mode", "csr", "ttl_s", "labels", "schedulable", "outcome", "host_lost", "__proto__", "constructor", "\u0000", "\ud800", "a".repeat(5_000));
const scalar = fc.oneof(words, fc.string({ unit: "binary", maxLength: 30 }), fc.integer(), fc.double(), fc.boolean(), fc.constant(null), fc.constantFrom(-1, 0, 1, 2 ** 31, 2 ** 53, 1e308));
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof({ maxDepth: 5, withCrossShrink: true }, scalar, fc.array(tie("tree"), { maxLength: 4 }), fc.dictionary(fc.oneof(words, fc.string({ maxLength: 10 })), tie("tree"), { maxKeys: 6 })),
}));
/** Real requests with one thing changed: most of what goes wrong in practice. */
const nearly = fc.record(
  {
    name: fc.oneof(fc.constant("fuzzed"), fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/)),
    spec: fc.record({ driver: fc.constantFrom("noop", "process"), components: fc.array(fc.record({ name: fc.constantFrom("a", "b"), command: fc.array(fc.string(), { maxLength: 3 }), env: fc.dictionary(fc.stringMatching(/^[A-Z]{1,3}$/), fc.string({ unit: "binary" })), depends_on: fc.subarray(["a", "b"]), stop_timeout_s: fc.integer({ min: -1, max: 700 }) }, { requiredKeys: ["name"] }), { maxLength: 3 }) }),
    placement: fc.oneof(fc.record({ replicas: fc.integer({ min: 0, max: 3 }) }), fc.record({ hosts: fc.array(fc.constantFrom("fuzz-01", "nobody"), { maxLength: 3 }) })),
    env: fc.dictionary(fc.oneof(fc.string({ unit: "binary", maxLength: 8 }), fc.stringMatching(/^[A-Z]{1,3}$/)), fc.option(fc.string({ unit: "binary", maxLength: 8 }))),
    components: fc.dictionary(fc.constantFrom("app", "a", "zzz"), fc.record({ command: fc.array(fc.string({ unit: "binary" }), { maxLength: 2 }), env: fc.dictionary(fc.string({ maxLength: 5 }), fc.string({ unit: "binary" })) }, { requiredKeys: [] })),
    desired: fc.constantFrom("running", "stopped"),
    restart: fc.boolean(), replace: fc.boolean(), dry_run: fc.boolean(), force: fc.boolean(),
    generation: fc.integer({ min: -1, max: 5 }),
  },
  { requiredKeys: [] },
);
/** The fields a route knows; mostly only those are tried, or its strictness would be all that is ever tested. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  createDeployment: ["name", "spec", "placement", "replace", "dry_run"],
  mutateDeployment: ["env", "components", "desired", "restart", "dry_run"],
  rollbackDeployment: ["generation"],
  teardownDeployment: ["force"],
  followDeploymentLogs: ["component", "host"],
  execDeployment: ["command", "component", "host"],
};
const bodyFor = (route: Route) =>
  fc.oneof(tree, nearly, nearly.map((body) => Object.fromEntries(Object.entries(body).filter(([key]) => FIELDS[route.id]?.includes(key)))), fc.constant(route.id === "createDeployment" ? { name: "fuzzed", spec: NOOP, replace: true } : {}));
const writing = (OPERATOR_ROUTES as readonly Route[]).filter((route) => route.method !== "GET" && route.id !== "deleteToken");

const check = async (route: Route, url: string, payload: string): Promise<void> => {
  const answer = await api.call(route.method, url, { payload });
  expect(answer.status, `${route.method} ${url} ${payload.slice(0, 2_000)}\n${answer.text}`).toBeLessThan(500);
  if (answer.status >= 400) {
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    expect(problemSchema.safeParse(answer.json).error).toBeUndefined();
  }
};
/** Rows that were never sent end at once: otherwise all that is ever tried again is "operation in progress". */
const settle = async (): Promise<void> => {
  for (const row of (await api.call("GET", "/v1/lifecycle?open=true")).json.items) await api.call("POST", `/v1/lifecycle/${row.id}/cancel`);
};
const SUBJECTS = ["fuzzed", "fuzz-01", "nobody", "0199a3c4-0000-7000-8000-000000000001"];

describe.each(writing.map((route) => [route.id, route] as const))("%s", (_id, route) => {
  test("answers anything", async () => {
    await fc.assert(
      fc.asyncProperty(bodyFor(route), fc.constantFrom(...SUBJECTS), async (body, subject) => {
        if (route.path.startsWith("/v1/deployments")) await settle();
        // A stream that is asked to go on does.
        const asked = route.id === "followDeploymentLogs" && typeof body === "object" && body !== null && !Array.isArray(body) ? { ...body, until: "caught_up" } : body;
        await check(route, route.path.replace(/:\w+/g, subject), JSON.stringify(asked) ?? "null");
      }),
      { seed, numRuns: 40 },
    );
  });
});

test("bytes that are no JSON, and JSON that was bitten", async () => {
  const route = writing.find((item) => item.id === "createDeployment")!;
  const whole = JSON.stringify({ name: "bitten", spec: NOOP, dry_run: true });
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length), fc.nat(whole.length), fc.string({ unit: "binary", maxLength: 5 }), (from, to, text) => check(route, "/v1/deployments", whole.slice(0, Math.min(from, to)) + text + whole.slice(Math.max(from, to)))),
    { seed, numRuns: 150 },
  );
});

test("queries and paths", async () => {
  const reading = (OPERATOR_ROUTES as readonly Route[]).filter((route) => route.method === "GET" && route.access.kind === "role");
  const value = fc.oneof(fc.constantFrom("1", "0", "-1", "true", "x", "fuzzed", "fuzz-01", "0199a3c4-0000-7000-8000-000000000001", "a.1.1", "%", "'"), fc.string({ unit: "binary", maxLength: 12 }).map((text) => text.replaceAll(/\p{Surrogate}/gu, "x")));
  const query = fc.dictionary(fc.constantFrom("limit", "cursor", "status", "label", "host", "deployment", "ids", "open", "kind", "component", "offset", "tail_bytes", "include_deleted", "nope"), value, { maxKeys: 4 });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...reading), query, value, async (route, parameters, subject) => {
      const path = route.path.replace(":kind", "host").replace(/:\w+/g, encodeURIComponent(subject));
      const answer = await api.call("GET", `${path}?${new URLSearchParams(parameters).toString()}`);
      // That nothing of a service is healthy is an answer, in its own words, and not a fault.
      if (answer.json?.code === "no_healthy_endpoint") return;
      expect(answer.status, `${path} ${JSON.stringify(parameters)} ${answer.text}`).toBeLessThan(500);
    }),
    { seed, numRuns: 400 },
  );
});

test("the fuzzing is not blind: some of it is accepted, and the master still works", async () => {
  expect(deployRequest.safeParse({ name: "x", spec: NOOP }).success && mutateRequest.safeParse({ restart: true }).success).toBe(true);
  expect((await api.call("GET", "/v1/events?limit=1000&kind=deployment.")).json.items.length).toBeGreaterThan(5);
  expect((await api.call("GET", "/v1/fleet/health")).status).toBe(200);
});
