/**
 * The master's settings, parsed once from flags and environment (a flag wins). All faults are named at once, by the
 * name under which they were given. The database URL holds a password and is therefore no flag: `ps` shows those.
 */
import { readFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { DEFAULT_HEARTBEAT_INTERVAL_MS, MAX_HEARTBEAT_INTERVAL_MS, MAX_PROBE_THRESHOLD, MIN_HEARTBEAT_INTERVAL_MS, PROBE_THRESHOLDS, SkepError, DAY_MS, DEFAULT_ALERT_COOL_DOWN_MS, DEFAULT_RETENTION, type FieldError, type ProbeThresholds, type Retention } from "@skep/core";
import { checkTrustDomain } from "@skep/pki";
import { LOG_LEVELS, readTraceSettings, type TraceSettings } from "@skep/runtime";
import { isIP } from "node:net";
import { z } from "zod";
import { DEFAULT_METRIC_HOSTS } from "./metrics/create-metrics.ts";
import { parseFailpoint, type FailpointSetting } from "./failpoint.ts";

/** Shorter makes reminders noise; longer than a day forgets to remind. */
const MIN_COOL_DOWN_MS = 1_000;
const MAX_COOL_DOWN_MS = DAY_MS;

export interface MasterConfig {
  readonly stateDir: string;
  readonly databaseUrl: string;
  readonly apiListen: string;
  readonly apiPort: number;
  readonly apiTls: { readonly cert: string; readonly key: string } | undefined;
  readonly swarmListen: string;
  readonly swarmPort: number;
  readonly enrolPort: number;
  /** Names and addresses under which agents and operators reach this master. */
  readonly advertise: readonly string[];
  readonly heartbeatIntervalMs: number;
  readonly probeThresholds: ProbeThresholds;
  readonly trustDomain: string;
  readonly allowLoopbackAgents: boolean;
  /** Hosts with a label of their own in the metrics; the rest is told of together. */
  readonly metricsMaxHosts: number;
  /** Between two notices that the same thing fires, ms. */
  readonly alertCoolDownMs: number;
  /** How long the ledger keeps what has ended. */
  readonly retention: Retention;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  /** Where traces go; undefined = nowhere. */
  readonly traces: TraceSettings | undefined;
  readonly failpoint: FailpointSetting | undefined;
  /** Of tests only: theirs must be over soon, or never end by itself. Undefined = core's, ms. */
  readonly breakerCoolDownMs: number | undefined;
  /** Started by a supervisor that holds our stdin. */
  readonly supervised: boolean;
  readonly json: boolean;
}

export const USAGE = `skep-master: the control plane

  --state-dir DIR             CA and bootstrap token        SKEP_STATE_DIR      (default ~/.skep/master)
                              PostgreSQL, 15 or newer       DATABASE_URL        (required)
  --api-listen, --api-port    operator API                  SKEP_API_LISTEN     (127.0.0.1) SKEP_API_PORT (8080)
  --api-tls-cert, -key FILE   needed off loopback           SKEP_API_TLS_CERT   SKEP_API_TLS_KEY
  --swarm-listen, --swarm-port  agent channel               SKEP_SWARM_LISTEN   (0.0.0.0)   SKEP_SWARM_PORT (8443)
  --enrol-port                enrolment door                SKEP_ENROL_PORT     (8442)
  --advertise LIST            how hosts reach this master   SKEP_ADVERTISE      (this host's name)
  --heartbeat-interval-ms N   ${MIN_HEARTBEAT_INTERVAL_MS} to ${MAX_HEARTBEAT_INTERVAL_MS}                 SKEP_HEARTBEAT_INTERVAL_MS (${DEFAULT_HEARTBEAT_INTERVAL_MS})
  --probe-failures N          in a row: unreachable         SKEP_PROBE_FAILURES (${PROBE_THRESHOLDS.failures})
  --probe-successes N         in a row: reachable again     SKEP_PROBE_SUCCESSES (${PROBE_THRESHOLDS.successes})
  --trust-domain NAME         of the SPIFFE ids             SKEP_TRUST_DOMAIN   (skep.local)
  --allow-loopback-agents     agents, webhook receivers here SKEP_ALLOW_LOOPBACK_AGENTS
  --metrics-max-hosts N       hosts with their own label    SKEP_METRICS_MAX_HOSTS (${DEFAULT_METRIC_HOSTS})
  --alert-cooldown-ms N       ${MIN_COOL_DOWN_MS} to ${MAX_COOL_DOWN_MS}              SKEP_ALERT_COOLDOWN_MS     (${DEFAULT_ALERT_COOL_DOWN_MS})
  --history-retention-days N  ended rollouts, moves, drains SKEP_HISTORY_RETENTION_DAYS (${DEFAULT_RETENTION.historyMs / DAY_MS})
  --dead-letter-retention-days N  given up by webhooks      SKEP_DEAD_LETTER_RETENTION_DAYS (${DEFAULT_RETENTION.deadLettersMs / DAY_MS})
  --dead-letters-per-webhook N  the newest are kept         SKEP_DEAD_LETTERS_PER_WEBHOOK (${DEFAULT_RETENTION.deadLettersPerWebhook})
  --log-level LEVEL           ${LOG_LEVELS.join(", ")}   SKEP_LOG_LEVEL (info)
                              where traces go               OTEL_EXPORTER_OTLP_ENDPOINT (nowhere); see docs/observability.md
  --json                      one JSON line on stdout once ready; logs always go to stderr
`;

const FLAGS = {
  "state-dir": { type: "string" }, "api-listen": { type: "string" }, "api-port": { type: "string" }, "api-tls-cert": { type: "string" }, "api-tls-key": { type: "string" },
  "swarm-listen": { type: "string" }, "swarm-port": { type: "string" }, "enrol-port": { type: "string" }, advertise: { type: "string" },
  "heartbeat-interval-ms": { type: "string" }, "probe-failures": { type: "string" }, "probe-successes": { type: "string" }, "trust-domain": { type: "string" }, "allow-loopback-agents": { type: "boolean" },
  "alert-cooldown-ms": { type: "string" }, "history-retention-days": { type: "string" }, "dead-letter-retention-days": { type: "string" }, "dead-letters-per-webhook": { type: "string" }, "log-level": { type: "string" }, "metrics-max-hosts": { type: "string" },
  failpoint: { type: "string" }, json: { type: "boolean" }, help: { type: "boolean" },
} as const;

const HOST = /^(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/;
const isHost = (text: string): boolean => isIP(text) !== 0 || HOST.test(text);
const port = z.string().regex(/^\d{1,5}$/, "must be a port, 0 to 65535").transform(Number).refine((value) => value <= 65_535, "must be a port, 0 to 65535");
const yes = z.enum(["true", "1", "false", "0", ""]).transform((value) => value === "true" || value === "1");
const host = z.string().refine(isHost, "must be a host name or an IP address");
const because = <T>(parse: (text: string) => T) => (text: string, context: z.RefinementCtx): T => {
  try {
    return parse(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: error instanceof SkepError ? error.detail : error instanceof Error ? `cannot be read (${(error as NodeJS.ErrnoException).code ?? error.message})` : "is not valid" });
    return z.NEVER;
  }
};
/** Beyond this a scrape takes longer than the event loop can spare. */
const MAX_METRIC_HOSTS = 20_000;
const metricHosts = `must be a whole number from 0 to ${MAX_METRIC_HOSTS}`;
const coolDown = `must be a whole number from ${MIN_COOL_DOWN_MS} to ${MAX_COOL_DOWN_MS}`;
const interval = `must be a whole number from ${MIN_HEARTBEAT_INTERVAL_MS} to ${MAX_HEARTBEAT_INTERVAL_MS}`;

/** A day at least: an Idempotency-Key's answer names its rollout for so long. Ten years at most, which keeps dates in range. */
const MAX_RETENTION_DAYS = 3_650;
const retentionDays = `must be a whole number of days from 1 to ${MAX_RETENTION_DAYS}`;
const keptMs = z.string().regex(/^\d{1,4}$/, retentionDays).transform(Number).refine((days) => days >= 1 && days <= MAX_RETENTION_DAYS, retentionDays).transform((days) => days * DAY_MS);
/** More makes `skep webhook ls` count for long. */
const MAX_DEAD_LETTERS = 100_000;
const deadLetters = `must be a whole number from 1 to ${MAX_DEAD_LETTERS}`;

const threshold = `must be a whole number from 1 to ${MAX_PROBE_THRESHOLD}`;
const inARow = z.string().regex(/^\d{1,4}$/, threshold).transform(Number).refine((count) => count >= 1 && count <= MAX_PROBE_THRESHOLD, threshold);

const settings = z.object({
  SKEP_STATE_DIR: z.string().min(1).default(join(homedir(), ".skep", "master")),
  DATABASE_URL: z.string("is required: postgres://user:password@host:5432/database").refine((url) => /^postgres(ql)?:\/\//.test(url) && URL.canParse(url), "must be a postgres:// URL"),
  SKEP_API_LISTEN: host.default("127.0.0.1"),
  SKEP_API_PORT: port.default(8080),
  SKEP_API_TLS_CERT: z.string().transform(because((path) => readFileSync(path, "utf8"))).optional(),
  SKEP_API_TLS_KEY: z.string().transform(because((path) => readFileSync(path, "utf8"))).optional(),
  SKEP_SWARM_LISTEN: host.default("0.0.0.0"),
  SKEP_SWARM_PORT: port.default(8443),
  SKEP_ENROL_PORT: port.default(8442),
  SKEP_ADVERTISE: z.string().transform((text) => text.split(",").map((item) => item.trim()).filter((item) => item !== "")).pipe(z.array(host).min(1).max(16)).optional(),
  SKEP_HEARTBEAT_INTERVAL_MS: z.string().regex(/^\d+$/, interval).transform(Number).refine((ms) => ms >= MIN_HEARTBEAT_INTERVAL_MS && ms <= MAX_HEARTBEAT_INTERVAL_MS, interval).default(DEFAULT_HEARTBEAT_INTERVAL_MS),
  SKEP_PROBE_FAILURES: inARow.default(PROBE_THRESHOLDS.failures),
  SKEP_PROBE_SUCCESSES: inARow.default(PROBE_THRESHOLDS.successes),
  SKEP_TRUST_DOMAIN: z.string().transform(because(checkTrustDomain)).default("skep.local"),
  SKEP_ALLOW_LOOPBACK_AGENTS: yes.default(false),
  SKEP_METRICS_MAX_HOSTS: z.string().regex(/^\d{1,6}$/, metricHosts).transform(Number).refine((hosts) => hosts <= MAX_METRIC_HOSTS, metricHosts).default(DEFAULT_METRIC_HOSTS),
  SKEP_ALERT_COOLDOWN_MS: z.string().regex(/^\d+$/, coolDown).transform(Number).refine((ms) => ms >= MIN_COOL_DOWN_MS && ms <= MAX_COOL_DOWN_MS, coolDown).default(DEFAULT_ALERT_COOL_DOWN_MS),
  SKEP_HISTORY_RETENTION_DAYS: keptMs.default(DEFAULT_RETENTION.historyMs),
  SKEP_DEAD_LETTER_RETENTION_DAYS: keptMs.default(DEFAULT_RETENTION.deadLettersMs),
  SKEP_DEAD_LETTERS_PER_WEBHOOK: z.string().regex(/^\d{1,6}$/, deadLetters).transform(Number).refine((count) => count >= 1 && count <= MAX_DEAD_LETTERS, deadLetters).default(DEFAULT_RETENTION.deadLettersPerWebhook),
  SKEP_LOG_LEVEL: z.enum(LOG_LEVELS as [(typeof LOG_LEVELS)[number], ...(typeof LOG_LEVELS)[number][]]).default("info"),
  SKEP_FAILPOINT: z.string().transform(because(parseFailpoint)).optional(),
  SKEP_ALLOW_FAILPOINTS: yes.default(false),
  SKEP_BREAKER_COOLDOWN_MS: z.string().regex(/^\d{1,8}$/, "must be a whole number of ms").transform(Number).optional(),
  SKEP_SUPERVISED: yes.default(false),
}).superRefine((all, context) => {
  if ((all.SKEP_API_TLS_CERT === undefined) !== (all.SKEP_API_TLS_KEY === undefined)) context.addIssue({ code: "custom", path: ["SKEP_API_TLS_KEY"], message: "certificate and key come together or not at all" });
  if (all.SKEP_FAILPOINT !== undefined && !all.SKEP_ALLOW_FAILPOINTS) context.addIssue({ code: "custom", path: ["SKEP_FAILPOINT"], message: "kills the process on purpose and needs SKEP_ALLOW_FAILPOINTS=1" });
  if (all.SKEP_BREAKER_COOLDOWN_MS !== undefined && !all.SKEP_ALLOW_FAILPOINTS) context.addIssue({ code: "custom", path: ["SKEP_BREAKER_COOLDOWN_MS"], message: "is for tests alone and needs SKEP_ALLOW_FAILPOINTS=1" });
});

/** "help" when usage was asked for. Throws SkepError `invalid_request` with every fault in `errors`. */
export function loadConfig(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): MasterConfig | "help" {
  const flags = readFlags(argv);
  if (flags["help"] === true) return "help";
  const raw: Record<string, string> = {};
  for (const key of Object.keys(settings.shape)) {
    const given = flags[key.replace(/^SKEP_/, "").toLowerCase().replaceAll("_", "-")] ?? env[key];
    // An empty variable is one that was not set: that is how compose files and unit files spell it.
    if (given !== undefined && given !== "") raw[key] = String(given);
  }
  const parsed = settings.safeParse(raw);
  const traces = readTraceSettings(env, "skep-master");
  const errors = [...(parsed.error?.issues ?? []).map((issue) => ({ pointer: String(issue.path[0] ?? ""), message: issue.message })), ...traces.errors];
  if (!parsed.success || errors.length > 0) throw fault(errors);
  const all = parsed.data;
  return {
    stateDir: resolve(all.SKEP_STATE_DIR),
    databaseUrl: all.DATABASE_URL,
    apiListen: all.SKEP_API_LISTEN,
    apiPort: all.SKEP_API_PORT,
    apiTls: all.SKEP_API_TLS_CERT !== undefined && all.SKEP_API_TLS_KEY !== undefined ? { cert: all.SKEP_API_TLS_CERT, key: all.SKEP_API_TLS_KEY } : undefined,
    swarmListen: all.SKEP_SWARM_LISTEN,
    swarmPort: all.SKEP_SWARM_PORT,
    enrolPort: all.SKEP_ENROL_PORT,
    advertise: all.SKEP_ADVERTISE ?? defaultAdvertise(all.SKEP_SWARM_LISTEN, all.SKEP_ALLOW_LOOPBACK_AGENTS),
    heartbeatIntervalMs: all.SKEP_HEARTBEAT_INTERVAL_MS,
    probeThresholds: { failures: all.SKEP_PROBE_FAILURES, successes: all.SKEP_PROBE_SUCCESSES },
    trustDomain: all.SKEP_TRUST_DOMAIN,
    allowLoopbackAgents: all.SKEP_ALLOW_LOOPBACK_AGENTS,
    metricsMaxHosts: all.SKEP_METRICS_MAX_HOSTS,
    alertCoolDownMs: all.SKEP_ALERT_COOLDOWN_MS,
    retention: { ...DEFAULT_RETENTION, historyMs: all.SKEP_HISTORY_RETENTION_DAYS, deadLettersMs: all.SKEP_DEAD_LETTER_RETENTION_DAYS, deadLettersPerWebhook: all.SKEP_DEAD_LETTERS_PER_WEBHOOK },
    logLevel: all.SKEP_LOG_LEVEL,
    traces: traces.settings,
    failpoint: all.SKEP_FAILPOINT,
    breakerCoolDownMs: all.SKEP_BREAKER_COOLDOWN_MS,
    supervised: all.SKEP_SUPERVISED,
    json: flags["json"] === true,
  };
}

/** Where a listener on one address is reached is that address; a listener on all is reached by the machine's name. */
function defaultAdvertise(listen: string, allowLoopback: boolean): string[] {
  if (listen !== "0.0.0.0" && listen !== "::") return [listen];
  const name = hostname();
  return [...(allowLoopback ? ["127.0.0.1"] : []), ...(isHost(name) ? [name] : [])];
}

function readFlags(argv: readonly string[]): Record<string, string | boolean | undefined> {
  try {
    return parseArgs({ args: [...argv], options: FLAGS, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw fault([{ pointer: "arguments", message: error instanceof Error ? error.message : "cannot be read" }]);
  }
}

const fault = (errors: readonly FieldError[]): SkepError => new SkepError("invalid_request", errors.map(({ pointer, message }) => `${pointer}: ${message}`).join("; "), { errors });
