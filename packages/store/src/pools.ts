/**
 * Three pools, so that a slow API query cannot starve heartbeats, nor a sweep either (faults F21). Every wait has an
 * end on both sides of the wire: the server's own timeouts, and the driver's for a server that no longer answers.
 */
import { SkepError } from "@skep/core";
import type { Logger, PoolUse, StorePool } from "@skep/core";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import type { Db } from "./db.ts";
import { isConnectionLost, StoreError, toStoreError } from "./errors.ts";

/** Too few make waiting the bottleneck; too many cost PostgreSQL memory and make it switch instead of work. */
export const DEFAULT_POOL_SIZES: Readonly<Record<StorePool, number>> = { beats: 4, api: 10, background: 6 };

/** Below: a busy minute looks like an outage. Above: a stuck statement holds its pool, and its caller has long gone. */
const STATEMENT_TIMEOUT_MS = 5_000;
const LOCK_TIMEOUT_MS = 2_000;
const IDLE_IN_TRANSACTION_MS = 10_000;
/** The driver's limit, above the server's, for a server that is gone without a word. */
const QUERY_TIMEOUT_MS = 6_000;
const CONNECT_TIMEOUT_MS = 2_000;
const KEEPALIVE_DELAY_MS = 10_000;

export const connectionConfig = (url: string, applicationName: string): pg.ClientConfig => ({
  connectionString: url,
  application_name: applicationName,
  statement_timeout: STATEMENT_TIMEOUT_MS,
  lock_timeout: LOCK_TIMEOUT_MS,
  idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
  query_timeout: QUERY_TIMEOUT_MS,
  connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  keepAlive: true,
  keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS,
  // What is acknowledged is on disk, whatever the server's default; times come in UTC and ISO style.
  options: "-c synchronous_commit=on -c timezone=UTC -c datestyle=ISO",
});

export interface ConnectionPool {
  /** Statements outside a transaction. */
  readonly db: Db;
  /** Refuses with `overloaded` when more wait than could be served within the timeouts. */
  admit(): void;
  transaction<T>(work: (db: Db) => Promise<T>): Promise<T>;
  use(): PoolUse;
  end(): Promise<void>;
}

export interface PoolOptions {
  readonly url: string;
  readonly name: StorePool;
  readonly size: number;
  readonly applicationName: string;
  readonly logger: Logger;
}

export function createPool(options: PoolOptions): ConnectionPool {
  const { name, size, logger } = options;
  const pool = new pg.Pool({ ...connectionConfig(options.url, `${options.applicationName}-${name}`), max: size });
  // An idle connection that the server ends emits here; without a listener it would end the process.
  pool.on("error", (error) => logger.warn({ pool: name, error: toStoreError(error).message }, "an idle database connection broke"));
  // The driver counts as waiting whoever an idle or a new connection will serve in a moment.
  const queuedNow = (): number => pool.waitingCount - pool.idleCount - (size - pool.totalCount);
  const admit = (): void => {
    const queued = queuedNow();
    if (queued > 2 * size) throw new SkepError("overloaded", `the ${name} queue for the database is full`, { retryAfterMs: 1_000 });
  };
  return {
    db: drizzle(pool),
    admit,
    use: () => ({ open: pool.totalCount, idle: pool.idleCount, waiting: Math.max(0, queuedNow()), max: size }),
    end: () => pool.end(),
    async transaction(work) {
      admit();
      const client = await pool.connect();
      let broken: Error | undefined;
      const onError = (error: Error): void => void (broken = error);
      client.on("error", onError);
      try {
        await client.query("BEGIN");
        const result = await work(drizzle(client));
        const end = await client.query("COMMIT");
        // PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error: saying "done" would be a lie.
        if (end.command !== "COMMIT") throw new StoreError("the transaction had failed and was rolled back", { sqlState: "25P02" });
        return result;
      } catch (error) {
        if (isConnectionLost(error)) broken ??= error as Error;
        else await client.query("ROLLBACK").catch((reason: Error) => void (broken ??= reason));
        throw error;
      } finally {
        client.removeListener("error", onError);
        // A connection that broke or timed out may still be at work: it never goes back to the pool.
        client.release(broken);
      }
    },
  };
}
