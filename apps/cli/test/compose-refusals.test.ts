/** What is refused: each with its code, its key and its line, in a file of several lines, so that the line says something. */
import { symlinkSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { convert, converted, faultsOf, folderOf, type Around } from "./compose-convert.ts";

/** One service, with lines of its own; they begin at line 4. */
const service = (...lines: string[]): string => `services:\n  web:\n    image: nginx\n${lines.map((line) => `    ${line}\n`).join("")}`;
const file = (...lines: string[]): string => lines.join("\n");

type Case = readonly [what: string, text: string, faults: readonly string[], around?: Around];

/** Faults F38: what a file must not get past anybody by being valid Compose. */
const DANGEROUS: readonly Case[] = [
  ["devices", service("devices: [/dev/kmsg]"), ["unsupported_key services.web.devices 4"]],
  ["device_cgroup_rules", service("device_cgroup_rules: ['a *:* rwm']"), ["unsupported_key services.web.device_cgroup_rules 4"]],
  ["security_opt", service("security_opt:", "  - seccomp:unconfined"), ["unsupported_key services.web.security_opt 4"]],
  ["cgroup_parent", service("user: '1'", "cgroup_parent: /system.slice"), ["unsupported_key services.web.cgroup_parent 5"]],
  ["cgroup", service("cgroup: host"), ["unsupported_key services.web.cgroup 4"]],
  ["runtime", service("runtime: evil"), ["unsupported_key services.web.runtime 4"]],
  ["sysctls", service("sysctls:", "  kernel.shm_rmid_forced: 1"), ["unsupported_key services.web.sysctls 4"]],
  ["userns_mode", service("userns_mode: host"), ["unsupported_key services.web.userns_mode 4"]],
  ["uts", service("uts: host"), ["unsupported_key services.web.uts 4"]],
  ["extends", service("extends: { file: ../other.yaml, service: web }"), ["unsupported_key services.web.extends 4"]],
  ["include", file("include:", "  - ../other.yaml", service()), ["unsupported_key include 1"]],
  ["remote include", file(service(), "include: ['oci://example.org/x']"), ["unsupported_key include 5"]],
  ["build alone", "services:\n  web:\n    build: .\n", ["unsupported_key services.web.build 3"]],
  ["build with a context elsewhere", "services:\n  web:\n    build:\n      context: ../..\n", ["unsupported_key services.web.build 3"], { ignoreBuild: true }],
  ["build beside an image, not waived", service("build: ."), ["unsupported_key services.web.build 4"]],
  ["driver_opts of a volume that are a bind", file(service("volumes: [root:/x]"), "volumes:", "  root:", "    driver_opts: { type: none, o: bind, device: / }"), ["unsupported_key volumes.root.driver_opts 8"]],
  ["driver_opts of a network", file(service("networks: [n]"), "networks: { n: { driver_opts: { a: b } } }"), ["unsupported_key networks.n.driver_opts 6"]],
  ["another volume driver", file(service("volumes: [v:/x]"), "volumes:", "  v: { driver: sshfs }"), ["unsupported_value volumes.v.driver 7"]],
  ["another network driver", file(service("networks: [n]"), "networks:", "  n: { driver: macvlan }"), ["unsupported_value networks.n.driver 7"]],
  ["the docker socket through use_api_socket", service("use_api_socket: true"), ["unsupported_key services.web.use_api_socket 4"]],
  ["gpus", service("gpus: all"), ["unsupported_key services.web.gpus 4"]],
  ["reserved devices", service("deploy:", "  resources:", "    reservations:", "      devices: [{ capabilities: [gpu] }]"), ["unsupported_key services.web.deploy.resources.reservations.devices 7"]],
  ["another container's network", service("network_mode: container:other"), ["unsupported_value services.web.network_mode 4"]],
  ["another container's processes", service("pid: container:other"), ["unsupported_value services.web.pid 4"]],
  ["another container's memory", service("ipc: container:other"), ["unsupported_value services.web.ipc 4"]],
  ["volumes_from", service("volumes_from: [container:other]"), ["unsupported_key services.web.volumes_from 4"]],
  ["propagation of a bind", service("volumes:", "  - type: bind", "    source: /x", "    target: /x", "    bind: { propagation: rshared }"), ["unsupported_key services.web.volumes[0].bind.propagation 8"]],
  ["a mode of a mount", service("volumes: ['/x:/x:rshared']"), ["unsupported_value services.web.volumes[0] 4"]],
  ["ulimits", service("ulimits: { nproc: 1 }"), ["unsupported_key services.web.ulimits 4"]],
  ["a hook that is privileged", service("post_start:", "  - command: [sh]", "    privileged: true"), ["unsupported_key services.web.post_start 4"]],
  ["secrets", file(service("secrets: [s]"), "secrets: { s: { file: /etc/shadow } }"), ["unsupported_key services.web.secrets 4", "unsupported_key secrets 6"]],
  ["configs", file(service("configs: [c]"), "configs: { c: { file: /etc/shadow } }"), ["unsupported_key services.web.configs 4", "unsupported_key configs 6"]],
  ["logging elsewhere", service("logging: { driver: syslog }"), ["unsupported_key services.web.logging 4"]],
  ["label_file", service("label_file: /etc/shadow"), ["unsupported_key services.web.label_file 4"]],
  ["credential_spec", service("credential_spec: { file: /etc/shadow }"), ["unsupported_key services.web.credential_spec 4"]],
];

/** Not valid, unknown, or of the wrong type. */
const INVALID: readonly Case[] = [
  ["no YAML", "services:\n  web: [\n", ["yaml  3"]],
  ["a key twice", service("user: a", "user: b"), ["yaml  5"]],
  ["a tag", service("ports: !reset []"), ["yaml  4"]],
  ["an alias without an anchor", service("user: *nobody"), ["yaml  4"]],
  ["two documents", `${service()}---\na: 1\n`, ["yaml  4"]],
  ["an anchor that contains itself", file("x-a: &a", "  b: *a", service()), ["yaml  2"]],
  ["<< of a text", file("x-a: &a text", "services:", "  web:", "    <<: *a"), ["yaml  1"]],
  ["a list", "- web\n", ["schema  1"]],
  ["nothing", "", ["schema  1"]],
  ["no services", "x-a: 1\nservices: {}\n", ["bad_value services 2"]],
  ["services of a list", "x-a: 1\nservices: [web]\n", ["schema services 2"]],
  ["a service of text", "services:\n  web: nginx\n", ["schema services.web 2"]],
  ["a service of nothing", "services:\n  web:\n", ["schema services.web 2"]],
  ["an unknown key", service("entrypint: a"), ["unknown_key services.web.entrypint 4"]],
  ["an unknown key at the top", `${service()}volume: {}\n`, ["unknown_key volume 4"]],
  ["a network's unknown key", file(service("networks: [n]"), "networks:", "  n:", "    intrnal: true"), ["unknown_key networks.n.intrnal 8"]],
  ["a service's name with a space", "services:\n  my web:\n    image: a\n", ["unknown_key services.my web 2"]],
  ["an image that is a number", "services:\n  web:\n    image: 7\n", ["schema services.web.image 3"]],
  ["neither image nor build", "services:\n  web:\n    user: a\n", ["bad_value services.web 2"]],
  ["a port that is true", service("ports:", "  - 80", "  - true"), ["schema services.web.ports[1] 6"]],
  ["ports that are a mapping", service("ports: { a: b }"), ["schema services.web.ports 4"]],
  ["an environment that is text", service("environment: A=b"), ["schema services.web.environment 4"]],
  ["a variable that is a list", service("environment:", "  A: [b]"), ["schema services.web.environment.A 5"]],
  ["a command with a number in it", service("command: [sleep, 5]"), ["schema services.web.command[1] 4"]],
  ["a mount without a type", service("volumes:", "  - target: /x"), ["schema services.web.volumes[0] 5"]],
  ["a condition that there is not", "services:\n  web:\n    image: a\n    depends_on:\n      db:\n        condition: ready\n  db:\n    image: b\n", ["schema services.web.depends_on.db.condition 6"]],
  ["the same item twice", service("cap_add:", "  - A", "  - B", "  - A"), ["schema services.web.cap_add[2] 7"]],
  ["keys that mean something to JavaScript", service("ports:", "  - { target: 1, valueOf: a }", "  - { target: 1, __proto__: a }"), ["unknown_key services.web.ports[0].valueOf 5", "unknown_key services.web.ports[1].__proto__ 6"]],
  ["a number that YAML reads otherwise", service("environment:", "  VERSION: 1.10"), ["bad_value services.web.environment.VERSION 5"]],
];

/** Values that the schema lets through. */
const WRONG: readonly Case[] = [
  ["a port out of range", service("ports:", "  - '80'", "  - '70000:80'"), ["bad_value services.web.ports[1] 6"]],
  ["a port that is none", service("ports: [http]"), ["bad_value services.web.ports[0] 4"]],
  ["a range backwards", service("ports: ['90-80']"), ["bad_value services.web.ports[0] 4"]],
  ["ranges of unequal length", service("ports: ['8000-8002:80-81']"), ["bad_value services.web.ports[0] 4"]],
  ["one of a range", service("ports: ['8000-8010:80']"), ["unsupported_value services.web.ports[0] 4"]],
  ["all ports there are", service("ports: ['1-65535']"), ["bad_value services.web.ports[0] 4"]],
  ["more ports than a component has", service("ports:", "  - 80", "  - '8000-8099'"), ["bad_value services.web.ports[1] 6"]],
  ["a protocol", service("ports: ['80/sctp']"), ["unsupported_value services.web.ports[0] 4"]],
  ["a host address", service("ports: ['999.1.1.1:80:80']"), ["bad_value services.web.ports[0] 4"]],
  ["a port that is taken in the service", service("ports:", "  - 8080:80", "  - 8080:81"), ["clash services.web.ports[1] 6"]],
  ["a port that is taken in another", file("services:", "  a: { image: a, ports: ['127.0.0.1:8080:80'] }", "  b: { image: b, ports: ['8080:80'] }"), ["clash services.b.ports[0] 3"]],
  ["a cycle", file("services:", "  a: { image: a, depends_on: [b] }", "  b: { image: a, depends_on: [c] }", "  c: { image: a, depends_on: [a] }"), ["cycle services.a.depends_on[0] 2"]],
  ["a service that waits for itself", service("depends_on: [web]"), ["cycle services.web.depends_on[0] 4"]],
  ["a dependency that is not there", service("depends_on:", "  - db"), ["unknown_reference services.web.depends_on[0] 5"]],
  ["a dependency in a profile", file("services:", "  a: { image: a, depends_on: [b] }", "  b: { image: a, profiles: [debug] }"), ["unknown_reference services.a.depends_on[0] 2"]],
  ["only services of profiles", service("profiles: [debug]"), ["bad_value services 1"]],
  ["health that nobody probes", file("services:", "  a: { image: a, depends_on: { b: { condition: service_healthy } } }", "  b: { image: a }"), ["unsupported_value services.a.depends_on.b 2"]],
  ["an end that restarts", file("services:", "  a: { image: a, depends_on: { b: { condition: service_completed_successfully } } }", "  b:", "    image: a", "    restart: always"), ["clash services.b.restart 5"]],
  ["an end that is probed", file("services:", "  a: { image: a, depends_on: { b: { condition: service_completed_successfully } } }", "  b: { image: a, healthcheck: { test: x } }"), ["clash services.a.depends_on.b 2"]],
  ["health and an end", file("services:", "  a: { image: a, depends_on: { b: { condition: service_completed_successfully } } }", "  c: { image: a, depends_on: { b: { condition: service_healthy } } }", "  b: { image: a }"), ["clash services.c.depends_on.b 3"]],
  ["restarts with a dependency", file("services:", "  a: { image: a, depends_on: { b: { condition: service_started, restart: true } } }", "  b: { image: a }"), ["unsupported_key services.a.depends_on.b.restart 2"]],
  ["a dependency that may fail", file("services:", "  a: { image: a, depends_on: { b: { condition: service_started, required: false } } }", "  b: { image: a }"), ["unsupported_value services.a.depends_on.b.required 2"]],
  ["two services of one component", file("services:", "  my_web: { image: a }", "  my.web: { image: a }"), ["clash services.my.web 3"]],
  ["a name of nothing", "services:\n  ___:\n    image: a\n", ["bad_value services.___ 2"]],
  ["a volume that is not declared", service("volumes:", "  - data:/data"), ["unknown_reference services.web.volumes[0] 5"]],
  ["a network that is not declared", service("networks:", "  back:"), ["unknown_reference services.web.networks.back 5"]],
  ["a volume of a name", file(service("volumes: [v:/x]"), "volumes:", "  v: { name: shared }"), ["unsupported_value volumes.v.name 7"]],
  ["ipam", file(service("networks: [n]"), "networks:", "  n: { ipam: { config: [{ subnet: 10.0.0.0/8 }] } }"), ["unsupported_key networks.n.ipam 7"]],
  ["an address", file(service("networks: { n: { ipv4_address: 10.0.0.2 } }"), "networks: { n: }"), ["unsupported_key services.web.networks.n.ipv4_address 4"]],
  ["network_mode and networks", file(service("network_mode: host", "networks: [n]"), "networks: { n: }"), ["clash services.web.networks 5"]],
  ["ports of the host's network", service("network_mode: host", "ports: [80]"), ["clash services.web.ports[0] 5"]],
  ["a relative target", service("volumes: ['/a:b']"), ["bad_value services.web.volumes[0] 4"]],
  ["a target twice", service("volumes: ['/a:/x']", "tmpfs: /x"), ["clash services.web.tmpfs 5"]],
  ["a home directory", service("volumes: ['~/a:/x']"), ["unsupported_value services.web.volumes[0] 4"]],
  ["a Windows path", service("volumes: ['C:\\a:/x']"), ["unsupported_value services.web.volumes[0] 4"]],
  ["a Windows path with slashes", service("volumes: ['C:/a:/x']"), ["unsupported_value services.web.volumes[0] 4"]],
  ["a tmpfs option", service("tmpfs: /x:mode=1777"), ["unsupported_value services.web.tmpfs 4"]],
  ["a mount of an image", service("volumes: [{ type: image, source: a, target: /x }]"), ["unsupported_value services.web.volumes[0].type 4"]],
  ["a shell's list", service("command: a && b"), ["bad_value services.web.command 4"]],
  ["a shell's pipe", service("entrypoint: a | b"), ["bad_value services.web.entrypoint 4"]],
  ["an open quote", service("command: \"echo 'a\""), ["bad_value services.web.command 4"]],
  ["an entrypoint taken away", service("entrypoint: []"), ["unsupported_value services.web.entrypoint 4"]],
  ["a command taken away", service("command: []"), ["unsupported_value services.web.command 4"]],
  ["a duration", service("stop_grace_period: soon"), ["bad_value services.web.stop_grace_period 4"]],
  ["a duration too long for the spec", service("stop_grace_period: 2h"), ["bad_value services.web.stop_grace_period 4"]],
  ["a size", service("mem_limit: lots"), ["bad_value services.web.mem_limit 4"]],
  ["less memory than an engine takes", service("user: '1'", "deploy: { resources: { limits: { memory: 1m } } }"), ["bad_value services.web.deploy 5"]],
  ["two sizes", service("mem_limit: 1g", "deploy: { resources: { limits: { memory: 2g } } }"), ["clash services.web.mem_limit 4"]],
  ["replicas", service("deploy:", "  replicas: 3"), ["unsupported_value services.web.deploy.replicas 5"]],
  ["no replica", service("deploy:", "  replicas: 0"), ["unsupported_value services.web.deploy.replicas 5"]],
  ["scale", service("scale: 2"), ["unsupported_value services.web.scale 4"]],
  ["one on each node", service("deploy: { mode: global }"), ["unsupported_value services.web.deploy.mode 4"]],
  ["where to run", service("deploy: { placement: { constraints: [a==b] } }"), ["unsupported_key services.web.deploy.placement 4"]],
  ["a restart policy", service("restart: sometimes"), ["bad_value services.web.restart 4"]],
  ["two restart policies", service("restart: always", "deploy: { restart_policy: { condition: none } }"), ["clash services.web.restart 4"]],
  ["two orders", file("services:", "  a: { image: a, deploy: { update_config: { order: start-first } } }", "  b: { image: a, deploy: { update_config: { order: stop-first } } }"), ["clash services.b.deploy.update_config.order 3"]],
  ["start-first on a fixed port", service("ports:", "  - 80:80", "deploy: { update_config: { order: start-first } }"), ["bad_value services.web.ports[0] 5"]],
  ["a healthcheck without a test", service("healthcheck:", "  interval: 5s"), ["unsupported_value services.web.healthcheck 5"]],
  ["a test of no kind", service("healthcheck:", "  test: [curl, localhost]"), ["bad_value services.web.healthcheck.test 5"]],
  ["a pull policy", service("pull_policy: daily"), ["unsupported_value services.web.pull_policy 4"]],
  ["a capability", service("cap_add:", "  - SYS_ADMIN", "  - 'no such'"), ["bad_value services.web.cap_add[1] 6"]],
  ["a variable's name", service("environment:", "  - A=1", "  - a-b=2"), ["bad_value services.web.environment[1] 6"]],
  ["a variable of the agent's", service("environment:", "  SKEP_JOB: x"), ["unsupported_value services.web.environment.SKEP_JOB 5"]],
  ["a label of the agent's", service("labels:", "  skep.job: x"), ["bad_value services.web.labels.skep.job 5"]],
  ["a hostname", service("hostname: a_b"), ["bad_value services.web.hostname 4"]],
  ["an address of a name server", service("dns: one.example"), ["bad_value services.web.dns 4"]],
  ["extra_hosts", service("extra_hosts: [nothing]"), ["bad_value services.web.extra_hosts[0] 4"]],
  ["links", service("links: [db]"), ["unsupported_key services.web.links 4"]],
  ["platform", service("platform: linux/arm64"), ["unsupported_key services.web.platform 4"]],
  ["a terminal", service("tty: true"), ["unsupported_key services.web.tty 4"]],
];

const VARIABLES: readonly Case[] = [
  ["a variable that is required", service("user: ${WHO:?say who}"), ["interpolation services.web.user 4"]],
  ["a variable that is required and empty", service("user: ${WHO:?}"), ["interpolation services.web.user 4"], { env: { WHO: "" } }],
  ["a brace that is not closed", service("user: '${WHO'"), ["interpolation services.web.user 4"]],
  ["an operator that there is not", service("user: ${WHO%x}"), ["interpolation services.web.user 4"]],
  ["nothing in braces", service("user: ${}"), ["interpolation services.web.user 4"]],
  ["a shell's substitution", service("command: [echo, $(id)]"), ["interpolation services.web.command[1] 4"]],
  ["a dollar at the end", service("environment:", "  PRICE: 5$"), ["interpolation services.web.environment.PRICE 5"]],
  ["a port that a variable makes wrong", service("ports:", "  - ${PORT}:80"), ["bad_value services.web.ports[0] 5"], { env: { PORT: "http" } }],
];

test.each([...DANGEROUS, ...INVALID, ...WRONG, ...VARIABLES].map(([what, text, faults, around]) => ({ what, text, faults, around })))("$what", async ({ text, faults, around }) => {
  expect(faultsOf(await convert(text, around))).toEqual(faults);
});

test("there are enough of them, and none is there twice", () => {
  const all = [...DANGEROUS, ...INVALID, ...WRONG, ...VARIABLES];
  expect(new Set(all.map(([what]) => what)).size).toBe(all.length);
  expect(all.length).toBeGreaterThanOrEqual(100);
});

test("all faults at once, in the order of the file", async () => {
  const text = file("services:", "  web:", "    image: nginx", "    sysctls: { a: 1 }", "    ports: [http]", "    user: ${WHO:?}", "  db:", "    imag: x", "    depends_on: [cache]");
  expect(faultsOf(await convert(text))).toEqual([
    "unsupported_key services.web.sysctls 4", "bad_value services.web.ports[0] 5", "interpolation services.web.user 6", "bad_value services.db 7", "unknown_key services.db.imag 8", "unknown_reference services.db.depends_on[0] 9",
  ]);
});

test("what an anchor brings is refused where it is written, once", async () => {
  const text = file("x-base: &base", "  image: nginx", "  privileged: false", "  runtime: evil", "services:", "  a: { <<: *base }", "  b: { <<: *base }");
  const refused = await convert(text);
  expect(faultsOf(refused)).toEqual(["unsupported_key services.a.runtime 4"]);
});

test("a circle is named by the way around it", async () => {
  const refused = await convert("services:\n  a: { image: a, depends_on: [b] }\n  b: { image: a, depends_on: [a] }\n");
  expect(refused.kind === "refused" && refused.faults[0]!.message).toBe("depends_on goes in a circle: a → b → a");
});

// ---- faults F39: files outside the folder
const CANARY = "canary-f39";
const escape = (path: string): string => service(`env_file: ${path}`);

test.each(["../secret.env", "/etc/shadow", "a/../../secret.env", "./a/./../../secret.env", "..", ".", "../app-evil/x.env", "../missing.env", "/no/such.env"])("env_file %s does not leave the folder", async (path) => {
  const outer = folderOf({ "secret.env": `S=${CANARY}\n`, "app/ok.env": "A=1\n", "app/a/b": "", "app-evil/x.env": `S=${CANARY}\n` });
  const refused = await convert(escape(path), { folder: join(outer, "app") });
  expect(faultsOf(refused)).toEqual(["path_escape services.web.env_file 4"]);
  expect(JSON.stringify(refused)).not.toContain(CANARY);
  // The control: the same file where it belongs.
  expect(converted(await convert(escape("ok.env"), { folder: join(outer, "app") })).spec.components[0]!.env).toEqual({ A: "1" });
});

test("a link does not lead out of the folder, be it the file or a folder on the way", async () => {
  const outer = folderOf({ "secret.env": `S=${CANARY}\n`, "app/x": "", "app/real/ok.env": "A=1\n" });
  const folder = join(outer, "app");
  symlinkSync(join(outer, "secret.env"), join(folder, "link.env"));
  symlinkSync(outer, join(folder, "up"));
  symlinkSync("link.env", join(folder, "twice.env"));
  symlinkSync("real/ok.env", join(folder, "inside.env"));
  for (const path of ["link.env", "up/secret.env", "twice.env"]) {
    const refused = await convert(escape(path), { folder });
    expect(faultsOf(refused), path).toEqual(["path_escape services.web.env_file 4"]);
    expect(JSON.stringify(refused)).not.toContain(CANARY);
  }
  expect(converted(await convert(escape("inside.env"), { folder })).spec.components[0]!.env).toEqual({ A: "1" });
});

test("what is no file to read is refused, and nothing waits for it", async () => {
  const folder = folderOf({ "big.env": `A=${"x".repeat(300_000)}\n`, "bad.env": `OK=1\nwhat is ${CANARY}\n`, "open.env": 'A="never\n' });
  execFileSync("mkfifo", [join(folder, "pipe.env")]);
  for (const path of ["pipe.env", "big.env", "missing.env", "bad.env", "open.env", '"nul\\0.env"']) {
    const refused = await convert(escape(path), { folder });
    expect(faultsOf(refused), path).toEqual(["unreadable_file services.web.env_file 4"]);
    expect(JSON.stringify(refused)).not.toContain(CANARY);
  }
  expect(faultsOf(await convert(escape("a.env"), { folder: undefined }))).toEqual(["unreadable_file services.web.env_file 4"]);
  const forgiving = await convert(service("env_file:", "  - path: missing.env", "    required: false"), { folder });
  expect(converted(forgiving).spec.components[0]!.env).toEqual({});
});

test("what multiplies, nests or goes on for ever is cut short", async () => {
  const bomb = ["x-0: &a0 [x, x, x, x, x, x, x, x, x]", ...Array.from({ length: 9 }, (_, n) => `x-${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(", ")}]`), service()].join("\n");
  expect(faultsOf(await convert(bomb))[0]).toMatch(/^yaml {2}\d+$/);
  const many = Array.from({ length: 2_000 }, (_, n) => `  s${n}: { image: a, runtime: x, depends_on: [s${n + 1}] }`);
  expect(faultsOf(await convert(file("services:", ...many)))).toEqual(["bad_value services 1"]);
  expect(faultsOf(await convert(file("services:", "  a:", "    image: a", "    ports:", ...Array.from({ length: 1_000 }, (_, n) => `      - '${n + 1}-${n + 9}:80-88'`))))).toHaveLength(200);
  expect(faultsOf(await convert(`services: ${"[".repeat(50_000)}`))[0]).toBe("yaml  1");
  const deep = `${service()}x-deep: ${"[".repeat(200)}${"]".repeat(200)}\n`;
  expect(faultsOf(await convert(deep))).toEqual(["yaml  4"]);
});
