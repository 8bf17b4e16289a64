/** What is read of a request and what is refused: every refusal has a code, names the place and keeps quiet about the rest. */
import { OPERATOR_ROUTES, problemSchema, type Route } from "@skep/protocol";
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { checkBind } from "../../src/http/bind-guard.ts";
import { NOOP, useApi } from "./use-api.ts";

const api = useApi();
const deploy = (payload: string, headers: Record<string, string> = {}) => api.call("POST", "/v1/deployments", { payload, headers });

describe("bodies", () => {
  test.each([
    ["half a document", "{"],
    ["a trailing comma", '{"name":"x",}'],
    ["NaN", '{"name":NaN}'],
    ["a raw NUL", '{"name":"\u0000"}'],
    ["two documents", "{}{}"],
    ["a prototype", '{"__proto__":{"admin":true}}'],
    ["a constructor's prototype", '{"constructor":{"prototype":{"x":1}}}'],
    ["a byte order mark and nothing", "\ufeff"],
  ])("%s is malformed_json", async (_name, payload) => {
    expect((await deploy(payload)).json).toMatchObject({ code: "malformed_json", status: 400, errors: [] });
  });

  test.each([
    ["null", "null"],
    ["a list", "[]"],
    ["a number", "1"],
    ["nothing", ""],
    ["NUL in a string", JSON.stringify({ name: "x", spec: { ...NOOP, components: [{ name: "a", env: { A: "\u0000" } }] } })],
    ["half a surrogate pair", '{"name":"x","spec":{"driver":"noop","components":[{"name":"a","env":{"A":"\\ud800"}}]}}'],
    ["half a surrogate pair in a key", '{"name":"x","placement":{"constraints":{"\\udc00":"a"}}}'],
    ["a number past what a double holds", '{"generation": 9007199254740993}'],
    ["a hundred thousand brackets", "[".repeat(100_000) + "]".repeat(100_000)],
    ["a hundred thousand nested objects", '{"a":'.repeat(100_000) + "1" + "}".repeat(100_000)],
    ["a hundred thousand fields", `{${Array.from({ length: 80_000 }, (_, i) => `"k${i}":1`).join(",")}}`],
  ])("%s is invalid_request", async (_name, payload) => {
    const { json, text } = await deploy(payload);
    expect(json).toMatchObject({ code: "invalid_request", status: 422 });
    expect(text.length).toBeLessThan(20_000);
  });

  test("an emoji is no half of anything", async () => {
    const { json } = await api.call("POST", "/v1/deployments", { body: { name: "emoji", dry_run: true, spec: { ...NOOP, components: [{ name: "a", env: { A: "🐝" } }] } } });
    expect(json.code).toBe("no_eligible_host");
  });

  test("one byte over the limit is too much, and the limit itself is not", async () => {
    const fill = (bytes: number) => `{"a":"${"x".repeat(bytes - 8)}"}`;
    expect((await deploy(fill(1_048_577))).json.code).toBe("payload_too_large");
    expect((await deploy(fill(1_048_576))).json.code).toBe("invalid_request");
  });

  test.each(["text/plain", "application/json\t", "application/json;\tcharset=utf-8", " application/json ;charset=utf-16", "application/jsonx", "application/json, text/html", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json;charset=latin1", "text/json"])(
    "content type %j is refused",
    async (type) => {
      expect((await deploy("{}", { "content-type": type })).json).toMatchObject({ code: "unsupported_media_type", status: 415 });
    },
  );
  test.each(["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8"])("content type %j is read", async (type) => {
    expect((await deploy("{}", { "content-type": type })).json.code).toBe("invalid_request");
  });

  test("all faults are named at once, by pointer, without their values", async () => {
    const { json, text } = await api.call("POST", "/v1/deployments", {
      body: { name: "../etc", "a/b~c": 1, spec: { driver: "process", components: [{ name: "a", restart: { policy: "never" }, env: { "x-y": "s3cr3t" }, hidden: "s3cr3t" }] } },
    });
    const pointers = json.errors.map((error: { pointer: string }) => error.pointer);
    expect(pointers).toEqual(expect.arrayContaining(["/name", "/a~1b~0c", "/spec/components/0/hidden", "/spec/components/0/env/x-y"]));
    expect(text).not.toContain("s3cr3t");
  });

  const writing = (OPERATOR_ROUTES as readonly Route[]).filter((route) => route.method !== "GET");
  test.each(writing.map((route) => [route.id, route] as const))("%s refuses a field it does not know", async (_id, route) => {
    const url = route.path.replace(/:(id|host|deployment|webhook|delivery|move)/g, "0199a3c4-0000-7000-8000-000000000001");
    const answer = await api.call(route.method, url, { body: { definitely_unknown: 1 } });
    expect(answer.json.code).toBe("invalid_request");
    expect(answer.json.errors.map((error: { pointer: string }) => error.pointer)).toContain("/definitely_unknown");
  });
});

describe("queries and paths", () => {
  test.each(["/v1/hosts?limit=0", "/v1/hosts?limit=501", "/v1/hosts?limit=1e9", "/v1/hosts?limit=x", "/v1/hosts?limit=1&limit=2", "/v1/hosts?nope=1", "/v1/hosts?__proto__=1", "/v1/hosts?status=gone", "/v1/hosts?label=novalue", "/v1/lifecycle?ids=", "/v1/lifecycle?ids=1,2", "/v1/events?limit=1001", "/v1/hosts/UPPER", "/v1/hosts/%2e%2e%2fetc", "/v1/hosts/a%00b", "/v1/lifecycle/not-a-uuid", "/v1/explain/nothing/web", "/v1/hosts/x?force=maybe", "/v1/version?x=1", `/v1/lifecycle?ids=${Array(201).fill("0199a3c4-0000-7000-8000-000000000001").join(",")}`])(
    "%s is refused",
    async (url) => {
      expect((await api.call("GET", url)).json).toMatchObject({ code: "invalid_request", status: 422 });
    },
  );
  test.each(["/v1/hosts?cursor=x", "/v1/deployments?cursor=%27%3B--", "/v1/lifecycle?cursor=1", "/v1/events?cursor=x", "/v1/events?cursor=a.99999999999999999999.1", "/v1/tokens?cursor=1"])("%s is not a cursor", async (url) => {
    expect((await api.call("GET", url)).json).toMatchObject({ code: "cursor_mismatch", status: 400 });
  });
  test.each(["' OR 1=1--", "1; DROP TABLE hosts", "{\"$ne\":null}", "web\\", "%", "_", "web'||'x"])("%j is a name like any other that does not exist", async (text) => {
    expect((await api.call("GET", `/v1/hosts/${encodeURIComponent(text)}`)).json.code).toBe("invalid_request");
    expect((await api.call("GET", `/v1/hosts?label=${encodeURIComponent(`zone=${text}`)}`)).json).toEqual({ items: [], next_cursor: null });
    expect((await api.call("GET", `/v1/events?kind=${encodeURIComponent(text.slice(0, 63))}`)).json.items).toEqual([]);
  });
  test("names and ids that nobody has are named", async () => {
    expect((await api.call("GET", "/v1/hosts/nobody")).json).toMatchObject({ code: "host_not_found", detail: "no host nobody" });
    expect((await api.call("GET", "/v1/deployments/nobody")).json.code).toBe("deployment_not_found");
    expect((await api.call("GET", "/v1/lifecycle?deployment=nobody")).json.code).toBe("deployment_not_found");
    expect((await api.call("GET", "/v1/placements?host=nobody")).json.code).toBe("host_not_found");
    expect((await api.call("GET", "/v1/lifecycle/0199a3c4-0000-7000-8000-000000000001")).json.code).toBe("lifecycle_not_found");
    expect((await api.call("DELETE", "/v1/tokens/0199a3c4-0000-7000-8000-000000000001")).json.code).toBe("token_not_found");
    expect((await api.call("GET", "/v1/explain/placement/nobody")).json.code).toBe("not_found");
  });
  test("unknown ids of a poller are left out, and both names of the list hold the same", async () => {
    const { json } = await api.call("GET", "/v1/lifecycle?ids=0199a3c4-0000-7000-8000-000000000001");
    expect(json).toEqual({ items: [], rows: [], next_cursor: null });
  });
});

describe("headers", () => {
  test("a harmless request id comes back, anything else is replaced", async () => {
    expect((await api.call("GET", "/v1/version", { headers: { "x-request-id": "abc-1.2_3" } })).headers["x-request-id"]).toBe("abc-1.2_3");
    for (const bad of ["a b", "x".repeat(65), "a\u001b[31m", '{"x":1}', "a,b"]) {
      const { headers } = await api.call("GET", "/nope", { headers: { "x-request-id": bad } });
      expect(headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
    }
    const refused = await api.call("GET", "/nope", { headers: { "x-request-id": "mine" } });
    expect(refused.json.request_id).toBe("mine");
  });
  test("every answer forbids sniffing, framing and caching, and none allows another origin", async () => {
    for (const url of ["/v1/version", "/nope", "/docs", "/healthz"]) {
      const { headers } = await api.call("GET", url, { headers: { origin: "https://evil.example" } });
      expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "x-frame-options": "DENY", "cache-control": expect.stringMatching(/no-store|max-age/) });
      expect(headers["content-security-policy"]).toBeTruthy();
      expect(headers["access-control-allow-origin"]).toBeUndefined();
    }
  });
  test.each(["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[::1"])("host %j is somebody else's name", async (host) => {
    expect((await api.call("GET", "/v1/version", { headers: { host } })).json.code).toBe("invalid_request");
  });
  test.each(["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "skep.localhost"])("host %j is ours", async (host) => {
    expect((await api.call("GET", "/v1/version", { headers: { host } })).status).toBe(200);
  });
  test.each(["", "x".repeat(129), "a b", "ü"])("idempotency key %j is refused", async (key) => {
    const answer = await api.call("POST", "/v1/tokens", { body: { name: "x", role: "viewer" }, headers: { "idempotency-key": key } });
    expect(answer.json.code).toBe("invalid_request");
  });
});

