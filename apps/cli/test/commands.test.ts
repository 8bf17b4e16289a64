/** What each command asks for and what it shows, to the letter. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { HostHealthJson, HostJson } from "@skep/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { VERSION } from "../src/version.ts";
import { ago, problem, startFakeApi, type FakeApi } from "./fake-api.ts";
import { hastyClock, skep } from "./run-skep.ts";
import { accepted, deployment, detail, event, goneHost, host, hostHealth, list, placement, row, rowList, uuid } from "./samples.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());

const run = (...argv: string[]) => skep(argv, { url: api.url, clock: hastyClock() });
const sent = (index = 0): unknown => api.seen[index]?.body;

function fleet(): void {
  api.on("getFleetHealth", { body: { hosts: { active: 2, unreachable: 2, suspect: 0, decommissioned: 4 }, open_rows: { pending: 0, running: 1, lost: 1 }, deployments: { active: 1, degraded: 1 }, listening_since: ago(600), warm: true } });
  api.on("listHosts", ({ query }) => ({ body: query["status"] === "unreachable" ? list(host("web-03", { status: "unreachable", status_because: "no beat since 19:56" }), host("web-04", { status: "unreachable", status_because: "no beat since 19:56" })) : list() }));
  api.on("listLifecycle", { body: rowList(row(7, { status: "lost", completed_at: null, because: "the host fell silent" })) });
  api.on("listDeployments", { body: list(deployment("web"), deployment("api", { status: "degraded", last_error: "port 8080 in use", placement: { hosts: ["web-01", "web-03"], constraints: { zone: "eu1" } } })) });
}

test("status: causes first", async () => {
  fleet();
  expect(await run("status")).toEqual({
    code: 0, err: "",
    out: `Hosts    2 active, 2 unreachable
Needs attention
  2 hosts unreachable  web-03 web-04  no beat since 19:56  skep explain host web-03
  1 deployment degraded  api  port 8080 in use  skep explain deployment api
  1 operation lost  deploy web@host-7  the host fell silent  skep explain lifecycle ${uuid(7)}
Open     1 running, 1 lost

NAME  STATUS    WANTED   GEN  WHERE                        CHANGED  LAST ERROR
web   active    running    3  2 hosts                        1m30s  -
api   degraded  running    3  web-01 web-03 with zone=eu1    1m30s  port 8080 in use
`,
  });
  expect((await run("status", "--exit-code")).code).toBe(9);
  expect(JSON.parse((await run("status", "--json")).out)).toMatchObject({ schema_version: 1, fleet: { hosts: { active: 2 } }, attention: [{ kind: "hosts_unreachable", count: 2, names: ["web-03", "web-04"] }, { kind: "deployments_degraded" }, { kind: "rows_lost" }], deployments: [{ name: "web" }, { name: "api" }] });
});

test("status of an empty fleet says what to do, and that silence proves nothing yet", async () => {
  api.on("getFleetHealth", { body: { hosts: {}, open_rows: {}, deployments: {}, listening_since: ago(1), warm: false } });
  for (const id of ["listHosts", "listLifecycle", "listDeployments"] as const) api.on(id, { body: { ...list(), rows: [] } });
  expect((await run("status", "--exit-code"))).toEqual({ code: 0, err: "", out: "Hosts    none. Add one: skep host add NAME\n  the master has only begun to listen: silence proves nothing yet\nOpen     no operation\nNo deployments. Make one: skep deploy -f FILE\n" });
});

test("status NAME, and status --host", async () => {
  api.on("getDeployment", { body: detail("web", [placement(1), placement(2, { state: "degraded", because: "web: probe fails", applied_generation: 2 })]) });
  const one = await run("status", "web");
  expect(one.out).toContain(`name         web
id           ${uuid(900)}
status       active
wanted       running, generation 3
where        2 hosts
`);
  expect(one.out).toContain("web         host-2  degraded  running  2→3  web/http=20002  web: probe fails\n");
  api.on("listPlacements", { body: list() });
  expect(await run("status", "--host", "web-01")).toMatchObject({ code: 0, out: "", err: "Nothing is placed on web-01.\n" });
});

test("host ls: to the letter, without and with colour", async () => {
  api.on("listHosts", { body: list(host("web-01"), host("db-1", { status: "suspect", status_because: "2 beats missed", schedulable: false, labels: {}, last_heartbeat_at: ago(200) })) });
  const golden = `NAME    STATUS   REACH      HEARD  TAKES WORK  VERSION  LABELS    BECAUSE
web-01  active   reachable    12s  yes         0.1.0    zone=eu1  -
db-1    suspect  reachable  3m20s  no          0.1.0    -         2 beats missed
`;
  expect(await run("host", "ls", "--status", "suspect", "--label", "a=1", "--label", "b=2")).toEqual({ code: 0, out: golden, err: "" });
  expect(api.seen[0]!.query).toMatchObject({ status: "suspect", limit: "500" });
  const colored = await skep(["host", "ls"], { url: api.url, tty: true, color: true, columns: 100 });
  expect(colored.out).toContain("\u001b[32mactive\u001b[0m");
  // oxlint-disable-next-line no-control-regex -- our own colours, taken away again
  expect(colored.out.replace(/\u001b\[\d+m/g, "")).toBe(golden);
  expect((await skep(["host", "ls", "--no-color"], { url: api.url, tty: true, color: true, columns: 100 })).out).toBe(golden);
});

test("host show: facts, health, reasons, what next", async () => {
  api.on("getHost", { body: host("web-01") });
  api.on("getHostHealth", { body: health("degraded") });
  const { out } = await run("host", "show", "web-01");
  expect(out).toContain("heartbeat     12s ago, 0 missed\n");
  expect(out).toContain("  disk_low: 4 % free\n    next: Free some.\n");
  expect((await run("health", "web-01")).code).toBe(0);
  expect((await run("health", "web-01", "--exit-code")).code).toBe(9);
});

const health = (summary: HostHealthJson["health"]): HostHealthJson => hostHealth("web-01", { health: summary, reasons: [{ code: "disk_low", message: "4 % free", next: "Free some.", since: null }] });

test("health: since when, what failed, when the circuit tries again", async () => {
  api.on("getHostHealth", { body: goneHost("web-01") });
  expect((await run("health", "web-01")).out).toBe(`web-01
health        unhealthy
heartbeat     4m10s ago, 8 missed
agent phase   ready
reachability  unreachable since 2026-11-20 19:58:00Z; 4 probes failed, the last answer was at 2026-11-20 19:56:00Z; connect ETIMEDOUT
circuit       open since 2026-11-20 19:59:30Z; tries again at 2026-11-20 20:00:30Z; connect ETIMEDOUT
calls         8 in 5m, 5 failed (62.5 %), avg 3.1s, p99 5.0s
placements    3 (3 unknown)
certificate   until 2026-11-21 20:00:00Z  sha256:abababababababab…
  unreachable: No heartbeat for 4m10s. What runs there is unknown. since 2026-11-20 19:55:50Z
    next: Check the machine.
`);
  const { breaker } = goneHost("x");
  api.on("getHostHealth", { body: hostHealth("web-01", { breaker: { ...breaker!, cause: "identity", retry_at: null, because: "certificate of somebody else" }, metrics: { ...hostHealth("").metrics!, total_requests: 0, avg_latency_ms: null, p99_latency_ms: null }, placements: { total: 1, running: 0, degraded: 0, failed: 0, unknown: 0 } }) });
  const { out } = await run("health", "web-01");
  expect(out).toContain("circuit       open since 2026-11-20 19:59:30Z; closed only by a reset, a new certificate or a new address; certificate of somebody else\n");
  expect(out).toContain("reachability  reachable since 2026-11-20 19:00:00Z\n");
  expect(out).toContain("calls         none in the last 5m\nplacements    1\n");
});

test("host ls at 80 columns: what says least is left out before a row wraps", async () => {
  api.on("listHosts", { body: list(host("warehouse-01", { status: "unreachable", reachability: "unreachable", status_because: "no heartbeat for a long while now" }), host("old", { reachability: null })) });
  const { out } = await skep(["host", "ls"], { url: api.url, clock: hastyClock(), tty: true });
  expect(out).toBe(`NAME          STATUS       REACH        HEARD  TAKES WORK  LABELS    BECAUSE
warehouse-01  unreachable  unreachable    12s  yes         zone=eu1  no heartbe…
old           active       -              12s  yes         zone=eu1  -
`);
});

test("a boot that needs somebody is told by host ls, host show, health and status", async () => {
  const boot: HostJson["boot"] = { stage: "base", state: "blocked", members: [{ name: "dns", healthy: false, error: "disk not there" }, { name: "ca", healthy: true }], alerts: 1 };
  fleet();
  api.on("listHosts", ({ query }) => ({ body: query["status"] === "unreachable" || query["status"] === "suspect" ? list() : list(host("web-01", { boot }), host("web-02", { boot: { stage: null, state: "complete", members: [], alerts: 0 } })) }));
  const status = await run("status", "--exit-code");
  expect(status.out).toContain("  1 host with boot trouble  web-01  boot blocked at stage base: dns (disk not there)  skep health web-01\n");
  expect(status.code).toBe(9);
  expect((await run("host", "ls")).out).toMatch(/web-01 .* boot blocked at stage base\nweb-02 .* -\n/);
  api.on("getHost", { body: host("web-01", { boot }) });
  api.on("getHostHealth", { body: { ...health("degraded"), boot } });
  for (const words of [["host", "show"], ["health"]]) expect((await run(...words, "web-01")).out).toMatch(/boot +blocked at stage base: dns \(disk not there\)\n/);
});

test("host check, cordon, rotate, rm", async () => {
  api.on("checkHosts", { body: { items: [{ host_id: uuid(1), name: "a", ok: true, ms: 12.4, error: null }, { host_id: uuid(2), name: "b", ok: false, ms: 5_000, error: "timed out" }] } });
  expect(await run("host", "check", "a", "b")).toMatchObject({ code: 9, out: "HOST  ANSWER  AFTER  ERROR\na     ok       12ms  -\nb     none       5s  timed out\n" });
  for (const id of ["updateHost", "rotateHost", "deleteHost"] as const) api.on(id, { body: host("a") });
  await run("host", "cordon", "a");
  await run("host", "uncordon", "a");
  await run("host", "rotate", "a");
  await run("host", "rm", "a", "--force");
  expect(api.seen.slice(1).map(({ id, body, query }) => [id, body, query])).toEqual([["updateHost", { schedulable: false }, {}], ["updateHost", { schedulable: true }, {}], ["rotateHost", undefined, {}], ["deleteHost", undefined, { force: "true" }]]);
});

test("drift: what differs and what is done about it, orphans apart; nothing is said of nothing", async () => {
  const item = (n: number, over: object = {}): object => ({
    placement_id: uuid(500 + n), deployment_id: uuid(900), deployment: "web", host_id: uuid(100 + n), host: `host-${n}`, wanted: { state: "running", generation: 3 }, observed: { state: "degraded", generation: 3 },
    differences: ["web: its image was changed"], since: ago(90), action: "repair", repair_at: ago(-20), because: "try 1 of 5", ...over,
  });
  const orphan = { host_id: uuid(101), host: "host-1", placement_id: uuid(700), deployment: "old", generation: 1, state: "running", components: ["db (running)"], since: ago(7_200) };
  const page = (items: object[], over: object = {}): object => ({ items, orphans: [], more_orphans: false, next_cursor: null, ...over });
  api.on("listDrift", ({ query }) => ({ body: query["cursor"] === undefined ? page([item(1)], { orphans: [orphan], next_cursor: uuid(501) }) : page([item(2, { action: "report_only", repair_at: null, because: "the deployment only reports drift" }), item(3, { action: "given_up", repair_at: null, because: "crash_loop" })]) }));
  const { out, code } = await run("drift", "--deployment", "web");
  expect(code).toBe(0);
  expect(out).toBe(`DEPLOYMENT  HOST    WANTED     OBSERVED  SINCE  ACTION         DIFFERS
web         host-1  running 3  degraded  1m30s  repair in 20s  web: its image was changed (try 1 of 5)
web         host-2  running 3  degraded  1m30s  reported only  web: its image was changed (the deployment only reports drift)
web         host-3  running 3  degraded  1m30s  given up       web: its image was changed (crash_loop)

Orphans: run by hosts, placed by nobody, and left alone
HOST    DEPLOYMENT  STATE    AGE  PLACEMENT                             COMPONENTS
host-1  old         running   2h  ${uuid(700)}  db (running)
`);
  expect(api.seen[0]!.query).toMatchObject({ deployment: "web" });
  expect((await run("drift", "--exit-code")).code).toBe(9);
  const json = JSON.parse((await run("drift", "--json")).out) as { items: unknown[]; orphans: unknown[]; next_cursor: unknown };
  expect([json.items.length, json.orphans.length, json.next_cursor]).toEqual([3, 1, null]);
  api.on("listDrift", { body: page([]) });
  expect(await run("drift", "--exit-code")).toMatchObject({ code: 0, out: "" });
});

test("lifecycle: list, one, cancel, resolve", async () => {
  api.on("listLifecycle", { body: rowList(row(1), row(2, { status: "failed", failure_code: "agent_error", error: "no such file" }), row(3, { status: "running", phase: "working", completed_at: null })) });
  expect((await run("lifecycle", "--open", "--deployment", "web")).out).toBe(`ID                                    AGE  OPERATION  DEPLOYMENT  HOST    STATUS     WHY
${uuid(1)}  30s  deploy     web         host-1  succeeded  -
${uuid(2)}  30s  deploy     web         host-2  failed     agent_error: no such file
${uuid(3)}  30s  deploy     web         host-3  running    working
`);
  expect(api.seen[0]!.query).toEqual({ deployment: "web", open: "true", limit: "50" });
  api.on("listLifecycle", { body: rowList(row(4, { status: "running", phase: "working", completed_at: null, job_phase: "prepare", progress: 9, progress_at: ago(4) }), row(5, { status: "running", phase: "working", completed_at: null, job_phase: "waiting for the docker engine", progress: 2, progress_at: ago(40), cancel_reason: "operator" })) });
  const running = (await run("lifecycle")).out;
  expect(running).toContain("pulling and preparing, last progress 4 s ago");
  expect(running).toContain("cancel asked for (operator); waiting for the docker engine, last progress 40 s ago");
  api.on("getLifecycle", { body: row(1, { status: "running", completed_at: null, job_phase: "waiting for the docker engine", progress: 2, progress_at: ago(40) }) });
  expect((await run("lifecycle", "show", uuid(1))).out).toContain("doing        waiting for the docker engine, last progress 40 s ago\n");
  api.on("getLifecycle", { body: row(1, { steps: [{ name: "start web", ok: false, ms: 12, error: "no such file" }] }) });
  expect((await run("lifecycle", "show", uuid(1))).out).toContain("  failed    12ms  start web: no such file\n");
  // A master that knows no traces says nothing of them.
  expect((await run("lifecycle", "show", uuid(1))).out).not.toContain("trace");
  api.on("getLifecycle", { body: row(1, { trace_id: "4bf92f3577b34da6a3ce929d0e0e4736" }) });
  expect((await run("lifecycle", "show", uuid(1))).out).toContain("trace        4bf92f3577b34da6a3ce929d0e0e4736\n");
  api.on("cancelLifecycle", { status: 202, body: { id: uuid(1), status: "running", because: "asked the host" } });
  expect((await run("lifecycle", "cancel", uuid(1))).out).toBe(`${uuid(1)}  running  asked the host\n`);
  api.on("resolveLifecycle", { body: { id: uuid(1), status: "failed", because: "host lost" } });
  expect((await run("lifecycle", "resolve", uuid(1))).code).toBe(2);
  expect((await run("lifecycle", "resolve", uuid(1), "--host-lost", "--note", "scrapped")).code).toBe(0);
  expect(api.seen.at(-1)!.body).toEqual({ outcome: "host_lost", note: "scrapped" });
  expect((await run("lifecycle", "not-an-id")).code).toBe(2);
});

const FILE = "name: web\nspec:\n  driver: noop\n  components:\n    - name: web\nplacement: { replicas: 2, constraints: { zone: eu1 } }\n";
const deploy = (stdin: string, ...argv: string[]) => skep(["deploy", "-f", "-", ...argv], { url: api.url, stdin, clock: hastyClock() });

test("deploy: the flags win over the file, and hosts and replicas exclude each other", async () => {
  api.on("createDeployment", { status: 202, body: accepted(1) });
  expect(await deploy(FILE, "--no-wait", "--name", "other", "--host", "a", "--host", "b", "--replace", "--job-timeout", "2m")).toMatchObject({ code: 0, out: expect.stringContaining(`deploy web generation 3: accepted on 1 host\n  ${uuid(1)}\n`) as string });
  expect(sent()).toEqual({ name: "other", spec: { driver: "noop", components: [{ name: "web" }] }, placement: { hosts: ["a", "b"], constraints: { zone: "eu1" } }, replace: true, timeout_s: 120 });
  expect((await deploy(FILE, "--host", "a", "--replicas", "2")).code).toBe(2);
  expect(api.seen).toHaveLength(1);
});

test("deploy --plan: what would happen, as text and as it came; 10 only where it was asked for", async () => {
  const plan = { status: "dry_run", name: "web", generation: 4, hosts: [{ host_id: uuid(1), host: "a", plan: [{ component: "web", action: "recreate" }, { component: "db", action: "keep" }], warnings: [] }], rejected: [{ host: "b", because: "suspect" }], rollout: { policy: { max_parallel: "25%", min_healthy_s: 0, progress_deadline_s: 600, canary: 0, auto_promote: true, auto_rollback: true }, waves: [[{ host_id: uuid(1), host: "a" }]] }, changes: [{ path: "components.web.env.V", from: "1", to: "2" }, { path: "components.web.env.NEW", from: null, to: "x" }], warnings: ["no probe"] };
  api.on("createDeployment", { body: plan });
  expect(await deploy(FILE, "--plan")).toEqual({ code: 0, err: "", out: "web generation 4 on 1 host; a plan, nothing was changed\nHOST  COMPONENT  ACTION\na     web        recreate\na     db         keep\n  ~ components.web.env.V: 1 → 2\n  + components.web.env.NEW: x\nwave 1  a\nrejected b: suspect\nwarning: no probe\n" });
  expect(sent()).toMatchObject({ dry_run: true });
  const json = await deploy(FILE, "--dry-run", "--exit-code", "--json");
  expect(json.code).toBe(10);
  expect(JSON.parse(json.out)).toEqual(plan);
});

test.each([
  ["name: web\nspec:\n  driver: noop\n  componentz: []\n", /At {4}stdin:4:15 \/spec\/componentz: unknown field/],
  ["name: web\nspec: { driver: noop, components: [{ name: Bad_Name }] }\n", /At {4}stdin:2:44 \/spec\/components\/0\/name: must be/],
  ["name: web\n  spec: x: y\n", /At {4}stdin:\d+:\d+ \//],
  ["name: a\nname: b\n", /At {4}stdin:2:1 /],
  ["a: 1\n---\nb: 2\n", /not valid YAML/],
  ["- 1\n", /holds no mapping/],
  ["", /holds no mapping/],
  [`a: &a [x,x,x,x,x,x,x,x,x]\n${["b", "c", "d", "e", "f"].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${"abcdef"[i]}`).join(",")}]`).join("\n")}\n`, /alias/i],
])("a file with a fault is refused with its place, before anything is asked: %#", async (text, words) => {
  const ran = await deploy(text);
  expect(ran).toMatchObject({ code: 2, out: "" });
  expect(ran.err).toMatch(words);
  expect(api.seen).toHaveLength(0);
});

test("what the master finds wrong has its place in the file too", async () => {
  api.on("createDeployment", problem("invalid_request", "The body is not valid.", { errors: [{ pointer: "/placement/replicas", message: "too many" }] }));
  expect((await deploy(FILE)).err).toContain("  At    stdin:6:24 /placement/replicas: too many\n");
});

test("a file that is not there, and no file at all", async () => {
  expect((await run("deploy", "-f", "/nonexistent.yaml")).code).toBe(2);
  expect((await run("deploy")).code).toBe(2);
});

test("mutate: flags become one patch", async () => {
  api.on("mutateDeployment", { status: 202, body: accepted() });
  await run("mutate", "web", "--env", "A=1", "--env", "B=x=y", "--unset", "C", "--restart", "--no-wait");
  expect(sent()).toEqual({ env: { A: "1", B: "x=y", C: null }, restart: true });
  await run("mutate", "web", "--component", "api", "--env", "A=1", "--stop", "--no-wait");
  expect(sent(1)).toEqual({ components: { api: { env: { A: "1" } } }, desired: "stopped" });
  await skep(["mutate", "web", "-f", "-", "--env", "A=2", "--no-wait"], { url: api.url, stdin: '{"env": {"A": "1", "B": "2"}, "restart": true}' });
  expect(sent(2)).toEqual({ env: { A: "2", B: "2" }, restart: true });
  expect((await run("mutate", "web")).code).toBe(2);
  expect((await run("mutate", "web", "--stop", "--start")).code).toBe(2);
  expect((await run("mutate", "web", "--env", "novalue")).code).toBe(2);
  expect(api.seen).toHaveLength(3);
});

test("rollback and teardown send what they were told", async () => {
  api.on("rollbackDeployment", { status: 202, body: accepted() });
  api.on("teardownDeployment", { status: 202, body: accepted() });
  expect((await run("rollback", "web")).code).toBe(2);
  await run("rollback", "web", "--generation", "2", "--no-wait");
  await run("teardown", "web", "--force", "--no-wait");
  expect(api.seen.map((seen) => seen.body)).toEqual([{ generation: 2 }, { force: true }]);
});

test("explain: the master's words, its events, and placements by DEPLOYMENT@HOST", async () => {
  api.on("listPlacements", { body: list(placement(1)) });
  api.on("explain", ({ params }) => ({ body: { kind: params["kind"], id: params["id"], name: "web@host-1", summary: "web is degraded.", reasons: [{ code: "probe_failed", message: "web: probe fails", next: "skep logs web", since: null }], events: [event(1)] } }));
  expect((await run("explain", "placement", "web@host-1")).out).toBe(`placement web@host-1  ${uuid(501)}\nweb is degraded.\n  probe_failed: web: probe fails\n    next: skep logs web\n\nLast events\n2026-11-20 19:58:21Z  lifecycle.succeeded   event 1\n`);
  api.on("explain", { body: { kind: "lifecycle", id: uuid(1), name: "deploy web", summary: "It runs.", trace_id: "4bf92f3577b34da6a3ce929d0e0e4736", reasons: [], events: [] } });
  expect((await run("explain", "lifecycle", uuid(1))).out).toContain("\ntrace 4bf92f3577b34da6a3ce929d0e0e4736\n");
  expect((await run("explain", "placement", "web")).code).toBe(2);
  expect((await run("explain", "weather", "web")).code).toBe(2);
});

const token = (n: number, over: object = {}): object => ({ id: uuid(n), name: "ci", role: "operator", created_at: ago(9), expires_at: ago(-86_400), revoked_at: null, ...over });

test("token: the secret alone is on stdout; names that are not unique are not guessed", async () => {
  api.on("createToken", { status: 201, body: { ...token(1), token: "skp_secret" } });
  expect((await run("token", "create", "ci", "--role", "operator", "--ttl", "7d")).out).toBe("skp_secret\n");
  expect(sent()).toEqual({ name: "ci", role: "operator", ttl_s: 604_800 });
  expect((await run("token", "create", "ci")).code).toBe(2);

  api.on("deleteToken", ({ params }) => ({ body: { ...token(1), id: params["id"], revoked_at: ago(0) } }));
  api.on("listTokens", { body: list(token(1), token(2, { revoked_at: ago(5) })) });
  expect((await run("token", "rm", "ci")).out).toBe("ci (operator) is revoked\n");
  expect(api.seen.at(-1)!.params).toEqual({ id: uuid(1) });
  api.on("listTokens", { body: list(token(1), token(2)) });
  expect((await run("token", "rm", "ci")).code).toBe(5);
  expect((await run("token", "rm", "nobody")).code).toBe(3);
  expect((await run("token", "ls")).out).toContain("live");
});

test("version is package.json's, and says when nobody answers", async () => {
  expect(VERSION).toBe((JSON.parse(readFileSync(join(import.meta.dirname, "../package.json"), "utf8")) as { version: string }).version);
  api.on("getVersion", { body: { version: "9.9.9", heartbeat_interval_ms: 30_000, trust_domain: "skep.local", ca_sha256: "ab".repeat(32) } });
  expect((await run("version")).out).toContain("master  9.9.9");
  expect(JSON.parse((await skep(["version", "--json"], { url: "http://127.0.0.1:1", clock: hastyClock() })).out)).toMatchObject({ cli: VERSION, master: null, error: { code: "master_unreachable" } });
});

test.each([[["bogus"]], [["host", "ls", "--nope"]], [["host", "add"]], [["host", "add", "Bad_Name"]], [["host", "ls", "--status", "sleepy"]], [["lifecycle", "--limit", "0"]], [["deploy", "-f", "x", "--timeout", "soon"]], [[]]])("%j cannot be understood: exit 2, nothing on stdout", async (argv) => {
  const ran = await run(...argv);
  expect(ran).toMatchObject({ code: 2, out: "" });
  expect(ran.err).toMatch(/^Error \[usage\]: .+\n.*\n {2}Fix {3}.+\n$/);
  expect(JSON.parse((await run(...argv, "--json")).err)).toMatchObject({ code: "usage" });
});

test.each([["--help"], ["host", "--help"], ["lifecycle", "ls", "--help"], ["--version"]])("help is a result: %s", async (...argv) => {
  expect(await run(...argv)).toMatchObject({ code: 0, err: "", out: expect.stringMatching(/./) as string });
});

const CONTAINERS = { driver: "docker", components: [{ name: "api", container: { image: "api:1", resources: { pids: 100, cpus: 1 } } }, { name: "db", container: { image: "db:1" } }], volumes: { data: {}, shared: { external: "shared" } } };

test("mutate: an image and limits of one component; the limits that are not typed stay", async () => {
  api.on("getDeployment", { body: { ...detail("web", []), spec: CONTAINERS } });
  api.on("mutateDeployment", { status: 202, body: accepted(1) });
  await run("mutate", "web", "--component", "api", "--image", "api:2", "--memory", "512m", "--no-wait");
  expect(api.seen.at(-1)!.body).toEqual({ components: { api: { container: { image: "api:2", resources: { pids: 100, cpus: 1, memory_bytes: 536_870_912 } } } } });
  await run("mutate", "web", "--component", "db", "--image", "db:2", "--env", "A=b", "--no-wait");
  expect(api.seen.at(-1)!.body).toEqual({ components: { db: { env: { A: "b" }, container: { image: "db:2" } } } });
  expect(api.seen).toHaveLength(3);
  for (const wrong of [["--image", "api:2"], ["--component", "api", "--memory", "lots"], ["--component", "api", "--cpus", "0"]]) expect(await run("mutate", "web", ...wrong)).toMatchObject({ code: 2 });
});

test("teardown says which volumes the master keeps; --volumes asks for their end", async () => {
  api.on("teardownDeployment", { status: 202, body: { ...accepted(1), warnings: ["kept on its hosts: the volumes data"] } });
  expect((await run("teardown", "web", "--no-wait")).err).toBe("warning: kept on its hosts: the volumes data\n");
  expect(api.seen.at(-1)!.body).toEqual({ force: false });
  await run("teardown", "web", "--no-wait", "--volumes");
  expect(api.seen.at(-1)!.body).toEqual({ force: false, volumes: true });
});
