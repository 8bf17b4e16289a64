/**
 * The master's process: parses the configuration, builds the real parts, starts, and stops when told to. Exit codes:
 * 0 stopped as asked · 1 could not start or broke · 2 the configuration is not valid.
 */
import { join } from "node:path";
import { SkepError, type Clock, type Logger } from "@skep/core";
import { createAuthority, openOrCreateAuthority } from "@skep/pki";
import { closeOnParentExit, createLogger, lockStateDir, onShutdownSignals, openTracing, systemClock, systemRng } from "@skep/runtime";
import { createPostgresStore, migrate } from "@skep/store";
import { ensureAdminToken } from "./bootstrap-token.ts";
import { loadConfig, USAGE, type MasterConfig } from "./config.ts";
import { createMaster } from "./create-master.ts";
import { VERSION } from "./version.ts";

/** A database that comes up together with us is waited for; one that is misconfigured should be told of soon. */
const DATABASE_PATIENCE_MS = 30_000;
const DATABASE_RETRY_MS = 1_000;
/** A stop that hangs must not need a second signal from a supervisor that sends none. */
const STOP_LIMIT_MS = 10_000;

/** For the last traces. Longer: a collector that hangs holds every stop up. */
const TRACE_FLUSH_LIMIT_MS = 2_000;

/** Resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let config: MasterConfig | "help";
  try {
    config = loadConfig(argv);
  } catch (error) {
    process.stderr.write(`skep-master: ${error instanceof SkepError ? error.detail : String(error)}\n`);
    return 2;
  }
  if (config === "help") {
    process.stdout.write(USAGE);
    return 0;
  }
  const logger = createLogger({ level: config.logLevel, name: "skep-master", destination: "stderr" });
  try {
    return await run(config, logger);
  } catch (error) {
    logger.error({ err: error }, "the master could not start");
    process.stderr.write(`skep-master: ${error instanceof SkepError ? error.detail : "could not start; the log above says why"}\n`);
    return 1;
  }
}

async function run(config: MasterConfig, logger: Logger): Promise<number> {
  const clock = systemClock();
  const rng = systemRng();
  const stopped = whenToldToStop(config, logger);
  const lock = lockStateDir(config.stateDir);
  try {
    const caDir = join(config.stateDir, "ca");
    const authority = await openOrCreateAuthority(caDir, () => createAuthority({ trustDomain: config.trustDomain, now: clock.now(), rng }));
    if (authority.trustDomain !== config.trustDomain) throw new SkepError("invalid_request", `the CA in ${caDir} is of trust domain ${authority.trustDomain}, not ${config.trustDomain}; set SKEP_TRUST_DOMAIN to it`);
    const told = await Promise.race([stopped, patiently(clock, logger, () => migrate(config.databaseUrl, { logger }))]);
    if (typeof told === "number") return told;
    const store = await createPostgresStore({ url: config.databaseUrl, logger, clock, rng, applicationName: "skep-master" });
    try {
      const bootstrapToken = await ensureAdminToken(store, config.stateDir, rng);
      const tracing = await openTracing(config.traces, { clock, rng, logger, version: VERSION });
      const master = await createMaster({ config, store, authority, clock, rng, logger, limits: { metricHosts: config.metricsMaxHosts }, ownsProcess: true, tracer: tracing.tracer });
      try {
        const { apiUrl, swarmUrl, enrolUrl } = await master.listen();
        const ready = {
          api_url: apiUrl, swarm_url: swarmUrl, enrol_url: enrolUrl, ca_path: join(caDir, "ca.pem"), ca_sha256: authority.sha256, pid: process.pid,
          ...(bootstrapToken === undefined ? {} : { bootstrap_token: bootstrapToken }),
        };
        process.stdout.write(config.json ? `${JSON.stringify(ready)}\n` : describe(ready, config.stateDir));
        return await stopped;
      } finally {
        await Promise.race([master.close(), clock.sleep(STOP_LIMIT_MS)]);
        await tracing.close(TRACE_FLUSH_LIMIT_MS);
      }
    } finally {
      await Promise.race([store.close(), clock.sleep(STOP_LIMIT_MS)]);
    }
  } finally {
    lock.release();
  }
}

/** Resolves with the exit code once a signal, a supervisor's end or an error nobody caught says so. */
function whenToldToStop(config: MasterConfig, logger: Logger): Promise<number> {
  return new Promise((resolve) => {
    onShutdownSignals((signal) => {
      logger.info({ signal }, "stopping");
      resolve(0);
    });
    if (config.supervised) closeOnParentExit(() => {
      logger.warn({}, "the supervisor is gone; stopping");
      resolve(0);
    });
    const broken = (err: unknown): void => {
      // State of unknown shape is not carried on: a restart finds the truth in the database.
      logger.error({ err }, "an error that nobody caught; stopping");
      resolve(1);
    };
    process.on("uncaughtException", broken);
    process.on("unhandledRejection", broken);
  });
}

/** Tries again while the database is away, and says so. */
async function patiently(clock: Clock, logger: Logger, act: () => Promise<unknown>): Promise<void> {
  const until = clock.mono() + DATABASE_PATIENCE_MS;
  for (;;) {
    try {
      await act();
      return;
    } catch (error) {
      if (!(error instanceof SkepError) || error.code !== "database_unavailable" || clock.mono() >= until) throw error;
      logger.warn({ detail: error.detail, patience_ms: Math.round(until - clock.mono()) }, "the database cannot be reached; trying again");
      await clock.sleep(DATABASE_RETRY_MS);
    }
  }
}

function describe(ready: { readonly api_url: string; readonly swarm_url: string; readonly enrol_url: string; readonly ca_sha256: string; readonly bootstrap_token?: string }, stateDir: string): string {
  const lines = [
    `API            ${ready.api_url}`,
    `agent channel  ${ready.swarm_url}`,
    `enrolment      ${ready.enrol_url}`,
    `CA             sha256:${ready.ca_sha256}`,
    ...(ready.bootstrap_token === undefined ? [] : [`admin token    ${ready.bootstrap_token}   (shown once; kept in ${join(stateDir, "admin.token")})`]),
  ];
  return `${lines.join("\n")}\n`;
}
