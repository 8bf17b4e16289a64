import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { deployRequest } from "@skep/protocol";
import { systemClock } from "@skep/runtime";
import { tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { createApi } from "../src/api.ts";
import { writeContexts } from "../src/cli-context.ts";
import { parseConfig } from "../src/config.ts";
import { checkVersion } from "../src/database.ts";
import type { UpFacts } from "../src/facts.ts";
import { readJson, writeJson } from "../src/files.ts";
import { layoutOf, SAMPLE_FILE } from "../src/layout.ts";
import { decidePort } from "../src/ports.ts";
import { readSample } from "../src/sample.ts";

test.each([
  ["nothing asked, default free", { asked: undefined, remembered: undefined }, [], 8080],
  ["nothing asked, default taken", { asked: undefined, remembered: undefined }, [8080], 0],
  ["nothing asked, one remembered", { asked: undefined, remembered: 4711 }, [], 4711],
  ["nothing asked, the remembered one taken", { asked: undefined, remembered: 4711 }, [4711], 0],
  ["any free, one remembered", { asked: 0, remembered: 4711 }, [], 4711],
  ["any free", { asked: 0, remembered: undefined }, [], 0],
  ["a number", { asked: 4712, remembered: 4711 }, [], 4712],
])("port: %s", (_what, wish, taken: number[], expected) => {
  const choice = decidePort({ name: "api", ...wish }, (port) => !taken.includes(port));
  expect(choice.port).toBe(expected);
  expect(choice.because !== undefined).toBe(taken.length > 0);
});

test("a port asked for by number is that one or a refusal", () => {
  expect(() => decidePort({ name: "swarm", asked: 4712, remembered: 4711 }, (port) => port !== 4712)).toThrow("port 4712 is taken; give another with --swarm-port");
});

test("every fault of the command line is named at once", () => {
  expect(() => parseConfig(["--agents", "many", "--api-port", "70000", "--heartbeat-interval-ms", "10"], { DATABASE_URL: "mysql://x" })).toThrow(/postgres:\/\/.*--agents.*--api-port.*--heartbeat-interval-ms/);
  expect(() => parseConfig(["--agnets", "2"], {})).toThrow(/--agnets/);
});

test("flags win over the environment, and defaults follow XDG", () => {
  const config = parseConfig(["--api-port", "0"], { SKEP_API_PORT: "9", XDG_DATA_HOME: "/data", XDG_CONFIG_HOME: "/config", HOME: "/home/ann", SECRET: "s", PATH: "/bin" });
  expect(config).toMatchObject({ stateDir: "/data/skep/up", contextFile: "/config/skep/config.json", ports: { api: 0, swarm: undefined }, restart: true, sample: true });
  expect(config).toHaveProperty("inheritedEnv", { HOME: "/home/ann", PATH: "/bin" });
  // One service name for a master and its agents would make them one in every view of a trace.
  const otel = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318", OTEL_EXPORTER_OTLP_HEADERS: "x-key=1" };
  expect(parseConfig([], { ...otel, OTEL_SERVICE_NAME: "mine" })).toHaveProperty("inheritedEnv", otel);
  expect(parseConfig(["--json"], { HOME: "/home/ann" })).toMatchObject({ contextFile: undefined, stateDir: "/home/ann/.local/share/skep/up" });
});

test("PostgreSQL 14 is refused by name, 15 is not", () => {
  expect(() => checkVersion(140_012)).toThrow("PostgreSQL 14; 15 or newer is needed");
  expect(() => checkVersion(Number.NaN)).toThrow();
  expect(() => checkVersion(150_000)).not.toThrow();
});

test("every sample passes the API's own schema, and runs on our Node", () => {
  const dir = join(SAMPLE_FILE, "..");
  // A Compose file is the CLI's to convert, and its tests hold it to what comes of it.
  const names = readdirSync(dir).filter((file) => /\.(json|yaml)$/.test(file) && file !== "compose.yaml");
  expect(names.length).toBeGreaterThanOrEqual(2);
  for (const name of names) expect(deployRequest.safeParse(parse(readFileSync(join(dir, name), "utf8"))).error, name).toBeUndefined();
  const request = readSample(SAMPLE_FILE, 3, "/opt/node");
  expect(request.placement).toEqual({ replicas: 3 });
  expect(request.spec.components.map(({ command }) => command[0])).toEqual(["/opt/node"]);
});

test("a POST whose answer was lost is repeated with the same key; another POST has another", async () => {
  const keys: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    keys.push(request.headers["idempotency-key"] as string);
    if (keys.length === 1) return void request.socket.destroy();
    if (keys.length === 2) return void response.writeHead(503).end(JSON.stringify({ code: "overloaded" }));
    response.end(JSON.stringify({ ok: true }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const api = createApi({ url: () => url, token: () => "t", clock: systemClock(), patienceMs: 10_000 });
  try {
    expect(await api.post("/v1/hosts", {})).toEqual({ ok: true });
    await api.post("/v1/hosts", {});
  } finally {
    server.close();
  }
  expect(keys).toHaveLength(4);
  expect(new Set(keys.slice(0, 3)).size).toBe(1);
  expect(keys[3]).not.toBe(keys[0]);
});

test("a context of another master is left alone; ours and one that leads nowhere are replaced", async () => {
  const dir = tempDir("context");
  const other = tempDir("other");
  const file = join(dir, "config.json");
  const layout = layoutOf(dir);
  const facts = { api_url: "http://127.0.0.1:1", token: "skp_1", ca_path: "/ca.pem" } as UpFacts;
  expect(await writeContexts(layout, file, facts)).toBe("saved");
  expect(readJson(file)).toEqual({ url: "http://127.0.0.1:1", token: "skp_1", ca: "/ca.pem", state_dir: dir });
  expect(await writeContexts(layout, file, facts)).toBe("saved");
  await writeJson(file, { url: "https://prod", token: "skp_2", state_dir: other });
  expect(await writeContexts(layout, file, facts)).toBe("foreign");
  expect(readJson(file)).toMatchObject({ url: "https://prod" });
  await writeJson(file, { url: "https://prod", token: "skp_2" });
  expect(await writeContexts(layout, file, facts)).toBe("foreign");
  await writeJson(file, { url: "http://gone", state_dir: join(other, "deleted") });
  expect(await writeContexts(layout, file, facts)).toBe("saved");
  expect(await writeContexts(layout, undefined, facts)).toBe("off");
});

test("docker-compose.yml is well-formed: its files, services and volumes are there", () => {
  const root = join(SAMPLE_FILE, "../..");
  const { services, volumes } = parse(readFileSync(join(root, "docker-compose.yml"), "utf8"), { merge: true }) as { services: Record<string, Service>; volumes: object };
  interface Service { image: string; command?: string[]; volumes?: string[]; depends_on?: object; build?: { dockerfile: string } }
  expect(Object.keys(services)).toEqual(expect.arrayContaining(["postgres", "master", "agent-1", "agent-2"]));
  for (const [name, service] of Object.entries(services)) {
    expect(service.image, name).toMatch(/^(postgres:1[5-9]|skep:local)$/);
    for (const file of [...(service.command ?? []).filter((word) => /\.m?js$/.test(word)), ...(service.build === undefined ? [] : [service.build.dockerfile])]) expect(existsSync(join(root, file)), file).toBe(true);
    for (const volume of service.volumes ?? []) expect(volumes, name).toHaveProperty([volume.split(":")[0]!]);
    for (const other of Object.keys(service.depends_on ?? {})) expect(services, name).toHaveProperty([other]);
  }
});
