/** The spec as it travels. The operator's form has defaults; the agent's form is complete, so that both ends hash the same. */
import { AGENT_VARIABLES, DRIVERS, PROBE_TLS, PULL_POLICIES, RESTART_POLICIES, UPDATE_ORDERS, type Spec } from "@skep/core";
import { z } from "zod";
import { cleanText, nameSchema } from "./common.ts";

const envName = z.string().max(128).regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be a shell-safe variable name").refine((name) => !(AGENT_VARIABLES as readonly string[]).includes(name), "is set by the agent");
const argument = z.string().max(4096).refine((text) => !text.includes("\0"), "must not contain NUL");

export const portSchema = z.strictObject({
  name: nameSchema,
  container: z.int().min(1).max(65535).optional(),
  host: z.int().min(1).max(65535).optional(),
  host_ip: z.union([z.ipv4(), z.ipv6()]).optional(),
  publish: z.boolean().optional(),
  protocol: z.enum(["tcp", "udp"]).default("tcp"),
});

const probeTiming = {
  interval_ms: z.int().min(50).max(600_000).default(2_000),
  success_threshold: z.int().min(1).max(100).default(1),
  failure_threshold: z.int().min(1).max(100).default(3),
  start_period_ms: z.int().min(0).max(3_600_000).optional(),
};
const probeTls = { tls: z.enum(PROBE_TLS).optional(), tls_ca_pem: z.string().max(65_536).regex(/^-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s-]+$/, "must be PEM certificates").optional(), tls_server_name: cleanText(255).optional() };
const probePort = z.union([nameSchema, z.int().min(1).max(65535)]);
const timeout = (defaultMs: number) => z.int().min(10).max(60_000).default(defaultMs);
export const probeSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("tcp"), port: probePort, timeout_ms: timeout(2_000), ...probeTiming, ...probeTls }),
  z.strictObject({ type: z.literal("http"), port: probePort, path: z.string().max(1024).startsWith("/").default("/"), timeout_ms: timeout(5_000), ...probeTiming, ...probeTls }),
  z.strictObject({ type: z.literal("grpc"), port: probePort, service: cleanText(255).optional(), timeout_ms: timeout(3_000), ...probeTiming, ...probeTls }),
  z.strictObject({ type: z.literal("exec"), command: z.array(argument).min(1).max(64), timeout_ms: timeout(5_000), ...probeTiming }),
]);

const absolutePath = cleanText(1024).startsWith("/", "must be an absolute path");
const sharedName = z.string().max(63).regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, "must be a name of letters, digits, _ . and -");
const capability = z.string().max(32).regex(/^(CAP_)?[A-Z_]+$/, "must be a capability's name");
const bytes = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
export const mountSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("volume"), volume: sharedName, target: absolutePath, read_only: z.boolean().optional() }),
  z.strictObject({ type: z.literal("bind"), source: absolutePath, target: absolutePath, read_only: z.boolean().optional() }),
  z.strictObject({ type: z.literal("tmpfs"), target: absolutePath, size_bytes: bytes.optional() }),
]);
export const containerSchema = z.strictObject({
  image: cleanText(512).min(1).regex(/^[^\s]+$/, "must be an image reference"),
  pull: z.enum(PULL_POLICIES).optional(),
  registry_credential: nameSchema.optional(),
  entrypoint: z.array(argument).min(1).max(64).optional(),
  user: cleanText(128).optional(),
  hostname: z.string().max(63).regex(/^[a-zA-Z0-9][a-zA-Z0-9-]*$/).optional(),
  init: z.boolean().optional(),
  read_only: z.boolean().optional(),
  stop_signal: z.string().max(16).regex(/^(SIG)?[A-Z0-9+-]+$/).optional(),
  mounts: z.array(mountSchema).max(64).optional(),
  networks: z.array(z.strictObject({ name: sharedName, aliases: z.array(z.string().max(253).regex(/^[a-zA-Z0-9_.-]+$/)).max(32).optional() })).max(16).optional(),
  resources: z.strictObject({ cpus: z.number().min(0.01).max(1024).optional(), memory_bytes: bytes.min(6_291_456, "an engine refuses less than 6 MiB").optional(), memory_reservation_bytes: bytes.optional(), pids: z.int().min(1).max(4_194_304).optional() }).optional(),
  extra_hosts: z.array(cleanText(300).regex(/^[^:\s]+:.+$/, "must be NAME:ADDRESS")).max(64).optional(),
  dns: z.array(z.union([z.ipv4(), z.ipv6()])).max(8).optional(),
  shm_size_bytes: bytes.optional(),
  labels: z.record(cleanText(255).refine((key) => !key.startsWith("skep."), "skep. is reserved for the agent"), cleanText(4096)).optional(),
  cap_drop: z.array(capability).max(64).optional(),
  cap_add: z.array(capability).max(64).optional(),
  privileged: z.boolean().optional(),
  network_mode: z.enum(["host", "none"]).optional(),
  pid_mode: z.literal("host").optional(),
  ipc_mode: z.literal("host").optional(),
});

export const componentSchema = z.strictObject({
  name: nameSchema,
  command: z.array(argument).max(256).default([]),
  env: z.record(envName, argument).default({}),
  working_dir: cleanText(1024).startsWith("/").optional(),
  ports: z.array(portSchema).max(32).default([]),
  restart: z.strictObject({ policy: z.enum(RESTART_POLICIES), max: z.int().min(0).max(1000).optional() }).default({ policy: "always" }),
  depends_on: z.array(nameSchema).max(32).default([]),
  run_to_completion: z.boolean().optional(),
  probe: probeSchema.optional(),
  stop_timeout_s: z.int().min(0).max(600).default(10),
  container: containerSchema.optional(),
  noop: z.strictObject({
    start_ms: z.int().min(0).max(600_000).optional(),
    fail: z.strictObject({ at: z.enum(["prepare", "start", "stop"]), message: cleanText(500) }).optional(),
  }).optional(),
});

