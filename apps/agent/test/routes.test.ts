import { connect } from "node:tls";
import { AGENT_ROUTES, acceptedReply, agentHealth, cancelReply, jobView, type Route } from "@skep/protocol";
import { clientTls } from "@skep/pki";
import { eventually } from "@skep/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Agent as HttpAgent } from "undici";
import { cleanup, masterClient, startAgent, startMaster, type AgentRig } from "./kit/agent-kit.ts";
import { deploy, mutate, newId, specOf, target } from "./kit/executor-kit.ts";
import { HOST_ID, TRUST_DOMAIN, hostLeaf, masterLeaf, newAuthority, type FakeMaster, type Leaf } from "./kit/fake-master.ts";

let master: FakeMaster;
let rig: AgentRig;
let url: string;
let client: HttpAgent;

beforeEach(async () => {
  master = await startMaster();
  rig = await startAgent(master);
  url = (await rig.agent.whenReady).agent_url;
  client = masterClient(masterLeaf(master.authority));
});
afterEach(cleanup);

interface Got {
  status: number;
  headers: Record<string, unknown>;
  text: string;
  json: { code?: string; [key: string]: unknown };
}
async function call(method: string, path: string, body?: unknown, options: { via?: HttpAgent; headers?: Record<string, string>; raw?: string } = {}): Promise<Got> {
  const sent = options.raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await (options.via ?? client).request({
    origin: url, path, method: method as "GET", headers: { ...(sent === undefined ? {} : { "content-type": "application/json" }), ...options.headers }, ...(sent === undefined ? {} : { body: sent }),
  });
  const text = await response.body.text();
  return { status: response.statusCode, headers: response.headers, text, json: text.startsWith("{") ? (JSON.parse(text) as Got["json"]) : {} };
}
const pathOf = (route: Route): string => route.path.replace(":job_id", newId()).replace(":placement_id", newId()).replace(":component", "web");

describe("who may call", () => {
  test("every route of the table refuses a worker's certificate, on the connection that carries the request", async () => {
    const worker = masterClient(hostLeaf(master.authority));
    for (const route of AGENT_ROUTES) {
      const { status, json } = await call(route.method, pathOf(route), route.method === "POST" ? {} : undefined, { via: worker });
      expect([route.id, status, json.code]).toEqual([route.id, 403, "wrong_role"]);
      // Control: a master gets past the identity check.
      expect((await call(route.method, pathOf(route), route.method === "POST" ? {} : undefined)).json.code).not.toBe("wrong_role");
    }
  });

  test("without a certificate of our CA there is no connection at all", async () => {
    const foreign = masterLeaf(newAuthority());
    const caOnly = { caPem: master.authority.certPem };
    const tries: (Partial<Leaf> & { caPem: string })[] = [caOnly, { ...foreign, caPem: master.authority.certPem }];
    for (const leaf of tries) {
      const { port } = new URL(url);
      const outcome = await new Promise<string>((resolve) => {
        const socket = connect({ ...clientTls({ trustDomain: TRUST_DOMAIN, ...leaf, expect: { role: "host", hostId: HOST_ID } }), host: "127.0.0.1", port: Number(port) });
        socket.on("error", (error) => resolve(`refused: ${(error as NodeJS.ErrnoException).code ?? error.message}`));
        socket.on("secureConnect", () => socket.write("GET /health HTTP/1.1\r\nhost: x\r\n\r\n"));
        socket.on("data", (data) => resolve(`answered: ${data.toString().slice(0, 15)}`));
        socket.on("close", () => resolve("refused: closed"));
      });
      expect(outcome).toMatch(/^refused/);
    }
  });

  test("no route but the table's", async () => {
    for (const path of ["/", "/admin", "/jobs", "/deploy/"]) expect((await call("GET", path)).json.code).toBe("route_not_found");
    expect((await call("DELETE", "/deploy")).json.code).toBe("route_not_found");
  });
});

describe("slow and broken clients", () => {
  const raw = (send: string): Promise<string> => new Promise((resolve) => {
    const socket = connect({ ...clientTls({ trustDomain: TRUST_DOMAIN, ...masterLeaf(master.authority), expect: { role: "host", hostId: HOST_ID } }), host: "127.0.0.1", port: Number(new URL(url).port) });
    let got = "";
    socket.on("secureConnect", () => socket.write(send));
    socket.on("data", (data) => (got += data.toString()));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(got));
  });

  test("headers that never end, a body that never comes and bytes that are no HTTP are cut off; others are served meanwhile", async () => {
    const slow = Promise.all([
      raw("POST /deploy HTTP/1.1\r\nhost: x\r\nx-drip: "),
      raw("POST /deploy HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"),
      raw("\x16\x03 this is not http\r\n\r\n"),
    ]);
    expect((await call("GET", "/health")).status).toBe(200);
    for (const answer of await slow) expect(answer).not.toMatch(/^HTTP\/1.1 [25]/);
    expect((await call("GET", "/health")).status).toBe(200);
  });
});

