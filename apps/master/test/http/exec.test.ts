/** Commands over the API: written down before they are sent, sent once, passed on whole, and ended with whoever asked. */
import { SkepError } from "@skep/core";
import type { ExecFrame } from "@skep/protocol";
import { specHash } from "@skep/runtime";
import { eventually } from "@skep/testkit";
import pg from "pg";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { NOOP, useApi } from "./use-api.ts";

const api = useApi();
const ALLOWED = ["driver:noop", "allow:exec"];
const b64 = (text: string): string => Buffer.from(text).toString("base64");

beforeAll(async () => {
  await api.activeHost("open-1", ALLOWED);
  await api.activeHost("open-2", ALLOWED);
  await api.activeHost("shut-1", ["driver:noop"]);
  const deploy = async (name: string, hosts: string[], components = ["app"]) => {
    const made = await api.call("POST", "/v1/deployments", { body: { name, spec: { ...NOOP, components: components.map((one) => ({ name: one })) }, placement: { hosts } } });
    if (made.status !== 202) throw new Error(made.text);
  };
  await deploy("one", ["open-1"]);
  await deploy("two", ["open-1", "open-2"]);
  await deploy("pair", ["open-1"], ["app", "db"]);
  await deploy("shut", ["shut-1"]);
});
beforeEach(() => {
  api.agents.commands.length = 0;
  api.agents.deaf = false;
  api.agents.run = async function* () {
    yield { exit_code: 0, truncated_bytes: 0 };
  };
});

const run = (deployment: string, body: object, call: object = {}) => api.call("POST", `/v1/deployments/${deployment}/exec`, { body, ...call });
const linesOf = (text: string) => text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as any);
const audit = async (action = "exec") => (await api.call("GET", `/v1/audit?action=${action}`)).json.items as any[];

test("frames as they come, with where it runs before and how it ended after", async () => {
  api.agents.run = async function* () {
    yield { stream: "stdout", data: b64("hello ") };
    yield { stream: "stderr", data: b64("hm") };
    yield { stream: "stdout", data: b64("you") };
    yield { exit_code: 3, truncated_bytes: 9 };
  };
  const answer = await run("one", { command: ["/bin/tool", "--password", "hunter2"], stdin_base64: b64("in") });
  expect([answer.status, answer.headers["content-type"]]).toEqual([200, "application/x-ndjson"]);
  const [started, ...frames] = linesOf(answer.text);
  expect(started).toMatchObject({ host: "open-1", component: "app" });
  expect(frames.slice(0, 3)).toEqual([{ stream: "stdout", data: b64("hello ") }, { stream: "stderr", data: b64("hm") }, { stream: "stdout", data: b64("you") }]);
  expect(frames[3]).toMatchObject({ exit_code: 3, truncated_bytes: 9, audited: true });
  expect(api.agents.commands).toMatchObject([{ host: "open-1", component: "app", command: { command: ["/bin/tool", "--password", "hunter2"], timeout_s: 60, stdin_base64: b64("in") } }]);

  const [end, start] = await audit();
  expect(start).toMatchObject({
    actor: `token:${api.tokenIds.admin}`, action: "exec.start", outcome: "allowed", subject: `placement:${started.placement_id}`,
    detail: { exec_id: started.exec_id, deployment: "one", component: "app", host: "open-1", program: "/bin/tool", arguments: 2, argv_sha256: specHash(["/bin/tool", "--password", "hunter2"]), stdin: 2, timeout_s: 60 },
  });
  expect(end).toMatchObject({ action: "exec.end", detail: { exec_id: started.exec_id, exit_code: 3, stdout_bytes: 9, stderr_bytes: 2, truncated_bytes: 9 } });
});

