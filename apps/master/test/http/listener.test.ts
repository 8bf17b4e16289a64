/** The socket itself: TLS where it must be, and nobody holds a connection by being slow. */
import { PRODUCTION_POLICY } from "@skep/core";
import { createLogger, specHash, systemClock, systemRng } from "@skep/runtime";
import { createMemoryStore, eventually, tempAuthority } from "@skep/testkit";
import { timingsFor } from "@skep/core";
import { connect } from "node:net";
import { request } from "node:https";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createControl } from "../../src/control/index.ts";
import { createOperatorListener, type OperatorListener } from "../../src/http/index.ts";
import type { IdentityControl } from "../../src/control/control.ts";
import { fakeAgents, startHarness, type Harness } from "./harness.ts";

const clock = systemClock();
const rng = systemRng();
const store = createMemoryStore({ clock, policy: PRODUCTION_POLICY });
let api: Harness;
let url = "";
beforeAll(async () => {
  api = await startHarness({ store });
  url = await api.listener.listen({ host: "127.0.0.1", port: 0 });
});
afterAll(() => api.close());

const closedAfter = async (bytes: string): Promise<string> => {
  const socket = connect(Number(new URL(url).port), "127.0.0.1", () => socket.write(bytes));
  let text = "";
  let closed = false;
  socket.on("data", (chunk) => (text += chunk.toString())).on("error", () => undefined).on("close", () => (closed = true));
  await eventually(() => closed, { what: `a connection that only said ${JSON.stringify(bytes.slice(0, 20))} is closed`, timeoutMs: 60_000 });
  return text;
};

test("half a header and half a body are waited for, but not for ever, and others are served meanwhile", async () => {
  const { server } = api.listener.app;
  // As long as they are in production; what happens then happens here a little sooner.
  expect([server.headersTimeout, server.requestTimeout]).toEqual([5_000, 10_000]);
  Object.assign(server, { headersTimeout: 500, requestTimeout: 1_000 });
  const slow = Promise.all([
    closedAfter("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "),
    closedAfter(`POST /v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${api.tokens.admin}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"name":`),
  ]);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  for (const text of await slow) if (text !== "") expect(text).toContain("request_timeout");
});

test("over TLS any name may be used, and the certificate is the one given", async () => {
  const authority = tempAuthority({ clock, rng });
  const { certPem, keyPem } = authority.master();
  const logger = createLogger({ name: "test", level: "silent", destination: "stderr" });
  const agents = fakeAgents();
  const control = await createControl({ store, agents, clock, rng, logger, policy: PRODUCTION_POLICY, timings: timingsFor(30_000), hash: specHash, failpoint: () => undefined });
  const secure: OperatorListener = await createOperatorListener({
    store, control, agents, metrics: { render: async () => "" }, clock, rng, logger, timings: timingsFor(30_000), identity: { now: () => clock.now() } as unknown as IdentityControl,
    version: "0", trustDomain: "test.skep", caSha256: "0".repeat(64), readiness: async () => ({}), tls: { key: keyPem, cert: certPem },
  });
  try {
    const address = await secure.listen({ host: "0.0.0.0", port: 0 });
    expect(address).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const get = (ca: string) =>
      new Promise<number>((resolve, reject) => {
        request(`${address}/v1/version`, { ca, servername: "localhost", agent: false, headers: { host: "skep.example", authorization: `Bearer ${api.tokens.viewer}` } }, (response) => resolve(response.resume().statusCode!)).on("error", reject).end();
      });
    expect(await get(authority.authority.certPem)).toBe(200);
    await expect(get(tempAuthority({ clock, rng }).authority.certPem)).rejects.toThrow();
  } finally {
    await secure.close();
  }
});

test("a routable address without TLS is refused before anything listens", async () => {
  const other = await startHarness({ store });
  await expect(other.listener.listen({ host: "0.0.0.0", port: 0 })).rejects.toMatchObject({ code: "bind_refused" });
  expect(other.listener.app.server.listening).toBe(false);
  await other.close();
});
