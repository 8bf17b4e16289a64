/** One probe against real servers: what passes, and in which words the rest is refused. */
import { execFileSync } from "node:child_process";
import { createServer as createHttps } from "node:https";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { ProbeSpec } from "@skep/core";
import { probeSchema, specSchema } from "@skep/protocol";
import { ManualClock, tempAuthority, tempDir } from "@skep/testkit";
import { afterEach, expect, test } from "vitest";
import { probeOnce } from "../../src/runner/probe.ts";
import { compileRunner } from "./compile.ts";
import { HEALTH, startGrpcServer, type GrpcServerWish } from "./grpc-server.ts";
import { clock, never } from "./world.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const authority = tempAuthority();
const identity = authority.master();
const CA = authority.authority.certPem;
/** Schema defaults filled in: what is written here is what an operator writes. */
const probe = (wish: object): ProbeSpec => probeSchema.parse({ timeout_ms: 20_000, ...wish });
const ask = (spec: ProbeSpec, port: number): Promise<string | undefined> => probeOnce(spec, { host: "127.0.0.1", ports: { main: port }, exec: async () => undefined }, clock, never);

async function grpc(wish: GrpcServerWish): Promise<number> {
  const { port, close } = await startGrpcServer(wish);
  closers.push(close);
  return port;
}
async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket));
  closers.push(() => { server.close(); for (const socket of sockets) socket.destroy(); });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}
const https = (): Promise<number> => listen(createHttps({ cert: identity.certPem, key: identity.keyPem }, (request, response) => { response.statusCode = request.url === "/ok" ? 200 : 503; response.end(); }));
/** Accepts, and never says a word. */
const silent = (): Promise<number> => listen(createServer(() => {}));
async function nobody(): Promise<number> {
  const port = await silent();
  closers.splice(-1).forEach((close) => close());
  return port;
}

const tls = { certPem: identity.certPem, keyPem: identity.keyPem };
const verified = { tls: "on", tls_ca_pem: CA };
const SERVING = { "": HEALTH.SERVING };

test.each<[string, object, GrpcServerWish]>([
  ["the whole server", {}, { services: SERVING }],
  ["one service", { service: "shop.Orders" }, { services: { "": HEALTH.NOT_SERVING, "shop.Orders": HEALTH.SERVING } }],
  ["over TLS, verified (1-7)", verified, { services: SERVING, tls }],
  ["over TLS under another of its names", { ...verified, tls_server_name: "127.0.0.1" }, { services: SERVING, tls }],
  ["over TLS, believed blindly", { tls: "skip_verify" }, { services: SERVING, tls }],
])("grpc passes: %s", async (_what, wish, server) => {
  expect(await ask(probe({ type: "grpc", port: "main", ...wish }), await grpc(server))).toBeUndefined();
});

test.each<[string, object, GrpcServerWish, RegExp]>([
  ["NOT_SERVING", {}, { services: { "": HEALTH.NOT_SERVING } }, /^the server says NOT_SERVING$/],
  ["a service that is not SERVING", { service: "a" }, { services: { ...SERVING, a: HEALTH.UNKNOWN } }, /^service a says UNKNOWN$/],
  ["an unknown service", { service: "nope" }, { services: SERVING }, /knows no service "nope" \(NOT_FOUND\)/],
  ["no health service", {}, {}, /no health service \(UNIMPLEMENTED\)/],
  ["plaintext against TLS (1-7)", {}, { services: SERVING, tls }, /does not speak gRPC in plaintext; if it wants TLS/],
  ["TLS against plaintext", verified, { services: SERVING }, /TLS/],
  ["an authority nobody named", { tls: "on" }, { services: SERVING, tls }, /certificate is not believed.*tls_ca_pem/],
  ["a certificate for another name", { ...verified, tls_server_name: "db.internal" }, { services: SERVING, tls }, /for another name.*tls_server_name/],
])("grpc says: %s", async (_what, wish, server, words) => {
  expect(await ask(probe({ type: "grpc", port: "main", ...wish }), await grpc(server))).toMatch(words);
});

test("a port where nobody listens is refused by every type in the same words", async () => {
  const port = await nobody();
  for (const type of ["tcp", "http", "grpc"]) expect(await ask(probe({ type, port: "main" }), port)).toMatch(/ECONNREFUSED/);
});

test("a half-open port answers a tcp probe and no other; each is over at its limit", async () => {
  const port = await silent();
  expect(await ask(probe({ type: "tcp", port: "main" }), port)).toBeUndefined();
  for (const wish of [{ type: "tcp", ...verified }, { type: "http" }, { type: "http", ...verified }, { type: "grpc" }, { type: "grpc", ...verified }]) {
    expect(await ask(probe({ ...wish, port: "main", timeout_ms: 100 }), port)).toBe("no answer within 100 ms");
  }
});