test("neither the arguments nor input nor output are anywhere in the ledger or the log", async () => {
  const canary = "canary-4711";
  api.agents.run = async function* () {
    yield { stream: "stdout", data: b64(`said ${canary}`) };
    yield { exit_code: 0, truncated_bytes: 0 };
  };
  await run("one", { command: ["tool", canary], stdin_base64: b64(canary) }, { headers: { "idempotency-key": "canary" } });
  const client = new pg.Client({ connectionString: api.url });
  await client.connect();
  const { rows: tables } = await client.query<{ name: string }>("SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'");
  let everything = api.logs.join("\n");
  for (const { name } of tables) everything += JSON.stringify((await client.query(`SELECT * FROM "${name}"`)).rows);
  await client.end();
  expect(everything).toContain("exec.start");
  expect(everything).not.toContain(canary);
  expect(everything).not.toContain(b64(canary));
});

test("the start is committed before anything is sent", async () => {
  let seen: any[] = [];
  api.agents.run = async function* () {
    seen = await audit();
    yield { exit_code: 0, truncated_bytes: 0 };
  };
  const before = (await audit()).length;
  await run("one", { command: ["x"] });
  expect(seen).toHaveLength(before + 1);
  expect(seen[0].action).toBe("exec.start");
});

describe("when the audit log cannot be written", () => {
  let client: pg.Client;
  beforeEach(async () => {
    client = new pg.Client({ connectionString: api.url });
    await client.connect();
    // A permission would not bind the table's owner; a trigger does.
    await client.query("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the audit log is closed'; END $$");
    await client.query("CREATE TRIGGER refuse BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse()");
  });
  afterEach(async () => {
    await client.query("DROP FUNCTION IF EXISTS refuse CASCADE");
    await client.end();
  });
  test("nothing runs", async () => {
    expect((await run("one", { command: ["x"] })).status).toBe(500);
    expect(api.agents.commands).toEqual([]);
  });
  test("control: with the log open again the same request runs, and an end that cannot be written is said", async () => {
    await client.query("ALTER TABLE audit_log DISABLE TRIGGER refuse");
    api.agents.run = async function* () {
      await client.query("ALTER TABLE audit_log ENABLE TRIGGER refuse");
      yield { exit_code: 0, truncated_bytes: 0 };
    };
    expect(linesOf((await run("one", { command: ["x"] })).text).at(-1)).toMatchObject({ exit_code: 0, audited: false });
    expect(api.agents.commands).toHaveLength(1);
  });
});

test("what cannot be decided is not guessed; what is not allowed says who can allow it", async () => {
  const refused = async (deployment: string, body: object) => {
    const { status, json } = await run(deployment, { command: ["x"], ...body });
    return [status, json.code, json.errors?.map((error: { message: string }) => error.message).join()];
  };
  expect(await refused("two", {})).toEqual([409, "placement_ambiguous", "open-1 (app not observed),open-2 (app not observed)"]);
  expect(await refused("pair", {})).toEqual([409, "placement_ambiguous", "app,db"]);
  expect(await refused("pair", { component: "nope" })).toEqual([422, "unknown_component", ""]);
  expect(await refused("two", { host: "shut-1" })).toEqual([409, "component_not_running", ""]);
  expect(await refused("two", { host: "nobody" })).toEqual([404, "host_not_found", ""]);
  expect(await refused("none", {})).toEqual([404, "deployment_not_found", ""]);
  expect(await refused("shut", {})).toEqual([403, "exec_not_allowed", ""]);
  expect((await run("shut", { command: ["x"] })).json.fix).toContain("allow.exec");
  expect((await audit("exec.start"))[0]).toMatchObject({ outcome: "denied", detail: { code: "exec_not_allowed", host: "shut-1" } });
  expect(api.agents.commands).toEqual([]);
  expect((await run("two", { command: ["x"], host: "open-2" })).status).toBe(200);
  expect((await run("pair", { command: ["x"], component: "db" })).status).toBe(200);
  expect(api.agents.commands.map(({ host, component }) => `${host} ${component}`)).toEqual(["open-2 app", "open-1 db"]);
});

test("one key sends one command", async () => {
  const headers = { "idempotency-key": "once" };
  expect((await run("one", { command: ["x"] }, { headers })).status).toBe(200);
  expect((await run("one", { command: ["x"] }, { headers })).json).toMatchObject({ status: 409, code: "exec_already_sent" });
  expect((await run("one", { command: ["y"] }, { headers })).json.code).toBe("idempotency_key_reused");
  expect(api.agents.commands).toHaveLength(1);
});

