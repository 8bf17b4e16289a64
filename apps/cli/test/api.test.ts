/** Requests, refusals, retries and trust: what the master says decides, and an answer lost on the way costs nothing. */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { join } from "node:path";
import { ERRORS, ERROR_CODES, type ErrorCode } from "@skep/core";
import { tempAuthority, tempDir } from "@skep/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EXEC_EXIT, EXIT, exitCodeOf } from "../src/exit-codes.ts";
import { problem, startFakeApi, TOKEN, type FakeApi } from "./fake-api.ts";
import { hastyClock, skep } from "./run-skep.ts";
import { accepted, deployment, host, list, rowList, uuid } from "./samples.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());

/** Written by hand: the registry's statuses may move, what a script sees may not. */
const NOT_BY_STATUS: Partial<Record<ErrorCode, number>> = {
  unauthenticated: 4, forbidden: 4, route_not_found: 1, idempotency_key_reused: 1,
  overloaded: 11, database_unavailable: 11, rate_limited: 11, request_timeout: 11, too_many_streams: 11, too_many_execs: 11, host_unreachable: 1, no_healthy_endpoint: 9,
};
const BY_STATUS: Readonly<Record<number, number>> = { 400: 2, 403: 5, 404: 3, 409: 5, 410: 5, 413: 2, 415: 2, 422: 2, 500: 1, 502: 11, 503: 1, 504: 11, 507: 1 };

test.each(ERROR_CODES)("the refusal %s has its exit code", (code) => {
  expect(exitCodeOf(ERRORS[code].status, code)).toBe(NOT_BY_STATUS[code] ?? BY_STATUS[ERRORS[code].status]);
});

test("every exit code is in docs/cli.md, and no other", () => {
  const documented = [...readFileSync(join(import.meta.dirname, "../../../docs/cli.md"), "utf8").matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]));
  expect(documented.sort((a, b) => a - b)).toEqual(Object.values(EXIT).sort((a, b) => a - b));
  const page = readFileSync(join(import.meta.dirname, "../../../docs/cli.md"), "utf8");
  for (const [name, code] of Object.entries(EXEC_EXIT)) expect(page).toMatch(name === "signal" ? new RegExp(`^\\| \`${code} \\+ n\` \\|`, "m") : new RegExp(`^\\| .*\`${code}\`.* \\|`, "m"));
});

test.each([["host_not_found", 3], ["unauthenticated", 4], ["host_not_empty", 5], ["invalid_request", 2], ["internal", 1]] as const)("%s on the wire ends with %i and explains itself", async (code, exit) => {
  api.on("getHost", problem(code, "the detail\nwith a second line"));
  const ran = await skep(["host", "show", "web-01"], { url: api.url });
  expect(ran).toEqual({
    code: exit, out: "",
    err: `Error [${code}]: the detail\\nwith a second line\n  Why   ${ERRORS[code].title}\n  Fix   ${ERRORS[code].fix}\n  Docs  docs/errors.md    request req-1\n`,
  });
});

test("with --json a refusal is the API's own problem, on stderr", async () => {
  api.on("getHost", problem("host_not_found", "no host web-01", { from_the_future: 1 }));
  const ran = await skep(["host", "show", "web-01", "--json"], { url: api.url });
  expect(ran).toMatchObject({ code: 3, out: "" });
  expect(JSON.parse(ran.err)).toMatchObject({ code: "host_not_found", detail: "no host web-01", from_the_future: 1 });
});

test("a wrong token is refused as such", async () => {
  expect(await skep(["host", "ls"], { url: api.url, env: { token: `${TOKEN}x` } })).toMatchObject({ code: 4, out: "" });
});

test("--json prints what the master sent, fields of the future included", async () => {
  const body = { ...host("web-01"), from_the_future: { a: 1 } };
  api.on("getHost", { body });
  expect(JSON.parse((await skep(["host", "show", "web-01", "--json"], { url: api.url })).out)).toEqual(body);
});