export const specSchema = z.strictObject({
  driver: z.enum(DRIVERS),
  components: z.array(componentSchema).min(1).max(100),
  stateful: z.boolean().optional(),
  networks: z.record(sharedName, z.strictObject({ internal: z.boolean().optional(), external: cleanText(255).optional() })).optional(),
  volumes: z.record(sharedName, z.strictObject({ external: cleanText(255).optional() })).optional(),
  update_order: z.enum(UPDATE_ORDERS).optional(),
  restart_count: z.int().min(0).optional(),
}).superRefine((spec, ctx) => {
  for (const problem of specProblems(spec)) ctx.addIssue({ code: "custom", path: [...problem.path], message: problem.message });
});

/** What a schema alone cannot say: unique names, real dependencies, no cycles, a program to run. All faults at once. */
export function specProblems(spec: Spec): { path: (string | number)[]; message: string }[] {
  const problems: { path: (string | number)[]; message: string }[] = [];
  const names = new Map<string, number>();
  spec.components.forEach((component, index) => {
    const path = ["components", index];
    if (names.has(component.name)) problems.push({ path: [...path, "name"], message: `component ${component.name} is named twice` });
    names.set(component.name, index);
    if (spec.driver === "process" && component.command.length === 0) problems.push({ path: [...path, "command"], message: "the process driver needs a command" });
    if (spec.driver !== "noop" && component.noop !== undefined) problems.push({ path: [...path, "noop"], message: "only the noop driver takes noop instructions" });
    const { container } = component;
    if (spec.driver === "docker" && container === undefined) problems.push({ path: [...path, "container"], message: "the docker driver needs a container with an image" });
    if (spec.driver !== "docker" && container !== undefined) problems.push({ path: [...path, "container"], message: "only the docker driver takes a container" });
    if (component.run_to_completion === true && component.restart.policy === "always") problems.push({ path: [...path, "restart"], message: "what runs to completion cannot always be restarted: use never or on_failure" });
    if (component.run_to_completion === true && component.probe !== undefined) problems.push({ path: [...path, "probe"], message: "what runs to completion is judged by its exit code, not by a probe" });
    for (const mount of container?.mounts ?? []) {
      if (mount.type === "volume" && spec.volumes?.[mount.volume] === undefined) problems.push({ path: [...path, "container", "mounts"], message: `there is no volume ${mount.volume}` });
    }
    for (const network of container?.networks ?? []) {
      if (spec.networks?.[network.name] === undefined) problems.push({ path: [...path, "container", "networks"], message: `there is no network ${network.name}` });
    }
    if (container?.network_mode !== undefined && container.networks !== undefined) problems.push({ path: [...path, "container", "network_mode"], message: "a network_mode excludes networks" });
    const ports = new Set<string>();
    const hostPorts = new Set<string>();
    component.ports.forEach((port, at) => {
      if (spec.driver === "docker" && port.container === undefined) problems.push({ path: [...path, "ports", at, "container"], message: `port ${port.name} needs the port inside the container` });
      if (spec.update_order === "start_first" && port.host !== undefined) problems.push({ path: [...path, "ports", at, "host"], message: `start_first cannot keep the fixed host port ${port.host}: old and new would clash` });
      const hostPort = `${port.protocol}/${port.host_ip ?? ""}/${port.host ?? ""}`;
      if (port.host !== undefined && hostPorts.has(hostPort)) problems.push({ path: [...path, "ports", at, "host"], message: `host port ${port.host} is asked for twice` });
      hostPorts.add(hostPort);
      if (ports.has(port.name)) problems.push({ path: [...path, "ports", at, "name"], message: `port ${port.name} is named twice` });
      ports.add(port.name);
    });
    const probe = component.probe;
    if (probe !== undefined && probe.type !== "exec" && typeof probe.port === "string" && !ports.has(probe.port)) {
      problems.push({ path: [...path, "probe", "port"], message: `the component has no port named ${probe.port}` });
    }
    if (probe !== undefined && probe.type !== "exec" && component.ports.some((port) => port.name === probe.port && port.protocol === "udp")) {
      problems.push({ path: [...path, "probe", "port"], message: `port ${probe.port} is udp, which a ${probe.type} probe cannot reach` });
    }
  });
  spec.components.forEach((component, index) => {
    component.depends_on.forEach((name, at) => {
      if (!names.has(name)) problems.push({ path: ["components", index, "depends_on", at], message: `there is no component ${name}` });
    });
  });
  if (spec.update_order === "start_first" && spec.driver === "process") problems.push({ path: ["update_order"], message: "the process driver cannot run old and new at once: use stop_first" });
  const cycle = findCycle(spec);
  if (cycle !== undefined) problems.push({ path: ["components"], message: `depends_on goes in a circle: ${cycle.join(" → ")}` });
  return problems;
}

function findCycle(spec: Spec): string[] | undefined {
  const edges = new Map(spec.components.map((component) => [component.name, component.depends_on]));
  const done = new Set<string>();
  const walk = (name: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(name)) return [...trail.slice(trail.indexOf(name)), name];
    if (done.has(name)) return undefined;
    for (const next of edges.get(name) ?? []) {
      const found = walk(next, [...trail, name]);
      if (found !== undefined) return found;
    }
    done.add(name);
    return undefined;
  };
  for (const name of edges.keys()) {
    const found = walk(name, []);
    if (found !== undefined) return found;
  }
  return undefined;
}
