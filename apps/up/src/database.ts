/**
 * The database: the embedded one, started here and started again when it dies, or the operator's own, which is only
 * looked at. Invariant: a restarted server listens where its predecessor did, or every master would lose it.
 */
import { SkepError } from "@skep/core";
import type { Clock, Logger } from "@skep/core";
import { runSql, startEmbeddedPostgres } from "@skep/store/server";
import type { RunningPostgres } from "@skep/store/server";

const OLDEST_VERSION = 150_000;
const RESTART_DELAY_MS = 1_000;

export interface Database {
  /** With the password. */
  readonly url: string;
  /** One line for a person, without it. */
  readonly label: string;
  stop(): Promise<void>;
}

export interface DatabaseDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Throws `database_unavailable` when the server cannot be reached or is older than 15. */
export async function useOwnDatabase(url: string): Promise<Database> {
  let version: number;
  try {
    const [row] = await runSql(url, "SELECT current_setting('server_version_num')::int AS version");
    version = Number(row?.["version"]);
  } catch (cause) {
    throw new SkepError("database_unavailable", `the database of --database-url cannot be used: ${(cause as Error).message || (cause as { code?: string }).code}`, { cause });
  }
  checkVersion(version);
  return { url, label: `your PostgreSQL ${Math.floor(version / 10_000)}`, stop: () => Promise.resolve() };
}

/** `version` as `server_version_num` has it. Throws `database_unavailable` for what our migrations do not run on. */
export function checkVersion(version: number): void {
  if (version >= OLDEST_VERSION) return;
  throw new SkepError("database_unavailable", `the database is PostgreSQL ${Math.floor(version / 10_000)}; 15 or newer is needed. Upgrade it, or leave --database-url away for the embedded one`);
}

export async function startOwnedDatabase(dataDir: string, restart: boolean, { clock, logger }: DatabaseDeps): Promise<Database> {
  const stopping = new AbortController();
  let server: RunningPostgres = await startEmbeddedPostgres({ dataDir, clock, logger });
  const { port, url, how } = server;

  const keepRunning = async (): Promise<void> => {
    for (;;) {
      const exit = await server.exited;
      if (stopping.signal.aborted) return;
      logger.warn({ exit }, "the database ended by itself");
      if (!restart) return;
      for (let started = false; !started; ) {
        await clock.sleep(RESTART_DELAY_MS, stopping.signal);
        if (stopping.signal.aborted) return;
        // A stop that comes while this start is half-way waits for it, and then ends it.
        started = await startEmbeddedPostgres({ dataDir, clock, logger, port }).then(
          (next) => ((server = next), true),
          (err: unknown) => (logger.error({ err }, "the database could not be started again"), false),
        );
      }
      if (stopping.signal.aborted) return server.stop();
      logger.info({ pid: server.pid }, "the database runs again");
    }
  };
  const kept = keepRunning();
  return {
    url,
    label: `embedded PostgreSQL (${how})`,
    stop: async () => {
      stopping.abort();
      await server.stop();
      await kept;
    },
  };
}
