/**
 * Bad input at every door of real processes: each piece gets a stable answer, costs nobody else anything, changes
 * nothing it may not change, and leaves the process that took it alive.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { request as httpRequest } from "node:http";
import { ERROR_CODES } from "@skep/core";
import { runSql } from "@skep/store/server";
import { eventually } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import type { Agent, BareHost } from "../src/harness/fleet.ts";
import { authorityOf, forgeMaster } from "../src/harness/forge.ts";
import { ledgerChecksum } from "../src/harness/ledger-checksum.ts";
import { accepted, isForSilence, succeeds } from "../src/harness/operations.ts";
import { ask, type Credential, type PlainAnswer } from "../src/harness/plain-https.ts";
import { noop } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

let agent: Agent;
let mole: BareHost;
let master: Credential;
// A host may miss a beat or two while this machine is busy, without a row being lost over it.
const site = useFleet("hostile-input", { intervalMs: 2_000 }, async (fleet) => {
  agent = await fleet.addAgent("bee-1");
  mole = await fleet.addBareHost("mole");
  master = forgeMaster(await authorityOf(fleet));
});

const swarm = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<PlainAnswer> =>
  ask(`${site.fleet.master.ready().swarm_url}/swarm/${path}`, body, { caPem: mole.identity.caPem, credential: mole.identity, headers });
const minimal = (more: object = {}): object => ({ host_uuid: mole.hostId, agent_version: "0.1.0", status: { deployed: false }, ...more });

/** Everything an operation could have changed. That a host fell silent meanwhile, or did not answer, that it registered anew, what it says of itself and what its deployments are called therefore, is no such thing. */
async function ledger(): Promise<unknown> {
  const { audit_log: _audit, hosts: _hosts, events: _events, deployments: _deployments, observed: _observed, host_sessions: _sessions, ...rest } = await ledgerChecksum(site.fleet.databaseUrl);
  const names = [await runSql(site.fleet.databaseUrl, "SELECT id, name FROM hosts ORDER BY id"), await runSql(site.fleet.databaseUrl, "SELECT id, name, generation, desired FROM deployments ORDER BY id")];
  const events = await runSql(site.fleet.databaseUrl, "SELECT count(*) FROM events WHERE kind NOT IN ('host.active', 'host.suspect', 'host.unreachable', 'host.flapping', 'host.settled') AND kind NOT LIKE 'host.network_%' AND kind NOT LIKE 'breaker.%'");
  return { rest, names, events };
}

/** The test speaks for this host, and a host that says nothing is given up. */
async function wakeMole(): Promise<void> {
  expect((await swarm("heartbeat", minimal())).status).toBe(204);
  await eventually(async () => (await site.fleet.api.get("/v1/hosts/mole")).status === "active", { what: "the mole is heard", timeoutMs: 30_000 });
}

/** Asks something of the mole while it is heard: in a test that was held up the last beat is an old one when the master decides. */
async function asksMole(path: string, body: unknown): Promise<any> {
  const answer = await eventually(async (status) => {
    await wakeMole();
    const said = await site.fleet.api.post(path, body);
    status(`${said.status} ${JSON.stringify(said.body)}`);
    return isForSilence(said) ? undefined : said;
  }, { what: `the mole is asked: POST ${path}`, timeoutMs: 60_000 });
  expect(answer.status).toBe(202);
  return site.fleet.api.get(`/v1/lifecycle/${answer.body.lifecycle_ids[0]}`);
}

