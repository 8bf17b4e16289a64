/**
 * Which database this is. A standby cannot promise anything, and a copy or a restore is another history: its
 * transaction ids start elsewhere, so cursors and the order of events would lie.
 */
import { SkepError } from "@skep/core";
import { sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";

/** Throws `database_unavailable` with what to do for a standby, an unmigrated database, and another cluster's copy. */
export async function checkCluster(db: Db): Promise<void> {
  const [standby] = await rowsOf<{ standby: boolean; migrated: boolean }>(
    db.execute(sql`SELECT pg_is_in_recovery() AS standby, to_regclass('cluster_meta') IS NOT NULL AS migrated`),
  );
  if (standby?.standby === true) throw new SkepError("database_unavailable", "this PostgreSQL server is a standby: connect to its primary");
  if (standby?.migrated !== true) throw new SkepError("database_unavailable", "this database has no schema yet: run the migrations first");
  const [facts] = await rowsOf<{ same: boolean }>(
    db.execute(sql`SELECT m.system_identifier = c.system_identifier AS same FROM cluster_meta m, pg_control_system() c`),
  );
  if (facts === undefined) throw new SkepError("database_unavailable", "cluster_meta is empty: this database was not made by the migrations");
  if (facts.same !== true) {
    throw new SkepError("database_unavailable", "this database was copied or restored from another PostgreSQL cluster: adopt it first, which closes every session and expires every event cursor");
  }
}

/**
 * Makes a restored or copied database this cluster's own: a new lineage, so that old event cursors are told to start
 * afresh; every agent registers again. Idempotent. Returns whether anything had to be done.
 */
export async function adoptCluster(db: Db): Promise<boolean> {
  const adopted = await rowsOf(
    db.execute(sql`
      UPDATE cluster_meta m SET lineage = gen_random_uuid(), system_identifier = c.system_identifier, pin_version = pin_version + 1, pruned_xid = '0', pruned_id = 0
      FROM pg_control_system() c WHERE m.system_identifier <> c.system_identifier RETURNING m.lineage`),
  );
  if (adopted.length === 0) return false;
  await db.execute(sql`UPDATE hosts SET session_epoch = session_epoch + 1, session_boot_id = NULL, version = version + 1 WHERE status <> 'decommissioned'`);
  await db.execute(sql`UPDATE host_sessions SET closed_at = now() WHERE closed_at IS NULL`);
  return true;
}
