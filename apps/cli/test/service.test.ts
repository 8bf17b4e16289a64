/** `skep service`, to the letter and within 80 columns. */
import type { ServiceJson } from "@skep/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { problem, startFakeApi, type FakeApi } from "./fake-api.ts";
import { hastyClock, skep } from "./run-skep.ts";
import { accepted, detail, list, placement, rowList, uuid } from "./samples.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());

const run = (...argv: string[]) => skep(argv, { url: api.url, clock: hastyClock() });
const service = (name: string, over: Partial<ServiceJson> = {}): ServiceJson => ({ id: uuid(900), name, status: "active", ports: [{ component: "web", name: "http", protocol: "tcp" }], healthy: 2, total: 2, fallbacks: [], ...over });
const endpoint = (host: string, over: object = {}) => ({ deployment: "build-ai", placement_id: uuid(1), host_id: uuid(2), host, component: "web", port_name: "http", protocol: "tcp", address: "10.0.0.11", port: 20_001, ...over });
const judged = (host: string, over: object = {}) => endpoint(host, { state: "running", healthy: true, because: "its host reports it running", ...over });

test("ls: how many are healthy, and who would answer instead", async () => {
  api.on("listServices", { body: list(service("build-ai", { healthy: 1, fallbacks: ["marco-ai", "polo-ai"] }), service("dns", { ports: [{ component: "main", name: "dns", protocol: "udp" }], healthy: 0, total: 1, status: "degraded" })) });
  expect(await run("service", "ls")).toEqual({
    code: 0, err: "",
    out: `NAME      HEALTHY  STATUS    PORTS         FALLBACKS
build-ai  1/2      active    web/http      marco-ai polo-ai
dns       0/1      degraded  main/dns/udp  -
`,
  });
  expect(JSON.parse((await run("service", "ls", "--json")).out)).toMatchObject({ items: [{ name: "build-ai" }, { name: "dns" }], next_cursor: null });
  api.on("listServices", { body: list() });
  expect(await run("service", "ls")).toMatchObject({ code: 0, out: "", err: "No deployment publishes a port.\n" });
});

test("show: every endpoint, and in full what the others wait for", async () => {
  const because = "no master reaches web-02 (connect ETIMEDOUT 10.0.0.12:8444): it waits for a probe that is answered";
  api.on("getService", { body: { ...service("build-ai", { healthy: 1, fallbacks: ["marco-ai"] }), endpoints: [judged("web-01"), judged("web-02", { address: "fd00::1", state: "unhealthy", healthy: false, because })] } });
  const shown = await run("service", "show", "build-ai");
  expect(shown).toEqual({
    code: 0, err: "",
    out: `name       build-ai
id         ${uuid(900)}
status     active
healthy    1/2
ports      web/http
fallbacks  marco-ai

ADDRESS          HOST    PORT      STATE      HEALTHY
10.0.0.11:20001  web-01  web/http  running    yes
[fd00::1]:20001  web-02  web/http  unhealthy  no

Not healthy
  web-02 web/http: ${because}
`,
  });
  expect((await run("service", "show", "build-ai", "--exit-code")).code).toBe(0);
  api.on("getService", { body: { ...service("build-ai", { healthy: 0 }), endpoints: [judged("web-01", { address: null, port: null, state: null, healthy: false, because: "x" })] } });
  expect(await run("service", "show", "build-ai", "--exit-code")).toMatchObject({ code: 9, out: expect.stringMatching(/^- +web-01 +web\/http +- +no$/m) });
  const narrow = await skep(["service", "show", "build-ai"], { url: api.url, tty: true, columns: 80 });
  for (const line of narrow.out.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
});

test("resolve: passes on what was asked, and says on stderr that a fallback answers", async () => {
  api.on("resolveService", { body: { service: "build-ai", via: "fallback", fallback: "marco-ai", endpoints: [endpoint("web-03", { deployment: "marco-ai" })] } });
  const answer = await run("service", "resolve", "build-ai", "--strategy", "least_loaded", "--component", "web", "--port", "http", "--label", "zone=eu");
  expect(answer).toEqual({
    code: 0,
    out: "ADDRESS          HOST    PORT      DEPLOYMENT\n10.0.0.11:20001  web-03  web/http  marco-ai\n",
    err: "Nothing of build-ai is healthy: its fallback marco-ai answers. Why: skep service show build-ai\n",
  });
  expect(api.seen[0]).toMatchObject({ params: { service: "build-ai" }, query: { strategy: "least_loaded", component: "web", port: "http", label: "zone=eu" } });
  expect(await run("service", "resolve", "build-ai", "--strategy", "fastest")).toMatchObject({ code: 2, err: expect.stringContaining("Give one of ordered, round_robin, least_loaded.") });
});

test("resolve: 9 when nothing is healthy, at once and with the reasons; 3 when there is no such service", async () => {
  api.on("resolveService", { ...problem("no_healthy_endpoint", "build-ai on web-01: it has died: it waits for its restart", { errors: [{ pointer: "/build-ai/web-01/web/http", message: "it has died: it waits for its restart" }] }), headers: { "retry-after": "1" } });
  const none = await run("service", "resolve", "build-ai");
  expect([none.code, none.out]).toEqual([9, ""]);
  expect(none.err).toContain("  At    /build-ai/web-01/web/http: it has died: it waits for its restart\n");
  expect(api.seen).toHaveLength(1);
  // Another 503 is asked again, as ever.
  api.on("resolveService", { ...problem("database_unavailable"), headers: { "retry-after": "1" } });
  expect((await run("service", "resolve", "build-ai")).code).toBe(11);
  expect(api.seen).toHaveLength(5);
  for (const id of ["resolveService", "getService"] as const) api.on(id, problem("service_not_found"));
  for (const word of ["resolve", "show"]) expect((await run("service", word, "nobody")).code).toBe(3);
});

test("deploy -f takes failover and refuses what it does not know, at its place; status NAME shows it", async () => {
  const file = "name: build-ai\nspec:\n  driver: noop\n  components: [{ name: web }]\nfailover:\n  fallbacks: [marco-ai]\n";
  api.on("createDeployment", { status: 202, body: { ...accepted(1), warnings: ["its fallback marco-ai is not deployed"] } });
  api.on("listLifecycle", { body: rowList() });
  const sent = await skep(["deploy", "-f", "-", "--no-wait"], { url: api.url, clock: hastyClock(), stdin: file });
  expect(sent.err).toContain("its fallback marco-ai is not deployed");
  expect(api.seen[0]!.body).toMatchObject({ failover: { fallbacks: ["marco-ai"] } });
  const wrong = await skep(["deploy", "-f", "-"], { url: api.url, clock: hastyClock(), stdin: `${file}  ttl: 5\n` });
  expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("/failover/ttl: unknown field") });
  api.on("getDeployment", { body: { ...detail("build-ai", [placement(1)]), failover: { fallbacks: ["marco-ai", "polo-ai"] } } });
  expect((await run("status", "build-ai")).out).toMatch(/^fallbacks +marco-ai polo-ai$/m);
  // An older master says nothing of it.
  const { failover: _none, ...older } = detail("build-ai", []) as Record<string, unknown>;
  api.on("getDeployment", { body: older });
  expect(await run("status", "build-ai")).toMatchObject({ code: 0, out: expect.not.stringContaining("fallbacks") });
});