/** A POST to the operator API whose body and content type are as given. */
function operator(path: string, body: string | Buffer, contentType: string): Promise<PlainAnswer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${site.fleet.api.url}${path}`, { method: "POST", headers: { authorization: `Bearer ${site.fleet.api.token}`, "content-type": contentType, "content-length": String(Buffer.byteLength(body)) } }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text, json: JSON.parse(text) }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

const BAD_BODIES: readonly (readonly [string, string | Buffer])[] = [
  ["nothing", ""], ["half an object", "{"], ["NaN", '{"a":NaN}'], ["two documents", "{}{}"], ["a list", "[]"], ["a string", '"x"'], ["null", "null"], ["an empty object", "{}"],
  ["__proto__", '{"__proto__":{"admin":true}}'], ["constructor", '{"constructor":{"prototype":{"admin":true}}}'], ["deep", `${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`],
  ["bytes", Buffer.from([0x7b, 0xff, 0xfe, 0x7d])], ["a lone surrogate", '{"name":"\\ud800"}'], ["a NUL", '{"name":"a\\u0000b"}'], ["a huge number", '{"timeout_s":1e400}'],
  ["many keys", `{${Array.from({ length: 20_000 }, (_, index) => `"k${index}":0`).join(",")}}`],
];
const BAD_TYPES = ["text/plain", "application/json;\tcharset=utf-8", "application/json ; a=b", "application/xml", "application/json, text/html"];

/** A refusal is ours: a known code, what to do next, and nothing of the inside. */
function expectProblem(label: string, answer: PlainAnswer): void {
  expect([label, answer.status >= 400 && answer.status < 500]).toEqual([label, true]);
  expect(ERROR_CODES as readonly string[]).toContain(answer.json?.code);
  expect(answer.json.fix).not.toBe("");
  expect(answer.text).not.toMatch(/\bat .*\.(ts|js):\d+|node_modules|SELECT |INSERT /);
}

describe("bodies that are none", () => {
  test("are refused in one form at every door, and nobody dies of them", async () => {
    const pids = [site.fleet.master.ready().pid, agent.program()!.pid];
    const before = await ledger();
    for (const [label, body] of BAD_BODIES) {
      for (const path of ["heartbeat", "register", "rotate"]) expectProblem(`swarm/${path} ${label}`, await swarm(path, body));
      for (const path of ["/v1/hosts", "/v1/deployments", "/v1/tokens"]) expectProblem(`${path} ${label}`, await operator(path, body, "application/json"));
      for (const path of ["/deploy", "/mutate", "/teardown"]) expectProblem(`agent ${path} ${label}`, await ask(`${agent.agentUrl()}${path}`, body, { caPem: mole.identity.caPem, credential: master }));
      const door = await ask(`${site.fleet.master.ready().enrol_url}/enrol/01990000-0000-7000-8000-000000000000`, body, { caPem: mole.identity.caPem });
      expectProblem(`door ${label}`, door);
    }
    for (const type of BAD_TYPES) {
      expectProblem(`operator ${type}`, await operator("/v1/hosts", '{"name":"typed"}', type));
      expectProblem(`swarm ${type}`, await swarm("heartbeat", minimal(), { "content-type": type }));
      expectProblem(`agent ${type}`, await ask(`${agent.agentUrl()}/teardown`, "{}", { caPem: mole.identity.caPem, credential: master, headers: { "content-type": type } }));
    }
    // Refusals may be audited; nothing else may have moved.
    expect(await ledger()).toEqual(before);
    expect([site.fleet.master.ready().pid, agent.program()!.pid]).toEqual(pids);
    expect([site.fleet.master.running(), agent.running()]).toEqual([true, true]);
  });

  test("two mebibytes: refused, and the host is served again at once", async () => {
    const padded = JSON.stringify(minimal({ labels: "x".repeat(2 * 1_048_576) }));
    // The answer may be lost with the connection: the master does not read on to deliver it.
    const answer = await swarm("heartbeat", padded).catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
    if (typeof answer === "string") expect(answer).toMatch(/EPIPE|ECONNRESET|ECONNABORTED/);
    else expect(answer).toMatchObject({ status: 413, json: { code: "payload_too_large" } });
    expect((await swarm("heartbeat", minimal())).status).toBe(204);
  });
});

test("names with paths, control characters and shells in them name nothing", async () => {
  const { api, dir } = site.fleet;
  const canary = join(dir, "canary");
  writeFileSync(canary, "alive");
  const evil = ["../../etc/passwd", "a/b", "a\\b", "..", ".", "a\nb", "a\u0000b", "\u001b[31mred", "$(touch x)", "`id`", "a b", "-rf", "A", "x".repeat(64), "", "ü", "%2e%2e"];
  const before = await ledger();
  for (const name of evil) {
    const answers = [
      await api.post("/v1/hosts", { name }),
      await api.post("/v1/tokens", { name, role: "viewer" }),
      await api.post("/v1/deployments", { name, spec: noop(0), placement: { hosts: ["bee-1"] } }),
      await api.post("/v1/deployments", { name: "fine", spec: { driver: "noop", components: [{ name }] }, placement: { hosts: ["bee-1"] } }),
      await api.post("/v1/deployments", { name: "fine", spec: { driver: "process", components: [{ name: "c", command: ["/bin/true"], ports: [{ name }] }] }, placement: { hosts: ["bee-1"] } }),
    ];
    expect([name, answers.map((answer) => answer.status)]).toEqual([name, Array(answers.length).fill(422)]);
    expect((await api.call("GET", `/v1/hosts/${encodeURIComponent(name === "" ? "-" : name)}`)).status).toBeGreaterThanOrEqual(400);
    // The agent judges for itself what a master sends.
    const command = { job_id: crypto.randomUUID(), placement_id: crypto.randomUUID(), deployment: name, epoch: 1, generation: 1, timeout_s: 10 };
    expect((await ask(`${agent.agentUrl()}/teardown`, command, { caPem: mole.identity.caPem, credential: master })).status).toBe(422);
    expect((await ask(`${agent.agentUrl()}/logs/${encodeURIComponent(`../${name}`)}/${encodeURIComponent(name)}`, undefined, { caPem: mole.identity.caPem, credential: master, method: "GET" })).status).toBeGreaterThanOrEqual(400);
  }
  expect(await ledger()).toEqual(before);
  // Shell characters where text is allowed are text.
  const touch = join(dir, "touched");
  await succeeds(api, "/v1/deployments", { name: "quoted", spec: { driver: "process", components: [{ name: "c", command: ["/bin/sh", "-c", "sleep 600", `$(touch ${touch})`, `; touch ${touch}`], env: { A: `$(touch ${touch})`, B: `\`touch ${touch}\`` }, stop_timeout_s: 0 }] }, placement: { hosts: ["bee-1"] }, reconcile: "report" });
  await succeeds(api, "/v1/deployments/quoted/teardown", {});
  expect([existsSync(touch), existsSync(canary)]).toEqual([false, true]);
});

