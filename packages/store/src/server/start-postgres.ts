/**
 * A PostgreSQL server as a child process: Skep's default database, and the tests'. It listens on 127.0.0.1 only,
 * with a password, survives a crash of everything, and dies with the process that started it.
 */
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { SkepError } from "@skep/core";
import type { Clock, Logger } from "@skep/core";
import { findEmbeddedBinaries } from "./binaries.ts";
import type { Binaries } from "./binaries.ts";
import { claimDataDir, DATABASE_USER, initDataDir, readPassword, readPostmasterFile, recordOwner, tightenDataDir } from "./data-dir.ts";
import { findDeathWatch } from "./death-watch.ts";
import type { DeathWatchMode } from "./death-watch.ts";
import { findPlace } from "./place.ts";
import type { Place } from "./place.ts";
import type { PrivilegeMode } from "./privileges.ts";
import { startServerProcess } from "./server-process.ts";
import type { ServerExit, ServerProcess } from "./server-process.ts";

/** Recovery after a crash replays the log; too small a time here makes a big database unable to ever start. */
const START_TIMEOUT_MS = 300_000;
/** Another process may take a free port between our look and the server's bind. */
const PORT_ATTEMPTS = 5;

export interface StartPostgresOptions {
  /** Made when missing; its parent may have spaces and be 0700. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Settings of postgresql.conf, over ours. */
  readonly extraConfig?: Readonly<Record<string, string>>;
  /** Default: the first that works of direct (not root), userns, dropped-user. */
  readonly privileges?: PrivilegeMode;
  /** Default: the kernel's where setpriv can ask for it, else the watchdog. */
  readonly deathWatch?: DeathWatchMode;
}

export interface RunningPostgres {
  /** With the password: never log it. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly how: PrivilegeMode;
  /** Where the data is; differs from what was asked for only under "dropped-user". */
  readonly dataDir: string;
  /** Resolves when the server has ended, for whatever reason. */
  readonly exited: Promise<ServerExit>;
  /** A fast shutdown: clients are cut off, nothing committed is lost. */
  stop(): Promise<void>;
}

/**
 * Starts the PostgreSQL of the npm package. Throws `already_running` when a server uses the directory and its
 * supervisor lives, `database_unavailable` with the server's last words otherwise.
 */
export async function startEmbeddedPostgres(options: StartPostgresOptions): Promise<RunningPostgres> {
  return start(await findEmbeddedBinaries(), options);
}

/** The same with an installed PostgreSQL; `binDir` is what `pg_config --bindir` prints. */
export async function startSystemPostgres(options: StartPostgresOptions & { readonly binDir: string }): Promise<RunningPostgres> {
  return start({ binDir: resolve(options.binDir), nativeDir: undefined, label: "system" }, options);
}

async function start(binaries: Binaries, options: StartPostgresOptions): Promise<RunningPostgres> {
  const { clock, logger, port = 0, extraConfig = {} } = options;
  const place = await findPlace(resolve(options.dataDir), binaries, options.privileges, logger);
  const { dataDir } = place;
  await initDataDir({ ...place, durable: extraConfig["fsync"] !== "off" });
  await claimDataDir(dataDir, clock, logger);
  await tightenDataDir(dataDir);
  const password = readPassword(dataDir);
  const deathWatch = options.deathWatch ?? (await findDeathWatch());
  for (let attempt = 1; ; attempt++) {
    const chosenPort = port === 0 ? await findFreePort() : port;
    const server = startServerProcess({
      postgres: join(place.binDir, "postgres"),
      dataDir,
      config: { ...baseConfig(chosenPort), ...extraConfig },
      privileges: place.privileges,
      deathWatch,
      clock,
      logger,
    });
    if (server === undefined) throw new SkepError("database_unavailable", `${place.binDir}/postgres could not be started`);
    if (await becomesReady(server, dataDir, clock)) {
      await recordOwner(dataDir, server.pid);
      return describe(server, place, chosenPort, password);
    }
    await server.stop();
    const portTaken = server.lastLines().includes("Address already in use");
    if (!portTaken || port !== 0 || attempt >= PORT_ATTEMPTS) throw startFailure(server, dataDir, portTaken ? chosenPort : undefined);
  }
}

function baseConfig(port: number): Record<string, string> {
  return {
    port: String(port),
    listen_addresses: "127.0.0.1",
    // A socket's path may be too long or hold spaces, and nobody needs it.
    unix_socket_directories: "",
    fsync: "on",
    shared_buffers: "64MB",
    max_connections: "100",
    jit: "off",
    timezone: "UTC",
    log_timezone: "UTC",
    logging_collector: "off",
    log_destination: "stderr",
    lc_messages: "C",
    // Statements and DETAIL lines carry values, and values may be secrets: clients get them, the log does not.
    log_error_verbosity: "terse",
    log_min_error_statement: "panic",
  };
}

/** The lock file's status line is the server's own word, and needs no connection. */
async function becomesReady(server: ServerProcess, dataDir: string, clock: Clock): Promise<boolean> {
  const deadlineMs = clock.mono() + START_TIMEOUT_MS;
  while (!server.hasExited() && clock.mono() < deadlineMs) {
    const file = readPostmasterFile(dataDir);
    if (file?.pid === server.pid && file.status === "ready") return true;
    await clock.sleep(20);
  }
  return false;
}

function startFailure(server: ServerProcess, dataDir: string, takenPort: number | undefined): SkepError {
  const words = server.lastLines().slice(-1_000);
  if (/lock file "postmaster\.pid" already exists/.test(words)) return new SkepError("already_running", `a PostgreSQL server already uses ${dataDir}`);
  if (takenPort !== undefined) return new SkepError("database_unavailable", `port ${takenPort} is taken; choose another for the database`);
  return new SkepError("database_unavailable", `PostgreSQL did not start in ${dataDir}: ${words}`);
}

function describe(server: ServerProcess, place: Place, port: number, password: string): RunningPostgres {
  return {
    url: `postgres://${DATABASE_USER}:${password}@127.0.0.1:${port}/postgres`,
    port,
    pid: server.pid,
    how: place.privileges.how,
    dataDir: place.dataDir,
    exited: server.exited,
    stop: () => server.stop(),
  };
}

function findFreePort(): Promise<number> {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.once("error", fail);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => done(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
