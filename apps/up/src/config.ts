/**
 * What the operator asked of `skep up`, parsed once. Precedence: flag, then environment, then default. All faults
 * are named at once; a configuration that is half understood would start half of what was meant.
 */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { MAX_HEARTBEAT_INTERVAL_MS, MIN_HEARTBEAT_INTERVAL_MS, SkepError } from "@skep/core";
import { TRACE_VARIABLES } from "@skep/runtime";

/** More local agents than this is a benchmark's business, and would take minutes to start. */
const MAX_AGENTS = 64;

export interface UpConfig {
  readonly stateDir: string;
  /** undefined: as many as are enrolled here already, else 2. */
  readonly agents: number | undefined;
  /** undefined: not asked for, so that another may be taken when the default is not free. 0: any free one. */
  readonly ports: { readonly api: number | undefined; readonly swarm: number | undefined; readonly enrol: number | undefined };
  readonly heartbeatIntervalMs: number | undefined;
  readonly json: boolean;
  readonly restart: boolean;
  readonly sample: boolean;
  /** The CLI's context file, undefined when it is to be left alone. */
  readonly contextFile: string | undefined;
  /** undefined: the embedded database. Holds a password. */
  readonly databaseUrl: string | undefined;
  /** Started by a program that holds our stdin: its end means stop. */
  readonly supervised: boolean;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  /** Handed to children; nothing else of our environment is. */
  readonly inheritedEnv: Readonly<Record<string, string>>;
  readonly masterEnv: Readonly<Record<string, string>>;
}

export const USAGE = `skep up: a master, its database and local agents, on this machine

  --state-dir DIR              where everything is kept   (default ~/.local/share/skep/up)
  --agents N                   local agents, 0 to ${MAX_AGENTS}        (default 2, or those enrolled before)
  --api-port, --swarm-port, --enrol-port N   0 = any free (default 8080, 8443, 8442)
  --heartbeat-interval-ms N    ${MIN_HEARTBEAT_INTERVAL_MS} to ${MAX_HEARTBEAT_INTERVAL_MS}             (default 30000)
  --database-url URL           your own PostgreSQL, 15 or newer; also DATABASE_URL
  --no-restart                 leave a process that died dead
  --no-sample                  do not deploy the sample on the first start
  --no-context                 leave the CLI's context file alone
  --json                       exactly one JSON line on stdout once everything is ready
`;

const OPTIONS = {
  "state-dir": { type: "string" }, agents: { type: "string" }, "api-port": { type: "string" }, "swarm-port": { type: "string" },
  "enrol-port": { type: "string" }, "heartbeat-interval-ms": { type: "string" }, "database-url": { type: "string" },
  json: { type: "boolean" }, "no-restart": { type: "boolean" }, "no-sample": { type: "boolean" }, "no-context": { type: "boolean" }, help: { type: "boolean" },
} as const;
const INHERITED = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "DOCKER_HOST", ...TRACE_VARIABLES];
/** Settings of the master that have no flag here. */
const MASTER_SETTINGS = ["SKEP_ADVERTISE", "SKEP_TRUST_DOMAIN"];
const LEVELS = ["debug", "info", "warn", "error"] as const;

/** "help" when usage was asked for. Throws `invalid_request` with every fault in its detail. */
export function parseConfig(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): UpConfig | "help" {
  const faults: string[] = [];
  const flags = readFlags(argv, faults);
  if (flags["help"] === true) return "help";
  const text = (flag: string, variable: string): string | undefined => {
    const value = flags[flag] ?? env[variable];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const integer = (flag: string, variable: string, min: number, max: number): number | undefined => {
    const value = text(flag, variable);
    if (value === undefined) return undefined;
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= min && number <= max) return number;
    faults.push(`--${flag} must be a whole number from ${min} to ${max}, not ${JSON.stringify(value)}`);
    return undefined;
  };
  const home = env["HOME"] || homedir();
  const logLevel = LEVELS.find((level) => level === (env["SKEP_LOG_LEVEL"] || "info"));
  if (logLevel === undefined) faults.push(`SKEP_LOG_LEVEL must be one of ${LEVELS.join(", ")}`);
  const databaseUrl = text("database-url", "DATABASE_URL");
  if (databaseUrl !== undefined && !/^postgres(ql)?:\/\//.test(databaseUrl)) faults.push("--database-url must start with postgres://");
  const json = flags["json"] === true;
  const config: UpConfig = {
    stateDir: resolve(text("state-dir", "SKEP_UP_STATE_DIR") ?? join(env["XDG_DATA_HOME"] || join(home, ".local", "share"), "skep", "up")),
    agents: integer("agents", "SKEP_UP_AGENTS", 0, MAX_AGENTS),
    ports: { api: integer("api-port", "SKEP_API_PORT", 0, 65_535), swarm: integer("swarm-port", "SKEP_SWARM_PORT", 0, 65_535), enrol: integer("enrol-port", "SKEP_ENROL_PORT", 0, 65_535) },
    heartbeatIntervalMs: integer("heartbeat-interval-ms", "SKEP_HEARTBEAT_INTERVAL_MS", MIN_HEARTBEAT_INTERVAL_MS, MAX_HEARTBEAT_INTERVAL_MS),
    json,
    restart: flags["no-restart"] !== true,
    sample: flags["no-sample"] !== true,
    contextFile: json || flags["no-context"] === true ? undefined : join(env["XDG_CONFIG_HOME"] || join(home, ".config"), "skep", "config.json"),
    databaseUrl,
    supervised: env["SKEP_SUPERVISED"] === "1",
    logLevel: logLevel ?? "info",
    inheritedEnv: pick(env, INHERITED),
    masterEnv: pick(env, MASTER_SETTINGS),
  };
  if (faults.length > 0) throw new SkepError("invalid_request", faults.join("; "));
  return config;
}

const pick = (env: NodeJS.ProcessEnv, names: readonly string[]): Record<string, string> => Object.fromEntries(names.flatMap((name) => ((value) => (value === undefined || value === "" ? [] : [[name, value]]))(env[name])));

function readFlags(argv: readonly string[], faults: string[]): Record<string, string | boolean | undefined> {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, strict: true, allowPositionals: false }).values;
  } catch (error) {
    faults.push(`${(error as Error).message.split("\n")[0]} (see --help)`);
    return {};
  }
}

/** For the tour's own `skep up`: only what any program needs, so that nothing set for another master leaks in. */
export const demoEnv = (env: NodeJS.ProcessEnv = process.env): Record<string, string> => pick(env, INHERITED);