describe("a host that tells tales", () => {
  let session = 0;
  const boot = crypto.randomUUID();
  const full = (seq: number, more: object = {}): object => minimal({ boot_id: boot, host_boot_id: "h", session_epoch: session, seq, op_seq: 1, phase: "ready", status: { deployed: false, placements: [] }, jobs: [], ...more });
  const deltaOf = (row: any, more: object = {}): object => ({
    delta_id: crypto.randomUUID(), job_id: row.id, placement_id: row.placement_id, deployment: row.deployment, operation: row.operation, status: "succeeded", generation: row.generation, epoch: row.epoch, ...more,
  });
  const rowOf = async (id: string | undefined): Promise<any> => site.fleet.api.get(`/v1/lifecycle/${id}`);

  test("of another host's row is acknowledged, audited, and believed in nothing", async () => {
    const { api, databaseUrl, dir } = site.fleet;
    await wakeMole();
    session = (await swarm("register", { boot_id: boot, host_boot_id: "h", agent_version: "0.1.0", op_seq: 1 })).json.session_epoch;
    // Runs for as long as nobody opens its gate, however long this test is held up.
    const gate = join(dir, "gate");
    const gated = { driver: "process", components: [{ name: "one", command: ["/bin/sleep", "3600"], stop_timeout_s: 1, probe: { type: "exec", command: ["/bin/test", "-e", gate], interval_ms: 100, start_period_ms: 600_000 } }] };
    const [id] = await accepted(api, "/v1/deployments", { name: "victim", spec: gated, placement: { hosts: ["bee-1"] }, reconcile: "report" });
    const row = await eventually(async () => {
      const seen = await rowOf(id);
      return seen.status === "running" ? seen : undefined;
    }, { what: "the victim's job runs", timeoutMs: 60_000 });
    const answer = await swarm("heartbeat", full(1, { lifecycle: [deltaOf(row), "rubbish", { delta_id: "not-an-id" }, 7, deltaOf({ ...row, id: crypto.randomUUID() })] }));
    expect(answer.status).toBe(200);
    expect(answer.json.acked.map((ack: any) => ack.result).sort()).toEqual(expect.arrayContaining(["rejected", "unknown"]));
    // One malformed item never costs the beat: each is named.
    expect(answer.json.rejected.map((item: any) => item.index)).toEqual(expect.arrayContaining([1, 3]));
    expect(await rowOf(id)).toMatchObject({ status: "running", completed_at: null });
    const audit = await runSql(databaseUrl, "SELECT actor, outcome FROM audit_log WHERE action = 'delta.apply' AND subject = $1", [`lifecycle:${id}`]);
    expect(audit).toEqual([{ actor: `host:${mole.hostId}`, outcome: "denied" }]);
    // Its own agent's word counts.
    writeFileSync(gate, "");
    await eventually(async () => (await rowOf(id)).status === "succeeded", { what: "the row ends by its own host's word", timeoutMs: 60_000 });
  });

  test("an older snapshot that arrives late changes nothing; a delta in it still counts, and twice counts once", async () => {
    const { api } = site.fleet;
    const row = await asksMole("/v1/deployments", { name: "tale", spec: noop(0), placement: { hosts: ["mole"] }, reconcile: "report" });
    const { id } = row;
    const seen = (state: string): object => ({ deployed: true, placements: [{ placement_id: row.placement_id, deployment: "tale", epoch: row.epoch, generation: row.generation, spec_hash: "0".repeat(64), state, components: [] }] });
    const observed = async (): Promise<string> => (await api.get("/v1/placements?deployment=tale")).items[0].observed?.state;
    expect((await swarm("heartbeat", full(10, { status: seen("deploying") }))).status).toBeLessThan(300);
    expect(await observed()).toBe("deploying");
    const delta = deltaOf(row);
    const late = await swarm("heartbeat", full(9, { status: seen("failed"), lifecycle: [delta] }));
    expect(late.status).toBeLessThan(300);
    expect(await observed()).toBe("deploying");
    expect(await rowOf(id)).toMatchObject({ status: "succeeded" });
    // A terminal row is history: the same again is a duplicate, another end comes late.
    const again = await swarm("heartbeat", full(11, { status: seen("running"), lifecycle: [delta, deltaOf(row, { status: "failed", error: "no" }), deltaOf(row, { generation: 99 })] }));
    expect(again.json.acked.map((ack: any) => ack.result)).toEqual(["duplicate", "late", "rejected"]);
    expect(await rowOf(id)).toMatchObject({ status: "succeeded", error: null });
    // The control: a newer snapshot is taken.
    expect(await observed()).toBe("running");
    // Another process of the same host opened no session: it is told to register.
    expect(await swarm("heartbeat", { ...full(12), session_epoch: session + 7 })).toMatchObject({ status: 409, json: { code: "session_stale" } });
  });

  test("about the time is listened to politely", async () => {
    const { api } = site.fleet;
    for (const hours of [-1, 1, 24 * 365]) {
      await wakeMole();
      const then = new Date(Date.parse((await api.get("/v1/hosts/mole")).last_heartbeat_at) + hours * 3_600_000).toISOString();
      const row = await asksMole("/v1/deployments/tale/redeploy", {});
      expect((await swarm("heartbeat", full(100 + hours, { boot_id: boot, sent_at: then, lifecycle: [deltaOf(row, { started_at: then, completed_at: then })] }))).status).toBeLessThan(300);
      const ended = await rowOf(row.id);
      expect(ended).toMatchObject({ status: "succeeded", agent_completed_at: then });
      expect(Math.abs(Date.parse(ended.completed_at) - Date.parse(ended.started_at))).toBeLessThan(600_000);
      expect((await api.get("/v1/hosts/mole/health")).liveness.age_ms).toBeLessThan(60_000);
    }
  });
});