test("an answer lost on the way is asked for again with the same key", async () => {
  api.on("teardownDeployment", () => (api.seen.length < 3 ? "drop" : { status: 202, body: accepted() }));
  expect(await skep(["teardown", "web", "--no-wait"], { url: api.url, clock: hastyClock() })).toMatchObject({ code: 0 });
  expect(api.seen).toHaveLength(3);
  expect(new Set(api.seen.map((seen) => seen.key)).size).toBe(1);
});

test("the control: two invocations have two keys", async () => {
  api.on("teardownDeployment", { status: 202, body: accepted() });
  for (let i = 0; i < 2; i++) await skep(["teardown", "web", "--no-wait"], { url: api.url });
  expect(new Set(api.seen.map((seen) => seen.key)).size).toBe(2);
});

test.each([["database_unavailable", 4, 11], ["request_in_progress", 4, 5], ["operation_in_progress", 1, 5], ["invalid_request", 1, 2], ["internal", 1, 1]] as const)("%s is tried %i times and ends with %i", async (code, attempts, exit) => {
  api.on("teardownDeployment", problem(code));
  expect((await skep(["teardown", "web"], { url: api.url, clock: hastyClock() })).code).toBe(exit);
  expect(api.seen).toHaveLength(attempts);
});

test("Retry-After is waited for, but not beyond patience", async () => {
  const clock = hastyClock();
  api.on("teardownDeployment", () => ({ ...problem("overloaded"), headers: { "retry-after": api.seen.length === 1 ? "3" : "3600" } }));
  expect((await skep(["teardown", "web"], { url: api.url, clock })).code).toBe(11);
  expect(api.seen).toHaveLength(2);
  expect(clock.mono()).toBe(3_000);
});

test("a proxy's page is judged by its status", async () => {
  api.on("getHost", { status: 502, body: "<html>" });
  expect((await skep(["host", "show", "web-01"], { url: api.url, clock: hastyClock() })).code).toBe(11);
});

test("a shape that this version does not know is said, not guessed at", async () => {
  api.on("getHost", { body: { ...host("web-01"), status: "quantum" } });
  const ran = await skep(["host", "show", "web-01"], { url: api.url });
  expect(ran).toMatchObject({ code: 1, out: "" });
  expect(ran.err).toContain("/status");
});

test("lists are read to their end, and --limit stops", async () => {
  api.on("listDeployments", ({ query }) => (query["cursor"] === undefined ? { body: { items: [deployment("a")], next_cursor: "c1" } } : { body: list(deployment("b")) }));
  const all = JSON.parse((await skep(["ls", "--json"], { url: api.url })).out) as { items: unknown[] };
  expect(all).toMatchObject({ items: [{ name: "a" }, { name: "b" }], next_cursor: null });
  expect(JSON.parse((await skep(["ls", "--json", "--limit", "1"], { url: api.url })).out)).toMatchObject({ items: [{ name: "a" }], next_cursor: "c1" });
});

test("ids that the ledger does not know are said, and end with 3", async () => {
  api.on("listLifecycle", { body: rowList() });
  const ran = await skep(["lifecycle", uuid(1)], { url: api.url });
  expect(ran.code).toBe(3);
  expect(ran.err).toContain(uuid(1));
});

test("https: the given CA alone is trusted, and without it nothing is sent", async () => {
  const ca = tempAuthority();
  const { certPem, keyPem } = ca.master();
  let asked = 0;
  const server = createServer({ cert: certPem, key: keyPem }, (_, response) => {
    asked += 1;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(host("web-01")));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `https://127.0.0.1:${(server.address() as { port: number }).port}`;
  const file = (name: string, pem: string): string => {
    const path = join(tempDir("ca"), name);
    writeFileSync(path, pem);
    return path;
  };
  try {
    expect((await skep(["host", "show", "web-01", "--json"], { url, env: { ca: file("ca.pem", ca.authority.certPem) } })).code).toBe(0);
    expect(asked).toBe(1);
    for (const env of [{}, { ca: file("other.pem", tempAuthority().authority.certPem) }]) {
      const ran = await skep(["host", "show", "web-01"], { url, env });
      expect(ran.code).toBe(4);
      expect(ran.err).toContain("tls_refused");
    }
    expect(asked).toBe(1);
    expect((await skep(["host", "show", "web-01"], { url, env: { ca: file("empty.pem", "") } })).code).toBe(2);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
