/**
 * Migrations: forward-only SQL files, in the journal's order, each in a transaction with the row that says it ran.
 * Invariants: one migrator at a time, whatever starts at once; a database that a newer Skep has migrated is refused,
 * and so is one whose history is not ours.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SkepError } from "@skep/core";
import type { Logger } from "@skep/core";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { adoptCluster } from "./cluster.ts";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";
import { toStoreError } from "./errors.ts";
import { connectionConfig } from "./pools.ts";

/** The same depth from `src` and from `dist`, so that it works from a clone. */
export const MIGRATIONS_DIR = fileURLToPath(new URL("../../../migrations", import.meta.url));
/** Any number, the same for all who migrate. */
const LOCK = 7_245_000;
/** Another master may be at a long migration; waiting for ever would hide one that hangs. */
const LOCK_WAIT_MS = 120_000;

export interface JournalEntry {
  readonly idx: number;
  readonly tag: string;
  readonly sha256: string;
}

/** The journal, checked: strictly increasing from 0, and every file still what it was when it was entered. */
export function readJournal(dir: string = MIGRATIONS_DIR): readonly JournalEntry[] {
  const { entries } = JSON.parse(readFileSync(join(dir, "meta", "_journal.json"), "utf8")) as { entries: readonly JournalEntry[] };
  entries.forEach((entry, position) => {
    if (entry.idx !== position || !entry.tag.startsWith(`${String(position).padStart(4, "0")}_`)) {
      throw new Error(`migrations/meta/_journal.json: entry ${position} is ${entry.idx} ${entry.tag}; entries count up from 0`);
    }
    if (createHash("sha256").update(readSql(dir, entry)).digest("hex") !== entry.sha256) {
      throw new Error(`migrations/${entry.tag}.sql is not what the journal says: migrations are never edited, add a new one`);
    }
  });
  return entries;
}

const readSql = (dir: string, entry: JournalEntry): string => readFileSync(join(dir, `${entry.tag}.sql`), "utf8");

export interface MigrateOptions {
  readonly logger?: Logger;
  /** Default: the repository's. */
  readonly migrationsDir?: string;
  /** Take over a database that was restored or copied from another cluster. */
  readonly adopt?: boolean;
}

/** Brings the database up to date; safe to call from any number of masters at once. Returns the tags it applied. */
export async function migrate(url: string, options: MigrateOptions = {}): Promise<readonly string[]> {
  const dir = options.migrationsDir ?? MIGRATIONS_DIR;
  const journal = readJournal(dir);
  const limits = { statement_timeout: 0, query_timeout: 0, lock_timeout: LOCK_WAIT_MS, idle_in_transaction_session_timeout: 0 };
  const client = new pg.Client({ ...connectionConfig(url, "skep-migrate"), ...limits });
  client.on("error", (error) => options.logger?.warn({ error: toStoreError(error).message }, "the migration's connection broke"));
  const db: Db = drizzle(client);
  try {
    await client.connect();
    await client.query("SELECT pg_advisory_lock($1)", [LOCK]);
    await client.query(
      "CREATE TABLE IF NOT EXISTS schema_migrations (idx integer PRIMARY KEY, tag text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
    );
    const done = await appliedEntries(db);
    checkHistory(journal, done);
    const applied: string[] = [];
    for (const entry of journal.slice(done.length)) {
      await client.query("BEGIN");
      await client.query(readSql(dir, entry));
      await client.query("INSERT INTO schema_migrations (idx, tag, sha256) VALUES ($1, $2, $3)", [entry.idx, entry.tag, entry.sha256]);
      await client.query("COMMIT");
      options.logger?.info({ migration: entry.tag }, "migration applied");
      applied.push(entry.tag);
    }
    if (options.adopt === true && (await adoptCluster(db))) options.logger?.warn({}, "the database was adopted from another cluster: agents register again, event cursors have expired");
    return applied;
  } catch (error) {
    throw toStoreError(error);
  } finally {
    // Ends the session, and with it the lock and whatever transaction failed.
    await client.end().catch(() => undefined);
  }
}

/** Throws `schema_too_new` when the database is ahead of this build or has another history. */
export async function checkSchema(db: Db): Promise<void> {
  const [there] = await rowsOf<{ there: boolean }>(db.execute(sql`SELECT to_regclass('schema_migrations') IS NOT NULL AS there`));
  if (there?.there !== true) return;
  const journal = readJournal();
  const done = await appliedEntries(db);
  checkHistory(journal, done);
  if (done.length < journal.length) throw new SkepError("database_unavailable", `the database lacks migration ${journal[done.length]!.tag}: run the migrations first`);
}

async function appliedEntries(db: Db): Promise<readonly JournalEntry[]> {
  return rowsOf<JournalEntry>(db.execute(sql`SELECT idx, tag, sha256 FROM schema_migrations ORDER BY idx`));
}

function checkHistory(journal: readonly JournalEntry[], done: readonly JournalEntry[]): void {
  if (done.length > journal.length) {
    throw new SkepError("schema_too_new", `the database has migration ${done.at(-1)!.tag}, this Skep ends at ${journal.at(-1)?.tag ?? "none"}: run the newer Skep`);
  }
  done.forEach((entry, position) => {
    const ours = journal[position]!;
    if (entry.idx !== ours.idx || entry.tag !== ours.tag || entry.sha256 !== ours.sha256) {
      throw new SkepError("schema_too_new", `the database's migration ${entry.tag} is not this build's ${ours.tag}: run the Skep that migrated it`);
    }
  });
}