test("whole processes whose clocks are an hour off change nothing but their own words", async () => {
  const { fleet } = site;
  const skewed = (hours: number): Record<string, string> => {
    const path = join(fleet.dir, `skew${hours}.cjs`);
    writeFileSync(path, `const real = Date; const by = ${hours * 3_600_000};
globalThis.Date = class Date extends real { constructor(...given) { given.length === 0 ? super(real.now() + by) : super(...given); } static now() { return real.now() + by; } };`);
    return { NODE_OPTIONS: `--require ${path}` };
  };
  await succeeds(fleet.api, "/v1/deployments", { name: "clock", spec: noop(0), placement: { hosts: ["bee-1"] }, reconcile: "auto" });
  for (const [masterHours, agentHours] of [[0, -1], [1, 0], [-1, 1]] as const) {
    await agent.kill();
    await fleet.master.kill();
    await fleet.master.start(masterHours === 0 ? {} : skewed(masterHours));
    await agent.start(agentHours === 0 ? {} : skewed(agentHours));
    const [row] = await succeeds(fleet.api, "/v1/deployments/clock/redeploy", {});
    const ended: any = await fleet.api.get(`/v1/lifecycle/${row!.id}`);
    expect(Math.abs(Date.parse(ended.completed_at) - Date.parse(ended.started_at))).toBeLessThan(120_000);
    await eventually(async (status) => {
      const health = await fleet.api.get("/v1/hosts/bee-1/health");
      status(JSON.stringify(health));
      return health.health === "healthy" && health.liveness.age_ms < 60_000;
    }, { what: `healthy with the master ${masterHours} h and the agent ${agentHours} h off`, timeoutMs: 60_000 });
  }
  expect((await fleet.api.get("/v1/events?kind=lifecycle.lost")).items).toEqual([]);
  await agent.kill();
  await agent.start();
  await fleet.master.kill();
  await fleet.master.start();
});

