/** PostgreSQL as the store: pools, transactions and signals put together. Nothing else of the package is public but the migrations. */
import type { Clock, Logger, ProbeLane, Rng, Store, StorePool } from "@skep/core";
import { sql } from "drizzle-orm";
import { bindReads, bindTx } from "./bind.ts";
import { checkCluster } from "./cluster.ts";
import type { Db } from "./db.ts";
import { claimDispatchable, deliveriesFor } from "./dispatch.ts";
import { guard } from "./guard.ts";
import { toStoreError } from "./errors.ts";
import { createPool, DEFAULT_POOL_SIZES } from "./pools.ts";
import type { ConnectionPool } from "./pools.ts";
import { claimProbes } from "./reachability.ts";
import { reconcileCases } from "./reconcile.ts";
import { retain } from "./retain.ts";
import { createSignals } from "./signals.ts";
import { silentHosts, sweepCases } from "./sweep.ts";
import { checkSchema } from "./migrate.ts";
import { claimWebhookDeliveries } from "./webhooks.ts";

export interface PostgresStoreOptions {
  /** With the password: never logged. */
  readonly url: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Connections per pool. */
  readonly poolSizes?: Partial<Record<StorePool, number>>;
  /** What `pg_stat_activity` shows. */
  readonly applicationName: string;
}

/**
 * Connects and checks that the database is the one it was. Throws SkepError: `database_unavailable` when it cannot be
 * reached, is a standby, has no schema or was copied from elsewhere; `schema_too_new` when a newer Skep migrated it.
 */
export async function createPostgresStore(options: PostgresStoreOptions): Promise<Store> {
  const { url, logger, applicationName } = options;
  const sizes = { ...DEFAULT_POOL_SIZES, ...options.poolSizes };
  const poolOf = (name: StorePool): ConnectionPool => createPool({ url, name, size: sizes[name], applicationName, logger });
  const pools: Readonly<Record<StorePool, ConnectionPool>> = { beats: poolOf("beats"), api: poolOf("api"), background: poolOf("background") };
  const signals = createSignals(options);
  const close = async (): Promise<void> => {
    await signals.close();
    await Promise.all(Object.values(pools).map((pool) => pool.end()));
  };
  try {
    await checkCluster(pools.background.db);
    await checkSchema(pools.background.db);
  } catch (error) {
    await close();
    throw toStoreError(error);
  }

  const snapshot = <T>(work: (db: Db) => Promise<T>): Promise<T> =>
    pools.background.transaction(async (db) => {
      await db.execute(sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY`);
      return work(db);
    });
  const background = pools.background.db;

  const reads = guard(bindReads(pools.api.db, pools.beats.db), pools.api.admit);
  const passes = guard({
    transaction: <T>(work: (tx: ReturnType<typeof bindTx>) => Promise<T>, { pool = "api" }: { readonly pool?: StorePool } = {}): Promise<T> =>
      pools[pool].transaction((db) => work(bindTx(db))),
    claimDispatchable: (limit: number, claimMs: number) => claimDispatchable(background, limit, claimMs),
    claimProbes: (lane: ProbeLane, limit: number, everyMs: number) => claimProbes(background, lane, limit, everyMs),
    deliveriesFor: (ids: Parameters<Store["deliveriesFor"]>[0]) => deliveriesFor(background, ids),
    sweepCases: (limit: number, after: string | undefined) => snapshot((db) => sweepCases(db, limit, after)),
    silentHosts: (olderThanMs: number, limit: number) => snapshot((db) => silentHosts(db, olderThanMs, limit)),
    reconcileCases: (limit: number, after: string | undefined, options?: { readonly all?: boolean }) => snapshot((db) => reconcileCases(db, limit, after, options)),
    claimWebhookDeliveries: (limit: number, perWebhook: number, claimMs: number) => claimWebhookDeliveries(background, limit, perWebhook, claimMs),
    retain: (limits: Parameters<Store["retain"]>[0]) => pools.background.transaction((db) => retain(db, limits)),
  });
  let closed: Promise<void> | undefined;
  const poolUse = (): ReturnType<Store["poolUse"]> => ({ beats: pools.beats.use(), api: pools.api.use(), background: pools.background.use() });
  return { ...reads, ...passes, poolUse, onSignal: (listener) => signals.onSignal(listener), close: () => (closed ??= close()) };
}
