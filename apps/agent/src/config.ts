/** The agent's settings, from its environment and its file: parsed once, and every fault named at once. */
import { homedir } from "node:os";
import { join } from "node:path";
import { SkepError } from "@skep/core";
import { resolveAgentDir } from "@skep/pki";
import { readTraceSettings, type TraceSettings } from "@skep/runtime";
import { z } from "zod";
import { findConfigFile, readConfigFile, readCredential, SYSTEM_CONFIG_DIR, type RegistryCredential } from "./config-file.ts";
import type { FileSettings } from "./config-schema.ts";

export const FAILPOINTS = ["after_journal", "after_begun", "after_stop_old", "after_start_new", "before_ended", "before_report", "before_ack_write"] as const;

const port = z.coerce.number().int().min(0).max(65_535);
const flag = z.enum(["true", "false", "1", "0", ""]).default("false").transform((text) => text === "true" || text === "1");

const environment = z.object({
  SKEP_AGENT_DIR: z.string().optional(),
  SKEP_STATE_DIR: z.string().min(1).optional(),
  SKEP_AGENT_PORT: port.default(8444),
  SKEP_AGENT_LISTEN: z.union([z.ipv4(), z.ipv6()]).default("0.0.0.0"),
  SKEP_AGENT_URL: z.url({ protocol: /^https$/ }).max(255).optional(),
  SKEP_LOCAL_PORT: z.union([z.literal("off"), port]).default(0),
  SKEP_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
  SKEP_STOP_WORKLOADS_ON_EXIT: flag,
  SKEP_SUPERVISED: flag,
  SKEP_ALLOW_FAILPOINTS: flag,
  SKEP_AGENT_CONFIG: z.string().min(1).optional(),
  SKEP_HOST_BOOT_ID: z.string().max(64).optional(),
  SKEP_FAILPOINT: z.string().regex(new RegExp(`^(${FAILPOINTS.join("|")}):kill$`), `must be one of ${FAILPOINTS.join(", ")}, followed by :kill`).optional(),
});

export interface AgentConfig extends FileSettings {
  /** Where the file's part comes from; undefined = there is none. */
  readonly file: string | undefined;
  readonly agentDir: string;
  readonly stateDir: string;
  readonly port: number;
  readonly listen: string;
  readonly agentUrl: string | undefined;
  /** undefined = off. */
  readonly localPort: number | undefined;
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent";
  readonly stopWorkloadsOnExit: boolean;
  readonly supervised: boolean;
  /** Where traces go; undefined = nowhere. */
  readonly traces: TraceSettings | undefined;
  /** The point at which the process kills itself; for tests only. */
  readonly failpoint: string | undefined;
  /** The kernel's boot as a test says it; undefined = ask the kernel. */
  readonly hostBootId: string | undefined;
  /** What the host keeps under a name that specs may give; undefined = there is none. Throws when its password file cannot be used. For the engine, never for a log. */
  readonly credential: (name: string) => RegistryCredential | undefined;
}

/** Throws `invalid_request` with every faulty variable, or with every fault of the file. Variables that are empty count as not set. */
export function readConfig(env: Readonly<Record<string, string | undefined>> = process.env, home: string = homedir(), systemDir: string = SYSTEM_CONFIG_DIR): AgentConfig {
  const set = Object.fromEntries(Object.entries(env).filter(([name, value]) => name.startsWith("SKEP_") && value !== undefined && value !== ""));
  const parsed = environment.safeParse(set);
  const traces = readTraceSettings(env, "skep-agent");
  if (!parsed.success || traces.errors.length > 0) {
    const errors = [
      ...(parsed.error?.issues ?? []).map((issue) => ({ pointer: `/${issue.path.join("/")}`, message: issue.message })),
      ...traces.errors.map(({ pointer, message }) => ({ pointer: `/${pointer}`, message })),
    ];
    throw new SkepError("invalid_request", `The environment cannot be used: ${errors.map((error) => `${error.pointer.slice(1)}: ${error.message}`).join("; ")}.`, { errors });
  }
  const values = parsed.data;
  const agentDir = resolveAgentDir({ configured: values.SKEP_AGENT_DIR, home });
  const file = findConfigFile({ configured: values.SKEP_AGENT_CONFIG, agentDir, systemDir });
  const settings = readConfigFile(file);
  return {
    ...settings,
    docker: { host: settings.docker.host ?? (env["DOCKER_HOST"] === "" ? undefined : env["DOCKER_HOST"]) },
    credential: (name) => {
      const registry = Object.hasOwn(settings.registries, name) ? settings.registries[name] : undefined;
      return registry === undefined ? undefined : readCredential(registry);
    },
    file,
    agentDir,
    stateDir: values.SKEP_STATE_DIR ?? join(agentDir, "state"),
    port: values.SKEP_AGENT_PORT,
    listen: values.SKEP_AGENT_LISTEN,
    agentUrl: values.SKEP_AGENT_URL,
    localPort: values.SKEP_LOCAL_PORT === "off" ? undefined : values.SKEP_LOCAL_PORT,
    logLevel: values.SKEP_LOG_LEVEL,
    stopWorkloadsOnExit: values.SKEP_STOP_WORKLOADS_ON_EXIT,
    supervised: values.SKEP_SUPERVISED,
    traces: traces.settings,
    failpoint: values.SKEP_ALLOW_FAILPOINTS ? values.SKEP_FAILPOINT?.replace(":kill", "") : undefined,
    hostBootId: values.SKEP_ALLOW_FAILPOINTS ? values.SKEP_HOST_BOOT_ID : undefined,
  };
}
