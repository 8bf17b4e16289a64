/** The configuration file: three formats of one meaning, all faults at once, and no secret in what is printed. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { SkepError } from "@skep/core";
import { tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { readConfig } from "../src/config.ts";

interface World {
  readonly dir: string;
  readonly write: (name: string, text: string, mode?: number) => string;
  readonly read: (env?: Record<string, string>) => ReturnType<typeof readConfig>;
  /** Message and pointers of the refusal. */
  readonly fault: (env?: Record<string, string>) => { detail: string; pointers: string[] };
}

function world(): World {
  const dir = tempDir("config");
  const write = (name: string, text: string, mode = 0o600): string => {
    const path = join(dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  const read: World["read"] = (env = {}) => readConfig({ SKEP_AGENT_DIR: join(dir, "agent"), ...env }, dir, join(dir, "etc"));
  const fault: World["fault"] = (env) => {
    try {
      read(env);
    } catch (error) {
      if (error instanceof SkepError) return { detail: error.detail, pointers: error.errors.map((one) => one.pointer) };
      throw error;
    }
    throw new Error("it was not refused");
  };
  return { dir, write, read, fault };
}

const TOML = (password: string): string => `
[[boot.sequence]]
name = "foundation"
services = ["mcias", "mcns"]
timeout = "120s"
health = "tcp"

[[boot.sequence]]
name = "core"
deployments = ["metacrypt"]
timeout = "2m"
foundation = true
health = { type = "grpc", port = "rpc", component = "api", tls = "skip_verify" }

[[boot.sequence]]
name = "rest"
services = ["web"]

[allow]
host_mounts = ["/srv"]
privileged = true
capabilities = ["CAP_NET_ADMIN"]
exec = true

[docker]
host = "unix:///run/docker.sock"

[registries.hub]
server = "registry.example"
username = "bee"
password_file = "${password}"
`;
const asJson = (password: string): string => JSON.stringify({
  boot: { sequence: [
    { name: "foundation", services: ["mcias", "mcns"], timeout: "120s", health: "tcp" },
    { name: "core", deployments: ["metacrypt"], timeout: 120, foundation: true, health: { type: "grpc", port: "rpc", component: "api", tls: "skip_verify" } },
    { name: "rest", services: ["web"] },
  ] },
  allow: { host_mounts: ["/srv"], privileged: true, capabilities: ["NET_ADMIN"], exec: true },
  docker: { host: "unix:///run/docker.sock" },
  registries: { hub: { server: "registry.example", username: "bee", password_file: password } },
}, null, 2);

test("TOML, YAML and JSON mean the same; the first stage is the foundation unless it says otherwise (1-13)", () => {
  const readings = [["toml", TOML], ["json", asJson], ["yaml", asJson], ["yml", asJson]].map(([ext, text]) => {
    const { write, read } = world();
    const password = write("hub.password", "honey\n");
    const path = write(`agent/agent.${ext as string}`, (text as typeof TOML)(password));
    const { boot, allow, docker, registries, file, credential } = read();
    expect(file).toBe(path);
    expect(credential("hub")).toEqual({ server: "registry.example", username: "bee", password: "honey" });
    expect(credential("other")).toBeUndefined();
    return { boot, allow, docker, names: Object.keys(registries) };
  });
  expect(readings[0]?.boot.map(({ name, members, timeoutMs, foundation, health }) => ({ name, members, timeoutMs, foundation, health }))).toEqual([
    { name: "foundation", members: ["mcias", "mcns"], timeoutMs: 120_000, foundation: true, health: { kind: "ports", type: "tcp" } },
    { name: "core", members: ["metacrypt"], timeoutMs: 120_000, foundation: true, health: { kind: "probe", component: "api", probe: expect.objectContaining({ type: "grpc", port: "rpc", tls: "skip_verify", timeout_ms: 3_000 }) } },
    { name: "rest", members: ["web"], timeoutMs: 60_000, foundation: false, health: { kind: "own" } },
  ]);
  expect(readings[0]).toMatchObject({ allow: { hostMounts: ["/srv"], privileged: true, hostNamespaces: false, capabilities: ["NET_ADMIN"], exec: true }, docker: { host: "unix:///run/docker.sock" }, names: ["hub"] });
  for (const reading of readings.slice(1)) expect(reading).toEqual(readings[0]);
});

test("no file is no sequence and no allowance; the one beside the identity wins over the system's; a named one wins over both", () => {
  const { write, read, fault } = world();
  expect(read()).toMatchObject({ file: undefined, boot: [], allow: { hostMounts: [], privileged: false, exec: false } });
  const system = write("etc/agent.yaml", "allow: { exec: true }");
  expect(read()).toMatchObject({ file: system, allow: { exec: true } });
  const own = write("agent/agent.toml", "");
  expect(read()).toMatchObject({ file: own, allow: { exec: false } });
  const named = write("elsewhere.json", '{"allow":{"privileged":true}}');
  expect(read({ SKEP_AGENT_CONFIG: named })).toMatchObject({ file: named, allow: { privileged: true } });
  const second = write("agent/agent.yml", "");
  expect(fault().detail).toContain(`${own} and ${second}`);
  expect(fault({ SKEP_AGENT_CONFIG: "/nowhere/agent.toml" }).detail).toMatch(/\/nowhere\/agent.toml cannot be read/);
  expect(fault({ SKEP_AGENT_CONFIG: write("agent.ini", "") }).detail).toMatch(/must end in/);
});

const FAULTY = `boot:
  sequence:
    - name: one
      services: [dns]
      timeout: soon
    - name: one
      services: [dns, Web]
      health: telepathy
    - name: three
      health: { type: smoke, port: 1 }
    - name: four
      services: []
      health: { type: tcp, port: 99999 }
allow:
  host_mounts: [srv, /srv/../etc]
docker: { host: "tcp://10.0.0.1" }
allows: {}
registries:
  hub: { server: r, username: u, password: honey, password_file: /p }
`;

test("every fault at once, each with its key and its line (1-9, 1-10)", () => {
  const { write, fault } = world();
  write("agent/agent.yaml", FAULTY);
  const { detail, pointers } = fault();
  for (const words of [
    'line 5: boot.sequence[0].timeout: must be a duration like "120s"', "line 7: boot.sequence[1].services[1]", 'line 8: boot.sequence[1].health: must be one of "tcp", "http", "grpc", "none"', "line 10: boot.sequence[2].health.type",
    "line 9: boot.sequence[2]: needs services", "line 13: boot.sequence[3].health.port", "line 15: allow.host_mounts[0]", "line 15: allow.host_mounts[1]", "line 16: docker.host: must be unix", "line 17: allows: there is no such setting", "line 19: registries.hub.password: there is no such setting",
  ]) expect(detail).toContain(words);
  expect(pointers).toContain("/boot/sequence/0/timeout");
  expect(detail).not.toContain("honey");
});

test("a stage named twice, a member in two stages; an empty stage is fine", () => {
  const { write, fault } = world();
  write("agent/agent.yaml", "boot:\n  sequence:\n    - { name: one, services: [dns] }\n    - { name: one, services: [web, dns] }\n    - { name: three, services: [] }\n");
  const { detail, pointers } = fault();
  expect(pointers).toEqual(["/boot/sequence/1/name", "/boot/sequence/1/services/1"]);
  expect(detail).toContain("line 4: boot.sequence[1].name: stage one is named twice");
  expect(detail).toContain("dns is already in stage one");
});

test.each([["toml", "a = 1\nb = = 2\n", "line 2"], ["yaml", "a: 1\nb: [1\nc: 2\n", "line 3"], ["json", '{\n  "allow": {\n    exec: true\n}}', "line 3"]])("what is not even %s is refused with its line", (ext, text, line) => {
  const { write, fault } = world();
  write(`agent/agent.${ext}`, text);
  expect(fault().detail).toContain(line);
});

test("a password file that others can read is refused, and no password is ever printed", () => {
  const { write, read, fault } = world();
  const password = write("hub.password", "honey", 0o644);
  write("agent/agent.toml", TOML(password));
  expect(fault()).toMatchObject({ pointers: ["/registries/hub/password_file"], detail: expect.stringContaining("mode 0644") });
  chmodSync(password, 0o600);
  const config = read();
  expect(config.credential("hub")?.password).toBe("honey");
  expect(JSON.stringify(config)).not.toContain("honey");
  chmodSync(password, 0o640);
  expect(() => config.credential("hub")).toThrow(/mode 0640/);
});

test("the kernel's boot may be told by tests only", () => {
  const { read } = world();
  expect(read({ SKEP_HOST_BOOT_ID: "x" }).hostBootId).toBeUndefined();
  expect(read({ SKEP_HOST_BOOT_ID: "x", SKEP_ALLOW_FAILPOINTS: "1" }).hostBootId).toBe("x");
});

test("where traces go: faults beside all others, and what is secret of it in nothing that is printed", () => {
  const { read, fault } = world();
  expect(read().traces).toBeUndefined();
  const traced = read({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318", OTEL_EXPORTER_OTLP_HEADERS: "x-key=hunter2" });
  expect(traced.traces).toMatchObject({ serviceName: "skep-agent", ratio: 1 });
  expect(JSON.stringify(traced)).toContain("http://collector:4318/v1/traces");
  expect(JSON.stringify(traced)).not.toContain("hunter2");
  const { pointers, detail } = fault({ SKEP_AGENT_PORT: "x", OTEL_EXPORTER_OTLP_ENDPOINT: "http://u:hunter2@collector", OTEL_TRACES_SAMPLER: "always" });
  expect(pointers).toEqual(["/SKEP_AGENT_PORT", "/OTEL_EXPORTER_OTLP_ENDPOINT", "/OTEL_TRACES_SAMPLER"]);
  expect(detail).not.toContain("hunter2");
});
