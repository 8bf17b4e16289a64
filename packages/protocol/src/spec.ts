/** The spec as it travels. The operator's form has defaults; the agent's form is complete, so that both ends hash the same. */
import { DRIVERS, RESTART_POLICIES, type Spec } from "@skep/core";
import { z } from "zod";
import { cleanText, nameSchema } from "./common.ts";

const envName = z.string().max(128).regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be a shell-safe variable name").refine((name) => !name.startsWith("SKEP_"), "SKEP_ is reserved for the agent");
const argument = z.string().max(4096).refine((text) => !text.includes("\0"), "must not contain NUL");

export const portSchema = z.strictObject({
  name: nameSchema,
  container: z.int().min(1).max(65535).optional(),
  host: z.int().min(1).max(65535).optional(),
  protocol: z.enum(["tcp", "udp"]).default("tcp"),
});

const probeTiming = {
  interval_ms: z.int().min(50).max(600_000).default(2_000),
  success_threshold: z.int().min(1).max(100).default(1),
  failure_threshold: z.int().min(1).max(100).default(3),
};
const probePort = z.union([nameSchema, z.int().min(1).max(65535)]);
export const probeSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("tcp"), port: probePort, timeout_ms: z.int().min(10).max(60_000).default(2_000), ...probeTiming }),
  z.strictObject({ type: z.literal("http"), port: probePort, path: z.string().max(1024).startsWith("/").default("/"), timeout_ms: z.int().min(10).max(60_000).default(5_000), ...probeTiming }),
  z.strictObject({ type: z.literal("exec"), command: z.array(argument).min(1).max(64), timeout_ms: z.int().min(10).max(60_000).default(5_000), ...probeTiming }),
]);

export const componentSchema = z.strictObject({
  name: nameSchema,
  command: z.array(argument).max(256).default([]),
  env: z.record(envName, argument).default({}),
  working_dir: cleanText(1024).startsWith("/").optional(),
  ports: z.array(portSchema).max(32).default([]),
  restart: z.strictObject({ policy: z.enum(RESTART_POLICIES), max: z.int().min(0).max(1000).optional() }).default({ policy: "always" }),
  depends_on: z.array(nameSchema).max(32).default([]),
  probe: probeSchema.optional(),
  stop_timeout_s: z.int().min(0).max(600).default(10),
  noop: z.strictObject({
    start_ms: z.int().min(0).max(600_000).optional(),
    fail: z.strictObject({ at: z.enum(["prepare", "start", "stop"]), message: cleanText(500) }).optional(),
  }).optional(),
});

export const specSchema = z.strictObject({
  driver: z.enum(DRIVERS),
  components: z.array(componentSchema).min(1).max(100),
  stateful: z.boolean().optional(),
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
    const ports = new Set<string>();
    component.ports.forEach((port, at) => {
      if (ports.has(port.name)) problems.push({ path: [...path, "ports", at, "name"], message: `port ${port.name} is named twice` });
      ports.add(port.name);
    });
    const probe = component.probe;
    if (probe !== undefined && probe.type !== "exec" && typeof probe.port === "string" && !ports.has(probe.port)) {
      problems.push({ path: [...path, "probe", "port"], message: `the component has no port named ${probe.port}` });
    }
  });
  spec.components.forEach((component, index) => {
    component.depends_on.forEach((name, at) => {
      if (!names.has(name)) problems.push({ path: ["components", index, "depends_on", at], message: `there is no component ${name}` });
    });
  });
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