test("an agent's refusal has its status and its end in the audit log; a host that is away likewise", async () => {
  api.agents.deaf = true;
  expect((await run("one", { command: ["x"] })).json).toMatchObject({ status: 503, code: "host_unreachable" });
  expect((await audit())[0]).toMatchObject({ action: "exec.end", detail: { error: "host_unreachable" } });
});

test("an agent that is lost in the middle: what was said is passed on, and the end is not made up", async () => {
  api.agents.run = async function* () {
    yield { stream: "stdout", data: b64("half") };
    throw new SkepError("exec_outcome_unknown", "connection failed (ECONNRESET)");
  };
  const frames = linesOf((await run("one", { command: ["x"] })).text);
  expect(frames[1]).toEqual({ stream: "stdout", data: b64("half") });
  expect(frames[2]).toMatchObject({ error: { code: "exec_outcome_unknown" }, audited: true });
  expect(frames[2].exit_code).toBeUndefined();
  expect((await audit())[0]).toMatchObject({ action: "exec.end", detail: { error: "exec_outcome_unknown", stdout_bytes: 4 } });
});

describe("over a real connection", () => {
  let url: string;
  beforeAll(async () => {
    url = await api.listener.listen({ host: "127.0.0.1", port: 0 });
  });
  /** A command that says one word and goes on until it is aborted. */
  const endless = (onEnd: () => void) => async function* (_command: unknown, signal: AbortSignal): AsyncGenerator<ExecFrame> {
    try {
      yield { stream: "stdout", data: b64("on") };
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      throw new SkepError("exec_outcome_unknown", "aborted");
    } finally {
      onEnd();
    }
  };
  const post = (token: string, signal?: AbortSignal) =>
    fetch(`${url}/v1/deployments/one/exec`, { method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": "application/json" }, body: JSON.stringify({ command: ["x"] }), ...(signal === undefined ? {} : { signal }) });

  test("an operator who leaves ends the command, and that is written down", async () => {
    let ended = false;
    api.agents.run = endless(() => (ended = true));
    const leave = new AbortController();
    const response = await post(api.tokens.admin, leave.signal);
    const reader = response.body!.getReader();
    await reader.read();
    const before = (await audit()).length;
    leave.abort();
    await eventually(() => ended && api.listener.streams() === 0, { what: "the command is ended" });
    const [end] = await eventually(async () => {
      const entries = await audit();
      return entries.length > before && entries;
    }, { what: "its end is written down" });
    expect(await audit()).toHaveLength(before + 1);
    expect(end).toMatchObject({ action: "exec.end", detail: { error: "interrupted", stdout_bytes: 2 } });
  });

  test("so does the end of the token", async () => {
    let ended = false;
    api.agents.run = endless(() => (ended = true));
    const { token, id } = await api.makeToken("admin");
    const response = await post(token);
    await eventually(() => api.listener.streams() === 1, { what: "it runs" });
    await api.call("DELETE", `/v1/tokens/${id}`);
    await eventually(() => ended && api.listener.streams() === 0, { what: "the command is ended" });
    await response.text().catch(() => "");
  });
});

test("the audit log page by page, newest first, and to nobody but admins", async () => {
  const first = (await api.call("GET", "/v1/audit?limit=2")).json;
  expect(first.items).toHaveLength(2);
  const second = (await api.call("GET", `/v1/audit?limit=2&cursor=${first.next_cursor}`)).json;
  const ids = [...first.items, ...second.items].map((item: { id: string }) => Number(item.id));
  expect(ids).toEqual([...ids].sort((a, b) => b - a));
  expect(new Set(ids).size).toBe(4);
  expect((await api.call("GET", `/v1/audit?actor=token:${api.tokenIds.viewer}`)).json.items).toEqual([]);
  for (const cursor of ["x", "99999999999999999999", "-1"]) expect((await api.call("GET", `/v1/audit?cursor=${cursor}`)).json.code).toBe("cursor_mismatch");
  expect((await api.call("GET", "/v1/audit", { role: "operator" })).status).toBe(403);
});
