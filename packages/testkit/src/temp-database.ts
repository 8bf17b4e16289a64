/**
 * A database of its own for each test, cloned from a template that was migrated once: ~50 ms instead of a whole
 * migration, and never another test's rows.
 */
import { randomBytes } from "node:crypto";
import { runSql, withConnection } from "@skep/store/server";
import { MIGRATIONS_DIR, migrationTexts, schemaFingerprint } from "./migrations.ts";

/** Any number, the same in all test processes: one of them makes the template, the others wait. */
const TEMPLATE_LOCK = 7_245_001;

export interface TempDatabase extends AsyncDisposable {
  readonly url: string;
  readonly name: string;
  /** Cuts off whoever is still connected. Idempotent. */
  drop(): Promise<void>;
}

export interface TempDatabaseOptions {
  /** A superuser's URL on the server to use; see `inject("postgres")`. */
  readonly url: string;
  /** False: no schema at all, for tests of the migrations themselves. Default true. */
  readonly migrated?: boolean;
}

export async function tempDatabase(options: TempDatabaseOptions): Promise<TempDatabase> {
  const name = `skep_test_${randomBytes(6).toString("hex")}`;
  const template = options.migrated === false ? "template0" : await makeTemplate(options.url);
  await runSql(options.url, `CREATE DATABASE ${name} TEMPLATE ${template}`);
  let dropped: Promise<unknown> | undefined;
  const drop = async (): Promise<void> => {
    await (dropped ??= runSql(options.url, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  };
  return { url: withDatabase(options.url, name), name, drop, [Symbol.asyncDispose]: drop };
}

async function makeTemplate(url: string): Promise<string> {
  const name = `skep_template_${schemaFingerprint()}`;
  const isThere = async (): Promise<boolean> => (await runSql(url, "SELECT 1 FROM pg_database WHERE datname = $1", [name])).length > 0;
  if (await isThere()) return name;
  await withConnection(url, async (run) => {
    await run("SELECT pg_advisory_lock($1)", [TEMPLATE_LOCK]);
    if (await isThere()) return;
    // Under a draft's name until it is whole: a killed run must not leave half a template to clone.
    const draft = `${name}_draft`;
    await run(`DROP DATABASE IF EXISTS ${draft} WITH (FORCE)`);
    await run(`CREATE DATABASE ${draft} TEMPLATE template0`);
    await migrateDraft(withDatabase(url, draft));
    await run(`ALTER DATABASE ${draft} RENAME TO ${name}`);
  });
  return name;
}

/** By the store's own migrator, so that its journal is in the template and a master finds nothing left to do. */
async function migrateDraft(url: string): Promise<void> {
  const { migrate } = (await import("@skep/store")) as { migrate?: (url: string, options: { migrationsDir: string }) => Promise<unknown> };
  if (migrate !== undefined) return void (await migrate(url, { migrationsDir: MIGRATIONS_DIR }));
  for (const text of migrationTexts()) await runSql(url, text);
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