describe("what they answer", () => {
  test("a job takes its trace from its body, else from the header; rubbish in either costs it nothing", async () => {
    const parent = (digit: string): string => `00-${digit.repeat(32)}-${"f".repeat(16)}-01`;
    const traceOf = async (body: object, header?: string): Promise<unknown> => {
      const command = { ...deploy(target(), 1, specOf("web")), ...body };
      expect((await call("POST", "/deploy", command, header === undefined ? {} : { headers: { traceparent: header } })).status).toBe(202);
      return (await eventually(() => master.deltas().find((delta) => delta["job_id"] === command.job_id && delta["status"] === "succeeded"), { what: "its delta" }))["traceparent"];
    };
    expect(await traceOf({ traceparent: parent("a") }, parent("b"))).toBe(parent("a"));
    expect(await traceOf({}, parent("b"))).toBe(parent("b"));
    expect(await traceOf({ traceparent: "rubbish" }, parent("b"))).toBe(parent("b"));
    expect(await traceOf({ traceparent: 7 }, "rubbish")).toBeUndefined();
  });

  test("deploy, ask, status, health, logs, cancel", async () => {
    const command = deploy(target(), 1, specOf("web"));
    const taken = await call("POST", "/deploy", { ...command, from_the_future: true }, { headers: { "x-request-id": "abc" } });
    expect([taken.status, taken.headers["x-request-id"]]).toEqual([202, "abc"]);
    expect(acceptedReply.parse(taken.json).duplicate).toBe(false);
    expect((await call("POST", "/deploy", command)).json["duplicate"]).toBe(true);
    await eventually(async () => (await call("GET", `/jobs/${command.job_id}`)).json["status"] === "succeeded", { what: "the job's success" });
    jobView.parse((await call("GET", `/jobs/${command.job_id}`)).json);
    expect(((await call("GET", "/status")).json["placements"] as unknown[]).length).toBe(1);
    expect(agentHealth.parse((await call("GET", "/health")).json)).toMatchObject({ phase: "ready", host_id: HOST_ID });
    const logs = await call("GET", `/logs/${command.placement_id}/web?offset=0`);
    expect([logs.status, logs.headers["x-next-offset"], logs.text]).toEqual([200, "10", "log of web\n"]);
    expect(cancelReply.parse((await call("POST", `/jobs/${command.job_id}/cancel`, { reason: "operator" })).json).status).toBe("succeeded");
    const sealed = newId();
    expect([(await call("POST", `/jobs/${sealed}/cancel`)).status, (await call("GET", `/jobs/${sealed}`)).json["status"]]).toEqual([202, "cancelled"]);
    expect((await call("GET", `/jobs/${newId()}`)).json.code).toBe("job_not_found");
  });

  test("dry runs are synchronous and leave nothing", async () => {
    const dry = await call("POST", "/deploy", { ...deploy(target(), 1, specOf("web")), dry_run: true });
    expect([dry.status, dry.json["status"]]).toEqual([200, "dry_run"]);
    expect((await call("POST", "/mutate", { ...mutate(target(), 2, 1, specOf("web")), dry_run: true })).json.code).toBe("no_active_deployment");
    expect(rig.agent.executor.inventory().jobs).toEqual([]);
  });

  test("bad input is refused with a stable code and nothing else", async () => {
    const good = deploy(target(), 1, specOf("web"));
    const json = JSON.stringify(good);
    const wrongTypes = ["application/json ", " application/json", "application/JSON", "application/json;charset=utf-8", "text/plain", "application/json\t", "application/json; charset=utf-8; x=1"];
    for (const type of wrongTypes) {
      const { status, json: problem } = await call("POST", "/deploy", undefined, { raw: json, headers: { "content-type": type } });
      // Leading and trailing blanks never arrive: HTTP itself strips them.
      if (type.trim() === "application/json") continue;
      expect([type, status, problem.code]).toEqual([type, 415, "unsupported_media_type"]);
    }
    const cases: [string, number, string][] = [
      ["{", 400, "malformed_json"],
      ["", 422, "invalid_request"],
      ["null", 422, "invalid_request"],
      ["[]", 422, "invalid_request"],
      [`${"[".repeat(40)}${"]".repeat(40)}`, 400, "malformed_json"],
      ["[".repeat(100_000), 400, "malformed_json"],
      [JSON.stringify({ ...good, generation: -1 }), 422, "invalid_request"],
      [JSON.stringify({ ...good, generation: 2 ** 53 }), 422, "invalid_request"],
      [JSON.stringify({ ...good, job_id: "../../etc" }), 422, "invalid_request"],
      [JSON.stringify({ ...good, spec: { ...good.spec, extra: 1 } }), 422, "invalid_request"],
      [JSON.stringify({ ...good, job_id: newId(), spec_hash: "0".repeat(64) }), 400, "spec_hash_mismatch"],
      [json.replace("{", '{"__proto__":{"dry_run":true},'), 202, ""],
    ];
    for (const [raw, status, code] of cases) {
      const got = await call("POST", "/deploy", undefined, { raw, headers: { "content-type": "application/json" } });
      expect([raw.slice(0, 60), got.status, got.json.code ?? ""]).toEqual([raw.slice(0, 60), status, code]);
      expect(got.text).not.toMatch(/\bat .*\.(ts|js):\d/);
      if (status >= 400) expect(got.headers["content-type"]).toBe("application/problem+json");
    }
  });

  test("a body above the limit is refused, one byte below it is read", async () => {
    const fill = (bytes: number): string => `{"x":"${"y".repeat(bytes - 8)}"}`;
    expect((await call("POST", "/deploy", undefined, { raw: fill(1_048_577) })).json.code).toBe("payload_too_large");
    expect((await call("POST", "/deploy", undefined, { raw: fill(1_048_576) })).json.code).toBe("invalid_request");
  });

  test("the loopback listener answers without a certificate, and only about being alive and in numbers", async () => {
    const local = (await rig.agent.whenReady).local_url!;
    expect((await fetch(`${local}/health`)).status).toBe(200);
    expect((await fetch(`${local}/ready`)).status).toBe(200);
    expect((await fetch(`${local}/status`)).status).toBe(404);
    const waiting = await startAgent(master, { enrolled: false });
    expect(waiting.agent.ready()).toBe(false);
  });
});