test("every refusal is a whole problem", async () => {
  for (const [method, url] of [["GET", "/nope"], ["PUT", "/v1/hosts"], ["GET", "/v1/hosts/x"], ["POST", "/v1/deployments"], ["OPTIONS", "/v1/hosts"], ["GET", "//"], ["GET", "/v1/hosts/%zz"]] as const) {
    const answer = await api.call(method, url);
    expect(answer.headers["content-type"], url).toBe("application/problem+json");
    expect(problemSchema.safeParse(answer.json).error, url).toBeUndefined();
    expect(answer.json.fix).not.toBe("");
  }
});

test("a fault of ours says nothing but where to look, and the log has it under that id", async () => {
  const store = api.store as { fleetCounts: () => Promise<unknown> };
  const real = store.fleetCounts;
  store.fleetCounts = async () => { throw new TypeError("cannot read s3cr3t of undefined"); };
  try {
    const answer = await api.call("GET", "/v1/fleet/health");
    expect(answer.json).toMatchObject({ code: "internal", status: 500, detail: "Something broke on our side" });
    expect(answer.text).not.toMatch(/s3cr3t|TypeError|at /);
    expect(api.logs.find((line) => line.includes(answer.json.error_id))).toContain("TypeError");
  } finally {
    store.fleetCounts = real;
  }
});

