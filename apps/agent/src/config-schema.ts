/** The agent's configuration file as an operator writes it, and what it means. One schema for TOML, YAML and JSON. */
import { NO_ALLOWANCES, type Allowances, type BootStage, type StageHealth } from "@skep/core";
import { nameSchema, probeSchema } from "@skep/protocol";
import { z } from "zod";

export interface RegistryConfig {
  readonly server: string;
  readonly username: string;
  readonly passwordFile: string;
}

export interface FileSettings {
  readonly boot: readonly BootStage[];
  readonly allow: Allowances;
  readonly docker: { readonly host: string | undefined };
  /** By the name that a spec's `registry_credential` gives. */
  readonly registries: Readonly<Record<string, RegistryConfig>>;
}

export const NO_SETTINGS: FileSettings = Object.freeze({ boot: [], allow: NO_ALLOWANCES, docker: { host: undefined }, registries: {} });

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
const MAX_TIMEOUT_MS = 86_400_000;
const DEFAULT_TIMEOUT_MS = 60_000;

/** "120s", "2m", "1h", "500ms", or plain seconds. */
const duration = z.unknown().transform((value, ctx) => {
  const text = typeof value === "number" ? `${value}s` : typeof value === "string" ? value.trim() : "";
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  const ms = Math.round(Number(amount) * UNIT_MS[(unit ?? "s") as keyof typeof UNIT_MS]);
  if (ms >= 1 && ms <= MAX_TIMEOUT_MS) return ms;
  ctx.addIssue({ code: "custom", message: 'must be a duration like "120s", "2m" or a number of seconds, at most 24 hours' });
  return z.NEVER;
});

const SHORT_HEALTH = ["tcp", "http", "grpc", "none"];
/** A word, or a probe with an optional `component`. The probe's own faults keep their places. */
const health = z.unknown().transform((value, ctx): StageHealth => {
  if (typeof value === "string" && SHORT_HEALTH.includes(value)) return value === "none" ? { kind: "none" } : { kind: "ports", type: value as "tcp" | "http" | "grpc" };
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const { component, ...rest } = value as Record<string, unknown>;
    const probe = probeSchema.safeParse(rest);
    const named = nameSchema.optional().safeParse(component);
    if (probe.success && named.success) return { kind: "probe", probe: probe.data, ...(named.data === undefined ? {} : { component: named.data }) };
    for (const issue of probe.error?.issues ?? []) ctx.addIssue({ code: "custom", path: [...issue.path], message: issue.message });
    for (const issue of named.error?.issues ?? []) ctx.addIssue({ code: "custom", path: ["component"], message: issue.message });
    return z.NEVER;
  }
  ctx.addIssue({ code: "custom", message: `must be one of ${SHORT_HEALTH.map((word) => `"${word}"`).join(", ")}, or a probe with a type` });
  return z.NEVER;
});

const members = z.array(nameSchema).max(100);
const stage = z.strictObject({
  name: nameSchema,
  services: members.optional(),
  deployments: members.optional(),
  timeout: duration.optional(),
  health: health.optional(),
  foundation: z.boolean().optional(),
});

/**
 * What a schema alone cannot say of the stages. Asked of the file as it was read, whatever else is wrong with it: a
 * refinement of the schema would keep silent until every other fault is mended.
 */
export function sequenceProblems(file: unknown): { readonly path: (string | number)[]; readonly message: string }[] {
  const stages = listOf(fieldOf(fieldOf(file, "boot"), "sequence"));
  const problems: { path: (string | number)[]; message: string }[] = [];
  const names = new Set<string>();
  const placed = new Map<string, string>();
  stages.forEach((one, index) => {
    const path = ["boot", "sequence", index];
    const name = fieldOf(one, "name");
    // What is no text is the schema's to refuse.
    if (typeof name === "string") {
      if (names.has(name)) problems.push({ path: [...path, "name"], message: `stage ${name} is named twice` });
      names.add(name);
    }
    const given = ["services", "deployments"].filter((field) => fieldOf(one, field) !== undefined);
    if (given.length !== 1) problems.push({ path, message: "needs services (or deployments, which is the same; not both)" });
    const field = given[0] ?? "services";
    listOf(fieldOf(one, field)).forEach((member, at) => {
      if (typeof member !== "string") return;
      const other = placed.get(member);
      if (other !== undefined) problems.push({ path: [...path, field, at], message: `${member} is already in ${other}` });
      placed.set(member, typeof name === "string" ? `stage ${name}` : "another stage");
    });
  });
  return problems;
}

const fieldOf = (value: unknown, name: string): unknown => (typeof value === "object" && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined);
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const absolute = z.string().max(1024).regex(/^\/(?!.*(?:^|\/)\.{1,2}(?:\/|$))/, "must be an absolute path without . or ..");
const allow = z.strictObject({
  host_mounts: z.array(absolute).max(64).default([]),
  privileged: z.boolean().default(false),
  host_namespaces: z.boolean().default(false),
  capabilities: z.array(z.string().max(32).regex(/^(CAP_)?[A-Z_]+$/, "must be a capability's name, or ALL")).max(64).default([]),
  exec: z.boolean().default(false),
});

const registry = z.strictObject({ server: z.string().min(1).max(255), username: z.string().min(1).max(255), password_file: absolute });

export const fileSchema = z.strictObject({
  boot: z.strictObject({ sequence: z.array(stage).max(50).default([]) }).optional(),
  allow: allow.optional(),
  docker: z.strictObject({ host: z.string().max(1024).regex(/^unix:\/\/\/.+/, "must be unix:///PATH").optional() }).optional(),
  registries: z.record(nameSchema, registry).optional(),
});

export function settingsOf(file: z.infer<typeof fileSchema>): FileSettings {
  return {
    boot: (file.boot?.sequence ?? []).map((one, index) => ({
      name: one.name, members: one.services ?? one.deployments ?? [], timeoutMs: one.timeout ?? DEFAULT_TIMEOUT_MS,
      health: one.health ?? { kind: "own" }, foundation: one.foundation ?? index === 0,
    })),
    allow: file.allow === undefined ? NO_ALLOWANCES : {
      hostMounts: file.allow.host_mounts, privileged: file.allow.privileged, hostNamespaces: file.allow.host_namespaces,
      capabilities: file.allow.capabilities.map((name) => name.replace(/^CAP_/, "")), exec: file.allow.exec,
    },
    docker: { host: file.docker?.host },
    registries: Object.fromEntries(Object.entries(file.registries ?? {}).map(([name, one]) => [name, { server: one.server, username: one.username, passwordFile: one.password_file }])),
  };
}
