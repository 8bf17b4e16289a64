/** The heartbeat route as strangers and seeds would use it: bad input has a stable answer, good input one connection. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ERROR_CODES } from "@skep/core";
import { useDatabase } from "@skep/testkit/vitest";
import { keepAlive, post, seedBeat, startRig, type Answer, type Rig } from "./rig.ts";

const database = useDatabase();
let rig: Rig;
let host: Awaited<ReturnType<Rig["addHost"]>>;
beforeAll(async () => {
  rig = await startRig(database.url, { channel: { rates: { beats: { perMinute: 600_000, burst: 10_000 }, deltas: { perMinute: 600_000, burst: 10_000 } } } });
  host = await rig.addHost("web-01");
});
afterAll(() => rig[Symbol.asyncDispose]());

const beat = (body: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  post(rig.swarmPort, "/swarm/heartbeat", body, { caPem: rig.authority.authority.certPem, identity: host, headers });

test("seed 4's minimal beat by a plain HTTPS client: 204, nothing in the body, host active", async () => {
  const answer = await beat({ host_uuid: host.hostId, agent_version: "0.4.2", status: { deployed: false } });
  expect(answer).toMatchObject({ status: 204, text: "" });
  expect((await rig.store.findHost(host.hostId))?.status).toBe("active");
});

test("the seed's fuller beat: topology and deltas by name, unknown fields ignored", async () => {
  const answer = await beat({
    host_uuid: host.hostId, agent_version: "0.4.2", status: { deployed: true, deckies: [{ name: "web", state: "running" }] }, topology: { any: ["thing"] }, new_field_of_2031: 1,
    lifecycle: [{ decky_name: "web", operation: "deploy", status: "succeeded", completed_at: "2026-01-01T00:00:00Z" }, "not a delta"],
  });
  expect([200, 204]).toContain(answer.status);
});

test("ten beats over one kept connection are one handshake", async () => {
  const agent = keepAlive();
  const before = rig.channel.handshakes();
  for (let i = 0; i < 10; i++) {
    const answer = await post(rig.swarmPort, "/swarm/heartbeat", seedBeat(host.hostId), { caPem: rig.authority.authority.certPem, identity: host, agent });
    expect(answer.status).toBe(204);
    // Three intervals and some: Node's own 5 s would make every beat a handshake.
    expect(answer.headers["keep-alive"]).toBe("timeout=8");
  }
  expect(rig.channel.handshakes() - before).toBe(1);
  agent.destroy();
});

describe("limits", () => {
  const padded = (bytes: number): string => {
    const text = JSON.stringify(seedBeat(host.hostId, { labels: "" }));
    return text.replace('"labels":""', `"labels":"${"x".repeat(bytes - text.length)}"`);
  };
  test("one mebibyte is taken, one byte more is not", async () => {
    expect((await beat(padded(1_048_576))).status).toBe(204);
    expect(await beat(padded(1_048_577))).toMatchObject({ status: 413, json: { code: "payload_too_large", retryable: false } });
  });
  test("two mebibytes, with and without a length", async () => {
    expect(await beat(padded(2_097_152)).catch((error: Error) => error.message)).toSatisfy((answer: Answer | string) => typeof answer === "string" || answer.status === 413);
    expect((await beat(seedBeat(host.hostId))).status).toBe(204);
  });
  test("a host that speaks too often is told when to come back, and its deltas have their own allowance", async () => {
    const strict = await startRig(database.url, { channel: { rates: { beats: { perMinute: 1, burst: 3 }, deltas: { perMinute: 120, burst: 3 } } } });
    try {
      const mine = await strict.addHost("busy");
      const ask = (more: object = {}) => post(strict.swarmPort, "/swarm/heartbeat", seedBeat(mine.hostId, more), { caPem: strict.authority.authority.certPem, identity: mine });
      const statuses = [];
      for (let i = 0; i < 4; i++) statuses.push((await ask()).status);
      expect(statuses).toEqual([204, 204, 204, 429]);
      const refused = await ask();
      expect(refused).toMatchObject({ status: 429, json: { code: "rate_limited", retryable: true } });
      expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
      expect((await ask({ lifecycle: [{ name: "web", operation: "deploy", status: "running" }] })).status).toBeLessThan(300);
    } finally {
      await strict[Symbol.asyncDispose]();
    }
  });
});

describe("bodies that are no beat (faults F25)", () => {
  const deep = `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`;
  const uuid = "01990000-0000-7000-8000-000000000000";
  test.each<[string, string | Buffer, number, string]>([
    ["nothing", "", 400, "malformed_json"],
    ["not JSON", "{", 400, "malformed_json"],
    ["NaN", `{"host_uuid":NaN}`, 400, "malformed_json"],
    ["two documents", "{}{}", 400, "malformed_json"],
    ["a list", "[]", 422, "invalid_request"],
    ["a string", '"x"', 422, "invalid_request"],
    ["null", "null", 422, "invalid_request"],
    ["an empty object", "{}", 422, "invalid_request"],
    ["__proto__", `{"__proto__":{"isAdmin":true},"host_uuid":"${uuid}"}`, 400, "malformed_json"],
    ["__proto__, escaped", `{"\\u005f_proto__":{"isAdmin":true}}`, 400, "malformed_json"],
    ["constructor.prototype", `{"constructor":{"prototype":{"isAdmin":true}}}`, 400, "malformed_json"],
    ["depth 100 000", deep, 422, "invalid_request"],
    ["a NUL in the version", `{"host_uuid":"${uuid}","agent_version":"1\\u0000","status":{}}`, 422, "invalid_request"],
    ["a counter of 2^63", `{"host_uuid":"${uuid}","agent_version":"1","status":{},"seq":9223372036854775807}`, 422, "invalid_request"],
    ["a negative counter", `{"host_uuid":"${uuid}","agent_version":"1","status":{},"seq":-1}`, 422, "invalid_request"],
    ["a status that is a list", `{"host_uuid":"${uuid}","agent_version":"1","status":[]}`, 422, "invalid_request"],
    ["an infinite resource", `{"host_uuid":"${uuid}","agent_version":"1","status":{},"resources":{"load1":1e999}}`, 422, "invalid_request"],
    ["501 deltas", JSON.stringify({ host_uuid: uuid, agent_version: "1", status: {}, lifecycle: Array.from({ length: 501 }, () => ({})) }), 422, "invalid_request"],
    ["bytes that are not UTF-8", Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), 400, "malformed_json"],
    ["gzip", Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]), 400, "malformed_json"],
  ])("%s", async (_what, body, status, code) => {
    const answer = await beat(body);
    expect(answer).toMatchObject({ status, json: { code } });
    expect(ERROR_CODES).toContain(answer.json!["code"]);
    expect(answer.headers["content-type"]).toMatch(/^application\/problem\+json/);
    expect(answer.text).not.toMatch(/ at .*\.(ts|js):|node_modules|stack/);
  });

  test("a lone surrogate in a label is taken or refused, never a 500", async () => {
    expect((await beat(`{"host_uuid":"${host.hostId}","agent_version":"1","status":{"observed_error":"\\ud800"},"labels":{"a":"\\ud800"}}`)).status).toBeLessThan(500);
  });

  test.each([
    ["none", { "content-type": "" }],
    ["another", { "content-type": "text/plain" }],
    ["with a tab", { "content-type": "application/json\t;charset=utf-8" }],
    ["with a leading space in the parameter", { "content-type": "application/json ; charset=utf-8" }],
    ["in capitals", { "content-type": "Application/JSON" }],
    ["with another charset", { "content-type": "application/json; charset=latin1" }],
    ["a cousin", { "content-type": "application/problem+json" }],
    ["a form", { "content-type": "application/x-www-form-urlencoded" }],
  ])("content type: %s", async (_what, headers) => {
    expect(await beat(seedBeat(host.hostId), headers)).toMatchObject({ status: 415, json: { code: "unsupported_media_type" } });
  });

  test("content type: control, the two spellings there are", async () => {
    expect((await beat(seedBeat(host.hostId), { "content-type": "application/json" })).status).toBe(204);
    expect((await beat(seedBeat(host.hostId), { "content-type": "application/json; charset=utf-8" })).status).toBe(204);
  });

  test("another method is not a route", async () => {
    const answer = await post(rig.swarmPort, "/swarm/heartbeat", "{}", { caPem: rig.authority.authority.certPem, identity: host, method: "PUT" });
    expect(answer).toMatchObject({ status: 404, json: { code: "route_not_found" } });
  });
});

test("a registration with an address the policy refuses", async () => {
  const body = (agentUrl: string) => ({ boot_id: "b", host_boot_id: "h", agent_version: "1", op_seq: 0, agent_url: agentUrl });
  const ask = (agentUrl: string) => post(rig.swarmPort, "/swarm/register", body(agentUrl), { caPem: rig.authority.authority.certPem, identity: host });
  expect(await ask("https://169.254.169.254:8444")).toMatchObject({ status: 422, json: { code: "address_refused" } });
  expect((await ask("https://127.0.0.1:8444")).status).toBe(200);
});

test("sixty hosts that register at once all get their session (faults F22)", async () => {
  const hosts: Awaited<ReturnType<Rig["addHost"]>>[] = [];
  for (let index = 0; index < 60; index++) hosts.push(await rig.addHost(`fleet-${index}`));
  const body = { boot_id: "b", host_boot_id: "h", agent_version: "1", op_seq: 0 };
  const answers = await Promise.all(hosts.map((mine) => post(rig.swarmPort, "/swarm/register", body, { caPem: rig.authority.authority.certPem, identity: mine })));
  expect(answers.map((answer) => answer.status)).toEqual(hosts.map(() => 200));
});
