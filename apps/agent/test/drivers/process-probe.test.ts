/** Probes decide what "running" means. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { ProbeSpec } from "@skep/core";
import { eventually, tempAuthority, tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { createWorld, FOREVER, labelsFor, living, never, node, observed, specFor, startAndWait } from "./world.ts";

/** Patient: a starved program is slow, not ill. */
const pace = { interval_ms: 50, timeout_ms: 20_000, success_threshold: 1, failure_threshold: 2 };
const http = (path: string): ProbeSpec => ({ type: "http", port: "http", path, ...pace });
/** Answers 200 on /ok, 302 on /moved, 500 elsewhere; repeats the request line in its log. */
const SERVER = node(`require("node:http").createServer((request, response) => {
  console.log(request.url); response.statusCode = request.url.startsWith("/ok") ? 200 : request.url === "/moved" ? 302 : 500; response.end("x".repeat(100000));
}).listen(Number(process.env.PORT_HTTP), "127.0.0.1")`);
const served = (probe: ProbeSpec) => specFor(SERVER, { probe, ports: [{ name: "http", protocol: "tcp" }] });

test.each([["tcp", { type: "tcp", port: "http", ...pace } as ProbeSpec], ["http 200", http("/ok")], ["http redirect", http("/moved")], ["a path that tries to break the request", http("/ok x\r\nHost: evil")]])("%s passes once the program listens", async (_name, probe) => {
  const { driver } = createWorld();
  const labels = labelsFor();
  await startAndWait(driver, labels, served(probe));
  expect(await observed(driver, labels)).toMatchObject({ state: "running" });
});

test.each([["http 500", SERVER, http("/no"), "answered 500"], ["nobody listens", FOREVER, { type: "tcp", port: "http", ...pace } as ProbeSpec, "ECONNREFUSED"],
  ["a port that says nothing", node("require('node:net').createServer(() => {}).listen(Number(process.env.PORT), '127.0.0.1')"), { ...http("/"), timeout_ms: 50 }, "no answer within 50 ms"]])("%s: unhealthy, with the reason; the wait says so at its end", async (_name, command, probe, reason) => {
  const { driver } = createWorld();
  const labels = labelsFor();
  const spec = specFor(command, { probe, ports: [{ name: "http", protocol: "tcp" }] });
  await driver.start(labels, spec, never);
  const abort = new AbortController();
  const waiting = expect(driver.wait(labels, spec, abort.signal)).rejects.toMatchObject({ code: "probe_failed", message: expect.stringContaining(reason) });
  await eventually(async () => { const seen = await observed(driver, labels); return seen.state === "unhealthy" && seen.error?.includes(reason); }, { what: "unhealthy because of it" });
  abort.abort();
  await waiting;
});

test("exec: healthy, unhealthy and healthy again, announced each time", async () => {
  const { driver } = createWorld();
  const labels = labelsFor();
  const flag = join(tempDir("flag"), "up");
  writeFileSync(flag, "");
  const probe: ProbeSpec = { type: "exec", command: ["test", "-e", flag], ...pace };
  await startAndWait(driver, labels, specFor(FOREVER, { probe }));
  let wakes = 0;
  driver.onChange(() => wakes++);
  rmSync(flag);
  await eventually(async () => (await observed(driver, labels)).state === "unhealthy", { what: "unhealthy" });
  writeFileSync(flag, "");
  const seen = await eventually(async () => { const one = await observed(driver, labels); return one.state === "running" && one; }, { what: "healthy again" });
  expect(seen).not.toHaveProperty("error");
  expect(seen.restarts).toBe(0);
  expect(wakes).toBeGreaterThanOrEqual(2);
});

test("an exec probe that hangs is killed with all it started, also when the component stops", async () => {
  const { driver } = createWorld();
  const labels = labelsFor();
  const command = node("require('node:child_process').spawn('sleep', ['600']); setInterval(() => {}, 1000)");
  await driver.start(labels, specFor(FOREVER, { probe: { type: "exec", command, ...pace, timeout_ms: 600_000 } }), never);
  await eventually(() => living(labels).length === 3, { what: "component, probe and its child" });
  await driver.stop(labels, 5_000);
  await eventually(() => living(labels).length === 0, { what: "all gone" });
});

test("success_threshold counts in a row: a program that answers once is not yet running", async () => {
  const { driver } = createWorld();
  const labels = labelsFor();
  const dir = tempDir("count");
  const command = node(`const fs = require("node:fs"); const p = ${JSON.stringify(join(dir, "n"))}; const n = fs.existsSync(p) ? Number(fs.readFileSync(p)) + 1 : 1; fs.writeFileSync(p, String(n)); process.exit(n === 2 ? 1 : 0)`);
  await startAndWait(driver, labels, specFor(FOREVER, { probe: { type: "exec", command, ...pace, success_threshold: 3 } }));
  expect(Number(readFileSync(join(dir, "n"), "utf8"))).toBeGreaterThanOrEqual(5); // ok, bad, ok, ok, ok
});

test("grpc over TLS, by the runner: not serving, then serving", async () => {
  const { driver } = createWorld();
  const labels = labelsFor();
  const authority = tempAuthority();
  const { certPem, keyPem } = authority.master();
  const flag = join(tempDir("flag"), "up");
  const server = node(`
    const { Server, ServerCredentials } = require(process.env.GRPC);
    const pass = (bytes) => bytes;
    const server = new Server();
    server.addService({ Check: { path: "/grpc.health.v1.Health/Check", requestStream: false, responseStream: false, requestSerialize: pass, requestDeserialize: pass, responseSerialize: pass, responseDeserialize: pass } },
      { Check: (call, answer) => answer(null, Buffer.from([8, require("node:fs").existsSync(process.env.FLAG) ? 1 : 2])) });
    server.bindAsync("127.0.0.1:" + process.env.PORT, ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(process.env.CERT), private_key: Buffer.from(process.env.KEY) }]), () => {});`);
  const probe: ProbeSpec = { type: "grpc", port: "rpc", tls: "on", tls_ca_pem: authority.authority.certPem, ...pace };
  const spec = specFor(server, { probe, ports: [{ name: "rpc", protocol: "tcp" }], env: { FLAG: flag, CERT: certPem, KEY: keyPem, GRPC: createRequire(import.meta.url).resolve("@grpc/grpc-js") } });
  await driver.start(labels, spec, never);
  await eventually(async () => (await observed(driver, labels)).error?.includes("the server says NOT_SERVING"), { what: "not serving, in words" });
  writeFileSync(flag, "");
  await driver.wait(labels, spec, never);
  expect(await observed(driver, labels)).toMatchObject({ state: "running" });
});