test("what cannot be audited is not done", async () => {
  const { api, databaseUrl } = site.fleet;
  // Its agent and its master were started just now: their own work is done before anything is compared.
  await eventually(async () => (await api.get("/v1/hosts/bee-1/health")).health === "healthy", { what: "the host is well", timeoutMs: 60_000 });
  await runSql(databaseUrl, "CREATE FUNCTION no_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the audit log is full'; END $$; CREATE TRIGGER no_audit BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION no_audit()");
  const before = await ledger();
  // What is refused because the host is late just now is refused before anything is written.
  const deploy = await eventually(async () => {
    const answer = await api.post("/v1/deployments", { name: "unwatched", spec: noop(0), placement: { hosts: ["bee-1"] } });
    return isForSilence(answer) ? undefined : answer;
  }, { what: "its host is heard", timeoutMs: 60_000 });
  const refused = [deploy, await api.post("/v1/tokens", { name: "unwatched", role: "admin" }), await api.post("/v1/hosts", { name: "unwatched" })];
  expect(refused.map((answer) => [answer.status, answer.body.code])).toEqual(Array(3).fill([500, "internal"]));
  expect(JSON.stringify(refused.map((answer) => answer.body))).not.toContain("audit log is full");
  expect(await ledger()).toEqual(before);
  await runSql(databaseUrl, "DROP TRIGGER no_audit ON audit_log");
  await succeeds(api, "/v1/deployments", { name: "watched", spec: noop(0), placement: { hosts: ["bee-1"] } });
});

test("after all that, every line of every log is one JSON object", async () => {
  const { fleet } = site;
  for (const text of [fleet.master.logs(), agent.logs()]) {
    // What comes after the last line's end is a line that is still being written.
    const lines = text.split("\n").slice(0, -1).filter((line) => line !== "");
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.filter((line) => {
      try {
        return typeof JSON.parse(line) !== "object";
      } catch {
        return true;
      }
    })).toEqual([]);
  }
});