test("readiness names what is wrong and answers 503; liveness does not care", async () => {
  expect((await api.call("GET", "/readyz", { role: "none" })).json).toEqual({ status: "ready", checks: { database: "ok" } });
});
describe("a master that cannot work", () => {
  const sick = useApi({ readiness: async () => ({ database: "no connection", pins: "ok" }) });
  test("is alive and not ready", async () => {
    const answer = await sick.call("GET", "/readyz", { role: "none" });
    expect([answer.status, answer.json.status, answer.json.checks.database]).toEqual([503, "not_ready", "no connection"]);
    expect(answer.headers["retry-after"]).toBe("1");
    expect((await sick.call("GET", "/healthz", { role: "none" })).status).toBe(200);
  });
});

describe("the socket", () => {
  const raw = (url: string, bytes: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(new URL(url).port), "127.0.0.1", () => socket.write(bytes));
      let text = "";
      socket.on("data", (chunk) => (text += chunk.toString())).on("close", () => resolve(text)).on("error", reject);
    });
  test("what is not HTTP gets a problem and no stack; too large headers as well", async () => {
    const url = await api.listener.listen({ host: "127.0.0.1", port: 0 });
    const garbage = await raw(url, "\u0016\u0003\u0001 hello\r\n\r\n");
    expect(garbage).toMatch(/^HTTP\/1\.1 422 /);
    expect(garbage).toContain('"code":"invalid_request"');
    expect(await raw(url, `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${"y".repeat(20_000)}\r\n\r\n`)).toContain("payload_too_large");
    expect(await raw(url, "POST /v1/hosts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n")).toContain("invalid_request");
  });
  test.each(["0.0.0.0", "::", "10.0.0.1", "example.com", "127.example.com", "::ffff:10.0.0.1"])("%s without TLS is refused", (host) => {
    expect(() => checkBind(host, false)).toThrowError(expect.objectContaining({ code: "bind_refused" }));
    expect(() => checkBind(host, true)).not.toThrow();
  });
  test.each(["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"])("%s is loopback", (host) => expect(() => checkBind(host, false)).not.toThrow());
});
