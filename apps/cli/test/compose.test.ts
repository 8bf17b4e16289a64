/** Ordinary Compose files as specs, and `skep deploy` with one: what is sent, what is said, what may be added. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalJson, decideAllowances, NO_ALLOWANCES, type ComponentSpec } from "@skep/core";
import { specSchema } from "@skep/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { convert, converted, faultsOf, folderOf, type Around } from "./compose-convert.ts";
import { problem, startFakeApi, type FakeApi } from "./fake-api.ts";
import { hastyClock, skep } from "./run-skep.ts";
import { accepted } from "./samples.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SAMPLE = join(ROOT, "samples/compose.yaml");

let api: FakeApi;
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());
const inherited = (env: Record<string, string> = {}) => ({ env: { inherited: env } });
const deploy = (path: string, ...argv: string[]) => skep(["deploy", "-f", path, "--no-wait", ...argv], { url: api.url, clock: hastyClock(), ...inherited() });

const specOf = async (text: string, around?: Around) => converted(await convert(text, around)).spec;
const one = async (lines: readonly string[], around?: Around, top: readonly string[] = []): Promise<ComponentSpec> => (await specOf(["services:", "  web:", "    image: nginx", ...lines.map((line) => `    ${line}`), ...top].join("\n"), around)).components[0]!;

test("the sample, to the letter, without a master", async () => {
  const golden = readFileSync(join(import.meta.dirname, "golden/compose-sample.yaml"), "utf8");
  const ran = await skep(["deploy", "-f", SAMPLE, "--print-spec"], { url: "http://127.0.0.1:1", ...inherited() });
  expect(ran).toMatchObject({ code: 0, out: golden });
  expect(ran.err).toContain("compose.yaml:84:3 services.debug: left out: it is in the profile debug");
});

test("the same file gives the same spec, byte for byte, and the spec is complete", async () => {
  const text = readFileSync(SAMPLE, "utf8");
  const hashes = await Promise.all([0, 1, 2].map(async () => createHash("sha256").update(JSON.stringify(await specOf(text))).digest("hex")));
  expect(new Set(hashes).size).toBe(1);
  const spec = await specOf(text);
  // Nothing is left to the schema's defaults: what is printed is what is hashed.
  expect(canonicalJson(specSchema.parse(spec))).toBe(canonicalJson(JSON.parse(JSON.stringify(spec))));
  const other = createHash("sha256").update(JSON.stringify(await specOf(text, { env: { WEB_PORT: "81" } }))).digest("hex");
  expect(hashes).not.toContain(other);
});

test("the repository's own file is refused by line for what Skep does not do, and taken without", async () => {
  const text = readFileSync(join(ROOT, "docker-compose.yml"), "utf8");
  const lineOf = (words: string): number => text.split("\n").findIndex((line) => line.includes(words)) + 1;
  expect(faultsOf(await convert(text))).toEqual([`unsupported_key services.prepare.build ${lineOf("build:")}`]);
  const spec = await specOf(text, { ignoreBuild: true });
  expect(spec.components.map(({ name, depends_on, run_to_completion = false, restart: { policy } }) => [name, depends_on, run_to_completion, policy])).toEqual([
    ["postgres", [], false, "always"], ["prepare", [], true, "never"], ["master", ["postgres", "prepare"], false, "always"], ["bundles", ["master"], true, "never"],
    ["agent-1", ["bundles"], false, "always"], ["agent-2", ["bundles"], false, "always"],
  ]);
  expect(Object.keys(spec.volumes!)).toEqual(["postgres", "master", "agent-1", "agent-2"]);
});

const WORDPRESS = `
services:
  wordpress:
    image: wordpress
    restart: always
    ports:
      - 8080:80
    environment:
      WORDPRESS_DB_HOST: db
      WORDPRESS_DB_PASSWORD: examplepass
    volumes:
      - wordpress:/var/www/html
  db:
    image: mysql:8.0
    restart: always
    environment:
      MYSQL_RANDOM_ROOT_PASSWORD: '1'
      MYSQL_PASSWORD: examplepass
    volumes:
      - db:/var/lib/mysql

volumes:
  wordpress:
  db:
`;

test("a web server and its database", async () => {
  const spec = await specOf(WORDPRESS);
  expect(spec.components.map(({ name }) => name)).toEqual(["wordpress", "db"]);
  expect(spec.components[0]).toMatchObject({ env: { WORDPRESS_DB_HOST: "db" }, ports: [{ name: "p80", container: 80, host: 8080, protocol: "tcp" }], container: { image: "wordpress", mounts: [{ type: "volume", volume: "wordpress", target: "/var/www/html" }] } });
  // Without a word of networks both are on the placement's own.
  expect(spec.networks).toBeUndefined();
  expect(spec.components[1]!.container!.networks).toBeUndefined();
});

test("ports in all their forms", async () => {
  const { ports } = await one(["ports:", "  - 3000", "  - '8000:80'", "  - 127.0.0.1:5000:5000/udp", "  - '[::1]:6000:6000'", "  - 127.0.0.1::7000", "  - 9090-9091:8080-8081", "  - { target: 53, published: '5353', protocol: udp, host_ip: 10.0.0.1, mode: host, name: dns }", "  - { target: 443, published: 0 }", "expose: [3000, '4000-4001', '80/udp']"]);
  expect(ports.map(({ name, host, host_ip: ip, container, protocol, publish }) => [name, ip, host, container, protocol, publish])).toEqual([
    ["p3000", undefined, undefined, 3000, "tcp", undefined], ["p80", undefined, 8000, 80, "tcp", undefined], ["p5000-udp", "127.0.0.1", 5000, 5000, "udp", undefined], ["p6000", "::1", 6000, 6000, "tcp", undefined],
    ["p7000", "127.0.0.1", undefined, 7000, "tcp", undefined], ["p8080", undefined, 9090, 8080, "tcp", undefined], ["p8081", undefined, 9091, 8081, "tcp", undefined], ["dns", "10.0.0.1", 5353, 53, "udp", undefined],
    ["p443", undefined, undefined, 443, "tcp", undefined], ["p4000", undefined, undefined, 4000, "tcp", false], ["p4001", undefined, undefined, 4001, "tcp", false], ["p80-udp", undefined, undefined, 80, "udp", false],
  ]);
  // One container port on two addresses: two names, always the same ones.
  expect((await one(["ports: ['127.0.0.1:80:80', '10.0.0.1:80:80']"])).ports.map(({ name }) => name)).toEqual(["p80", "p80-2"]);
});

test("mounts in all their forms", async () => {
  const lines = ["volumes:", "  - data:/a", "  - ./conf:/b:ro", "  - ../up:/b2", "  - /abs:/c", "  - /d", "  - { type: volume, source: data, target: /e, read_only: true }", "  - { type: bind, source: ./x, target: /f, bind: { create_host_path: true } }", "  - { type: tmpfs, target: /g, tmpfs: { size: 1m } }", "tmpfs: [/h, '/i:size=2k']"];
  const { container } = await one(lines, { folder: "/srv/app" }, ["volumes: { data: }"]);
  const anonymous = expect.stringMatching(/^anonymous-[0-9a-f]{12}$/) as string;
  expect(container!.mounts).toEqual([
    { type: "volume", volume: "data", target: "/a" }, { type: "bind", source: "/srv/app/conf", target: "/b", read_only: true }, { type: "bind", source: "/srv/up", target: "/b2" }, { type: "bind", source: "/abs", target: "/c" },
    { type: "volume", volume: anonymous, target: "/d" }, { type: "volume", volume: "data", target: "/e", read_only: true }, { type: "bind", source: "/srv/app/x", target: "/f" }, { type: "tmpfs", target: "/g", size_bytes: 1_048_576 },
    { type: "tmpfs", target: "/h" }, { type: "tmpfs", target: "/i", size_bytes: 2_048 },
  ]);
});

test("networks: the default one appears only where it is spoken of", async () => {
  const joined = async (text: string) => {
    const spec = await specOf(text);
    return { networks: spec.networks, joined: spec.components.map(({ container }) => container!.networks) };
  };
  expect(await joined("services: { a: { image: a } }\nnetworks: { unused: { driver: bridge } }")).toEqual({ networks: undefined, joined: [undefined] });
  expect(await joined("services: { a: { image: a }, b: { image: b, networks: [default, back] } }\nnetworks: { back: { internal: true } }")).toEqual({ networks: { default: {}, back: { internal: true } }, joined: [[{ name: "default" }], [{ name: "default" }, { name: "back" }]] });
  expect(await joined("services: { a: { image: a } }\nnetworks: { default: { name: proxy, external: true } }")).toEqual({ networks: { default: { external: "proxy" } }, joined: [[{ name: "default" }]] });
  expect(await joined("services: { a: { image: a, networks: { n: { aliases: [x] } } } }\nnetworks: { n: { external: { name: old } } }")).toEqual({ networks: { n: { external: "old" } }, joined: [[{ name: "n", aliases: ["x"] }]] });
});

test("a service whose name is none for a component keeps it as a name on its networks; so does a container's name", async () => {
  const result = converted(await convert("services:\n  My_API.v2:\n    image: a\n    container_name: api_1\n  db: { image: b, depends_on: [My_API.v2] }\n"));
  expect(result.spec.components.map(({ name, depends_on, container }) => [name, depends_on, container!.networks])).toEqual([
    ["my-api-v2", [], [{ name: "default", aliases: ["My_API.v2", "api_1"] }]], ["db", ["my-api-v2"], [{ name: "default" }]],
  ]);
  expect(result.warnings.map(({ key, at }) => `${key} ${at}`)).toEqual(["services.My_API.v2.container_name compose.yaml:4:21", "services.My_API.v2 compose.yaml:2:3"]);
});

test("everything else of a service", async () => {
  const component = await one([
    "command: sh -c 'echo \"$$HOME\" && sleep 1' a\\ b \"\"", "entrypoint: [/tini, --]", "working_dir: /w", "user: '1000'", "hostname: h", "init: true", "read_only: true", "stop_signal: SIGINT", "stop_grace_period: 1500ms", "restart: unless-stopped",
    "cap_add: [net_admin]", "cap_drop: [ALL]", "privileged: true", "network_mode: host", "pid: host", "ipc: host", "dns: 1.1.1.1", "extra_hosts: ['a:10.0.0.1', 'b=[::1]', 'c:host-gateway']", "labels: [a=b, c]", "shm_size: 64m", "pull_policy: always",
    "cpus: 0.5", "mem_limit: 1gb", "pids_limit: 10", "logging: {}", "tty: false", "x-mine: { a: b }", "develop: { watch: [] }", "deploy: { replicas: 1, mode: replicated, update_config: { order: stop-first } }",
  ]);
  expect(component).toMatchObject({ command: ["sh", "-c", 'echo "$HOME" && sleep 1', "a b", ""], working_dir: "/w", stop_timeout_s: 2, restart: { policy: "always" } });
  expect(component.container).toEqual({
    image: "nginx", pull: "always", entrypoint: ["/tini", "--"], user: "1000", hostname: "h", init: true, read_only: true, stop_signal: "SIGINT", resources: { cpus: 0.5, memory_bytes: 1_073_741_824, pids: 10 }, extra_hosts: ["a:10.0.0.1", "b:::1", "c:host-gateway"],
    dns: ["1.1.1.1"], shm_size_bytes: 67_108_864, labels: { a: "b", c: "" }, cap_drop: ["ALL"], cap_add: ["NET_ADMIN"], privileged: true, network_mode: "host", pid_mode: "host", ipc_mode: "host",
  });
});

test("what a host's owner has to allow is converted, and left for master and agent to judge", async () => {
  const spec = await specOf("services:\n  a: { image: a, privileged: true, pid: host, ipc: host, network_mode: host, cap_add: [SYS_ADMIN], volumes: ['/:/host'] }\n");
  expect(decideAllowances(spec, NO_ALLOWANCES).map(({ path }) => path.at(-1))).toEqual(["mounts", "privileged", "network_mode", "pid_mode", "ipc_mode", "cap_add"]);
});

test("restarts and healthchecks", async () => {
  const restarts = async (line: string) => (await one([line])).restart;
  expect([await restarts("restart: no"), await restarts("restart: 'no'"), await restarts("user: a"), await restarts("restart: on-failure"), await restarts("restart: on-failure:5"), await restarts("deploy: { restart_policy: { condition: on-failure, max_attempts: 2 } }"), await restarts("deploy: { restart_policy: {} }")]).toEqual([
    { policy: "never" }, { policy: "never" }, { policy: "never" }, { policy: "on_failure" }, { policy: "on_failure", max: 5 }, { policy: "on_failure", max: 2 }, { policy: "always" },
  ]);
  const probe = async (line: string) => (await one([`healthcheck: ${line}`])).probe;
  expect(await probe("{ test: curl -f localhost }")).toEqual({ type: "exec", command: ["/bin/sh", "-c", "curl -f localhost"], interval_ms: 30_000, timeout_ms: 30_000, success_threshold: 1, failure_threshold: 3 });
  expect(await probe("{ test: [CMD, a, b], interval: 1m30s, timeout: 500ms, retries: 5, start_period: 1h, start_interval: 1s }")).toMatchObject({ command: ["a", "b"], interval_ms: 90_000, timeout_ms: 500, failure_threshold: 5, start_period_ms: 3_600_000 });
  for (const none of ["{ test: [NONE] }", "{ disable: true }", "{ disable: 'true', test: x }"]) expect(await probe(none)).toBeUndefined();
});

test("profiles: what was asked for runs, the rest is named", async () => {
  const text = "services:\n  a: { image: a }\n  b: { image: b, profiles: [debug, test], depends_on: { c: { condition: service_started, required: false } } }\n  c: { image: c, profiles: [other] }\n";
  const names = async (...profiles: string[]) => (await specOf(text, { profiles })).components.map(({ name }) => name);
  expect([await names(), await names("test"), await names("other")]).toEqual([["a"], ["a", "b"], ["a", "c"]]);
  expect(converted(await convert(text)).warnings.map(({ key }) => key)).toEqual(["services.b", "services.c"]);
});

test("variables: the environment, then files; a bare name is passed on; what is missing is said by line", async () => {
  const folder = folderOf({ "a.env": "A=file\nB='$A'\nexport C=\"x ${B}\" # note\nHERE\n", "b.env": "A=second" });
  const text = "services:\n  web:\n    image: ${IMAGE:-nginx}${TAG}\n    env_file: [a.env, { path: b.env }]\n    environment:\n      - PASSED\n      - MISSING\n      - D=${A:+set}${NO-none}\n";
  const result = converted(await convert(text, { folder, env: { PASSED: "yes", A: "env", HERE: "h" } }));
  expect(result.spec.components[0]).toMatchObject({ container: { image: "nginx" }, env: { A: "second", B: "$A", C: "x $A", HERE: "h", PASSED: "yes", D: "setnone" } });
  expect(result.warnings.map(({ at, message }) => `${at} ${message}`)).toEqual(["compose.yaml:3:12 the variable TAG is not set: taken as empty", "compose.yaml:7:9 the variable MISSING is not set: left out"]);
});

// ---- the command
test("deploy: a Compose file goes out as a spec; where it runs is said by flags", async () => {
  const folder = folderOf({ "compose.yaml": WORDPRESS, ".env": "X=1" });
  api.on("createDeployment", { status: 202, body: accepted(1) });
  expect(await deploy(join(folder, "compose.yaml"), "--name", "blog", "--host", "a", "--host", "b", "--replace")).toMatchObject({ code: 0, err: "" });
  expect(api.seen[0]!.body).toEqual({ name: "blog", spec: await specOf(WORDPRESS), placement: { hosts: ["a", "b"] }, replace: true });
  await deploy(join(folder, "compose.yaml"), "--replicas", "3", "--constraint", "zone=eu1", "--dry-run");
  expect(api.seen[1]!.body).toMatchObject({ dry_run: true, placement: { replicas: 3, constraints: { zone: "eu1" } } });
});

test("the name: the flag's, the file's, the folder's", async () => {
  const folder = folderOf({ "My Shop_2/compose.yaml": WORDPRESS, "named/compose.yaml": `name: \${P:-the_shop}\n${WORDPRESS}` });
  const nameOf = async (path: string, ...argv: string[]): Promise<unknown> => (JSON.parse((await skep(["deploy", "-f", path, "--print-spec", "--json", ...argv], inherited())).out) as { name: unknown }).name;
  expect(await nameOf(join(folder, "My Shop_2/compose.yaml"))).toBe("my-shop-2");
  expect(await nameOf(join(folder, "named/compose.yaml"))).toBe("the-shop");
  expect(await nameOf(join(folder, "named/compose.yaml"), "--name", "other")).toBe("other");
  // From stdin there is no folder.
  expect(await skep(["deploy", "-f", "-", "--print-spec"], { stdin: WORDPRESS, ...inherited() })).toMatchObject({ code: 2, err: expect.stringContaining("give --name") as string });
  expect((await skep(["deploy", "-f", "-", "--print-spec", "--name", "x"], { stdin: WORDPRESS, ...inherited() })).code).toBe(0);
});

test("what is Compose is known by its services, or by its file's name", async () => {
  const native = "name: web\nspec: { driver: noop, components: [{ name: web }] }\n";
  const folder = folderOf({ "any.yaml": WORDPRESS, "docker-compose.prod.yml": "x-a: 1\n", "compose.yaml": native });
  expect(await skep(["deploy", "-f", join(folder, "any.yaml"), "--print-spec"], inherited())).toMatchObject({ code: 0 });
  expect(await skep(["deploy", "-f", join(folder, "docker-compose.prod.yml"), "--print-spec"], inherited())).toMatchObject({ code: 2, err: expect.stringContaining("[compose_refused]") as string });
  const own = await skep(["deploy", "-f", join(folder, "compose.yaml"), "--print-spec"], inherited());
  expect(own).toMatchObject({ code: 0, out: "name: web\nspec:\n  driver: noop\n  components:\n    - name: web\n" });
  expect(await skep(["deploy", "-f", join(folder, "compose.yaml"), "--profile", "x"], inherited())).toMatchObject({ code: 2, err: expect.stringContaining("--profile is for Compose files") as string });
});

test("a refusal names code, key and line, for people and for programs, and nothing is sent", async () => {
  const folder = folderOf({ "compose.yaml": "services:\n  web:\n    image: nginx\n    sysctls: { a: b }\n    env_file: /etc/shadow\n" });
  const path = join(folder, "compose.yaml");
  const { code, err } = await deploy(path);
  expect(code).toBe(2);
  expect(err).toContain(`Error [compose_refused]: ${path} cannot be deployed: 2 faults.`);
  expect(err).toContain(`  At    ${path}:4:5 services.web.sysctls: sysctls is not supported: a host's owner decides that`);
  const { err: json } = await deploy(path, "--json");
  expect(JSON.parse(json)).toMatchObject({ code: "compose_refused", errors: [{ code: "unsupported_key", pointer: "services.web.sysctls", at: `${path}:4:5` }, { code: "path_escape", pointer: "services.web.env_file", at: `${path}:5:15` }] });
  expect(api.seen).toEqual([]);
});

test("what the master refuses is found again in the Compose file", async () => {
  const folder = folderOf({ "compose.yaml": "services:\n  web:\n    image: nginx\n  db:\n    image: a\n    privileged: true\n    volumes:\n      - /:/host\n    environment:\n      A: b\n" });
  const path = join(folder, "compose.yaml");
  const at = ["/spec/components/1/container/privileged", "/spec/components/1/container/mounts/0/source", "/spec/components/1/env/A", "/spec/components/1/container/resources", "/spec/components/0/stop_timeout_s", "/name"];
  api.on("createDeployment", problem("invalid_request", "no", { errors: at.map((pointer) => ({ pointer, message: "not allowed" })) }));
  const { err } = await deploy(path);
  api.on("createDeployment", problem("no_eligible_host", "no", { errors: [{ pointer: "/hosts/web-01", message: "db: privileged mode is not allowed on this host" }] }));
  expect((await deploy(path)).err).toContain("  At    /hosts/web-01: db: privileged");
  expect([...err.matchAll(/compose\.yaml:(\d+):\d+ (\S+):/g)].map(([, line, pointer]) => [pointer, Number(line)])).toEqual([[at[0], 6], [at[1], 8], [at[2], 10], [at[3], 5], [at[4], 3], [at[5], 1]]);
});

test(".env beside the file; --env-file instead of it; the environment over both; the token is nobody's variable", async () => {
  const folder = folderOf({ "compose.yaml": "services: { web: { image: 'a:${TAG-none}${SKEP_TOKEN}' } }", ".env": "TAG=dot\n", "other.env": "TAG=other\n", "bad.env": "TAG=1\n=\n" });
  const image = async (env: Record<string, string>, ...argv: string[]): Promise<unknown> => (JSON.parse((await skep(["deploy", "-f", join(folder, "compose.yaml"), "--print-spec", "--json", ...argv], inherited({ SKEP_TOKEN: "canary", ...env }))).out) as { spec: { components: { container: { image: string } }[] } }).spec.components[0]!.container.image;
  expect(await image({})).toBe("a:dot");
  expect(await image({ TAG: "env" })).toBe("a:env");
  expect(await image({}, "--env-file", join(folder, "other.env"))).toBe("a:other");
  expect(await skep(["deploy", "-f", join(folder, "compose.yaml"), "--env-file", join(folder, "bad.env")], inherited())).toMatchObject({ code: 2, err: expect.stringContaining("bad.env:2") as string });
  expect(await skep(["deploy", "-f", join(folder, "compose.yaml"), "--env-file", join(folder, "none.env")], inherited())).toMatchObject({ code: 2 });
});

test("a relative bind is the file's folder's, and the way from here to there is said", async () => {
  const folder = folderOf({ "deep/compose.yaml": "services: { web: { image: a, volumes: ['./conf:/conf:ro'] } }" });
  const { out, err } = await skep(["deploy", "-f", join(folder, "deep/compose.yaml"), "--print-spec"], inherited());
  expect(out).toContain(`source: ${join(folder, "deep/conf")}\n`);
  expect(err).toContain("nothing is copied there");
});