test("tcp and http over TLS: verified, blind, and each mismatch in words", async () => {
  const port = await https();
  expect(await ask(probe({ type: "tcp", port, ...verified }), 0)).toBeUndefined();
  expect(await ask(probe({ type: "http", port, path: "/ok", ...verified }), 0)).toBeUndefined();
  expect(await ask(probe({ type: "http", port, path: "/ok", tls: "skip_verify" }), 0)).toBeUndefined();
  expect(await ask(probe({ type: "http", port, path: "/no", ...verified }), 0)).toBe("GET /no answered 503");
  expect(await ask(probe({ type: "http", port, path: "/ok" }), 0)).toMatch(/does not answer in HTTP|closed without an answer|answered 400/);
  expect(await ask(probe({ type: "tcp", port, tls: "on" }), 0)).toMatch(/not believed/);
  expect(await ask(probe({ type: "tcp", port, ...verified, tls_server_name: "elsewhere" }), 0)).toMatch(/for another name/);
});

test("a probe takes no longer than what its caller has left, whatever its own timeout says (1-11)", async () => {
  const manual = new ManualClock();
  const target = { host: "127.0.0.1", ports: { main: await silent() }, exec: async () => undefined };
  const asked = probeOnce(probe({ type: "http", port: "main", timeout_ms: 60_000 }), target, manual, never, 30);
  await manual.sleepers(1);
  manual.advance(30);
  expect(await asked).toBe("no answer within 30 ms");
  expect(await probeOnce(probe({ type: "tcp", port: "main" }), target, manual, never, 0)).toBe("no time was left to probe it");
});

test("a command is run where its owner runs it, and ended with the probe", async () => {
  const manual = new ManualClock();
  let ended = false;
  const exec = async (command: readonly string[], stop: { addEventListener(type: "abort", listener: () => void): void }): Promise<string | undefined> => {
    if (command[0] === "good") return undefined;
    return new Promise(() => stop.addEventListener("abort", () => (ended = true)));
  };
  const target = { host: "127.0.0.1", ports: {}, exec };
  expect(await probeOnce(probe({ type: "exec", command: ["good"] }), target, manual, never)).toBeUndefined();
  const asked = probeOnce(probe({ type: "exec", command: ["hangs"], timeout_ms: 50 }), target, manual, never);
  await manual.sleepers(1);
  manual.advance(50);
  expect(await asked).toBe("no answer within 50 ms");
  expect(ended).toBe(true);
});

test("an unknown name is said; an unknown type, a udp port and a port beyond the range do not get past the schema (1-9, 1-10)", async () => {
  expect(await ask(probe({ type: "tcp", port: "other" }), 1)).toBe('the component has no port named "other"');
  expect(probeSchema.safeParse({ type: "telepathy", port: 80 }).success).toBe(false);
  expect(probeSchema.safeParse({ type: "tcp", port: 99_999 }).success).toBe(false);
  const component = { name: "dns", command: ["dns"], ports: [{ name: "query", protocol: "udp" }], probe: { type: "tcp", port: "query" } };
  expect(specSchema.safeParse({ driver: "process", components: [component] }).error?.issues.map(({ message }) => message)).toEqual(["port query is udp, which a tcp probe cannot reach"]);
});

test("what no probe needs is not loaded: TLS and gRPC cost only the runners that use them", async () => {
  const program = join(compileRunner(tempDir("runner")), "../probe.js");
  const script = `
    import { createRequire } from "node:module";
    import { probeOnce } from ${JSON.stringify(program)};
    const timing = { interval_ms: 50, timeout_ms: 5000, success_threshold: 1, failure_threshold: 1 };
    const clock = { now: () => 0, mono: () => 0, sleep: (ms, signal) => new Promise((resolve) => signal.addEventListener("abort", resolve)) };
    const seen = async (probe) => {
      await probeOnce({ ...probe, ...timing }, { host: "127.0.0.1", ports: {}, exec: async () => undefined }, clock, new AbortController().signal);
      return [process.moduleLoadList.includes("NativeModule tls"), Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes("grpc-js"))];
    };
    const port = ${await nobody()};
    console.log(JSON.stringify([await seen({ type: "tcp", port }), await seen({ type: "http", port, path: "/" }), await seen({ type: "tcp", port, tls: "on" }), await seen({ type: "grpc", port })]));`;
  expect(JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }))).toEqual([[false, false], [false, false], [true, false], [true, true]]);
});
