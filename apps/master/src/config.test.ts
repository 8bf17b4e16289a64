/** Settings: every fault at once, a flag before the environment, nothing half understood. */
import { describe, expect, test } from "vitest";
import { DAY_MS, DEFAULT_RETENTION, type SkepError } from "@skep/core";
import { loadConfig, type MasterConfig } from "./config.ts";

const DB = { DATABASE_URL: "postgres://u:secret@127.0.0.1/skep" };
const load = (argv: string[], env: Record<string, string> = {}): MasterConfig => {
  const config = loadConfig(argv, { ...DB, ...env });
  if (config === "help") throw new Error("help");
  return config;
};
const faults = (argv: string[], env: Record<string, string> = {}): string[] => {
  try {
    loadConfig(argv, env);
    return [];
  } catch (error) {
    return (error as SkepError).errors.map(({ pointer }) => pointer);
  }
};

test("defaults: the API on loopback, the agent channel everywhere", () => {
  expect(load([])).toMatchObject({ apiListen: "127.0.0.1", apiPort: 8080, swarmListen: "0.0.0.0", swarmPort: 8443, enrolPort: 8442, heartbeatIntervalMs: 30_000, trustDomain: "skep.local", metricsMaxHosts: 1_000, allowLoopbackAgents: false, alertCoolDownMs: 900_000, retention: DEFAULT_RETENTION, supervised: false, json: false });
});

test("how many probes in a row it takes, from either side", () => {
  expect(load([]).probeThresholds).toEqual({ failures: 3, successes: 1 });
  expect(load(["--probe-failures", "5"], { SKEP_PROBE_FAILURES: "2", SKEP_PROBE_SUCCESSES: "4" }).probeThresholds).toEqual({ failures: 5, successes: 4 });
  for (const wrong of ["0", "21", "1.5", "-1", "many"]) expect(faults([], { ...DB, SKEP_PROBE_FAILURES: wrong, SKEP_PROBE_SUCCESSES: wrong })).toEqual(["SKEP_PROBE_FAILURES", "SKEP_PROBE_SUCCESSES"]);
});

test("a flag wins over the environment, an empty variable is none", () => {
  expect(load(["--api-port", "0", "--json", "--allow-loopback-agents"], { SKEP_API_PORT: "9999", SKEP_SWARM_PORT: "" })).toMatchObject({ apiPort: 0, swarmPort: 8443, json: true, allowLoopbackAgents: true });
});

test("how long is kept what has ended, in days", () => {
  expect(load(["--history-retention-days", "7", "--dead-letters-per-webhook", "50"], { SKEP_DEAD_LETTER_RETENTION_DAYS: "3650" }).retention).toEqual({
    ...DEFAULT_RETENTION, historyMs: 7 * DAY_MS, deadLettersMs: 3_650 * DAY_MS, deadLettersPerWebhook: 50,
  });
  // What happened is looked up by ids that events name.
  expect(DEFAULT_RETENTION.historyMs).toBeGreaterThanOrEqual(DEFAULT_RETENTION.eventsMs);
});

test("where a master is reached: what is said, else the one address it listens on, loopback first where agents are local", () => {
  expect(load([], { SKEP_ADVERTISE: "a.example, 10.0.0.1" }).advertise).toEqual(["a.example", "10.0.0.1"]);
  expect(load([], { SKEP_SWARM_LISTEN: "10.0.0.9" }).advertise).toEqual(["10.0.0.9"]);
  expect(load([], { SKEP_ALLOW_LOOPBACK_AGENTS: "1" }).advertise[0]).toBe("127.0.0.1");
  expect(load([]).advertise).not.toContain("127.0.0.1");
});

test("all faults are named at once, by the setting's name, and none repeats the database's password", () => {
  const env = { SKEP_API_PORT: "70000", SKEP_SWARM_LISTEN: "not a host", SKEP_HEARTBEAT_INTERVAL_MS: "5", SKEP_LOG_LEVEL: "loud", SKEP_METRICS_MAX_HOSTS: "20001", SKEP_ALERT_COOLDOWN_MS: "999", SKEP_HISTORY_RETENTION_DAYS: "0", SKEP_DEAD_LETTER_RETENTION_DAYS: "3651", SKEP_DEAD_LETTERS_PER_WEBHOOK: "0", SKEP_TRUST_DOMAIN: "UPPER", SKEP_API_TLS_CERT: "/no/such/file", SKEP_ADVERTISE: "a_b" };
  expect(new Set(faults([], env))).toEqual(new Set(["DATABASE_URL", ...Object.keys(env)]));
  expect(() => loadConfig([], { DATABASE_URL: "mysql://u:hunter2@x" })).toThrow(expect.objectContaining({ detail: expect.not.stringContaining("hunter2") }));
});

describe("combinations", () => {
  test("a TLS certificate without its key", () => {
    expect(faults([], { ...DB, SKEP_API_TLS_CERT: import.meta.filename })).toEqual(["SKEP_API_TLS_KEY"]);
  });
  test("a failpoint must exist and be allowed", () => {
    expect(faults([], { ...DB, SKEP_FAILPOINT: "before_commit" })).toEqual(["SKEP_FAILPOINT"]);
    expect(faults([], { ...DB, SKEP_FAILPOINT: "nowhere", SKEP_ALLOW_FAILPOINTS: "1" })).toEqual(["SKEP_FAILPOINT"]);
    expect(load([], { SKEP_FAILPOINT: "before_commit:3", SKEP_ALLOW_FAILPOINTS: "1" }).failpoint).toEqual({ name: "before_commit", nth: 3 });
  });
  test("a breaker's cool-down is the tests' to change, and nobody else's", () => {
    expect(load([]).breakerCoolDownMs).toBeUndefined();
    expect(faults([], { ...DB, SKEP_BREAKER_COOLDOWN_MS: "5000" })).toEqual(["SKEP_BREAKER_COOLDOWN_MS"]);
    expect(faults([], { ...DB, SKEP_BREAKER_COOLDOWN_MS: "soon", SKEP_ALLOW_FAILPOINTS: "1" })).toEqual(["SKEP_BREAKER_COOLDOWN_MS"]);
    expect(load([], { SKEP_BREAKER_COOLDOWN_MS: "5000", SKEP_ALLOW_FAILPOINTS: "1" }).breakerCoolDownMs).toBe(5_000);
  });
  test("an unknown flag, and help", () => {
    expect(faults(["--nonsense"], DB)).toEqual(["arguments"]);
    expect(loadConfig(["--help"], {})).toBe("help");
  });
});

test("where traces go: faults beside all others, and none repeats what was given", () => {
  expect(load([]).traces).toBeUndefined();
  expect(load([], { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" }).traces).toMatchObject({ serviceName: "skep-master", shownUrl: "http://collector:4318/v1/traces" });
  expect(faults([], { ...DB, SKEP_API_PORT: "x", OTEL_EXPORTER_OTLP_ENDPOINT: "ftp://x", OTEL_EXPORTER_OTLP_HEADERS: "rubbish" })).toEqual(["SKEP_API_PORT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"]);
});
