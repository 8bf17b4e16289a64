/** Migrations on real servers: the expected whole, twice, all at once, and never backwards. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { migrate, MIGRATIONS_DIR, readJournal } from "@skep/store";
import { runSql } from "@skep/store/server";
import { tempDatabase, tempDir } from "@skep/testkit";
import { describe, expect, inject, test } from "vitest";
import { canonicalSchema } from "./canonical-schema.ts";
import { openStore } from "./open-store.ts";

const servers = (["embedded", "system"] as const).filter((server) => inject("postgres")[server] !== null);
const tags = readJournal().map((entry) => entry.tag);

describe.each(servers)("migrations on the %s server", (server) => {
  const empty = () => tempDatabase({ url: inject("postgres")[server]!, migrated: false });

  test("add up to migrations/schema.sql, and change nothing the second time", async () => {
    await using database = await empty();
    expect(await migrate(database.url)).toEqual(tags);
    const schema = await canonicalSchema(database.url);
    await expect(schema).toMatchFileSnapshot(join(MIGRATIONS_DIR, "schema.sql"));
    expect(await migrate(database.url)).toEqual([]);
    expect(await canonicalSchema(database.url)).toBe(schema);
  });

  test("run once, however many masters start", async () => {
    await using database = await empty();
    const applied = await Promise.all(Array.from({ length: 5 }, () => migrate(database.url)));
    expect(applied.flat()).toEqual(tags);
  });

  test("a newer database is refused, by the migrator and by the store", async () => {
    await using database = await tempDatabase({ url: inject("postgres")[server]! });
    await (await openStore(database.url)).close();
    await runSql(database.url, "INSERT INTO schema_migrations (idx, tag, sha256) VALUES ($1, $2, $3)", [tags.length, "9999_future", "x"]);
    await expect(migrate(database.url)).rejects.toMatchObject({ code: "schema_too_new" });
    await expect(openStore(database.url)).rejects.toMatchObject({ code: "schema_too_new" });
  });

  test("another history is refused", async () => {
    await using database = await tempDatabase({ url: inject("postgres")[server]! });
    await runSql(database.url, "UPDATE schema_migrations SET sha256 = 'another' WHERE idx = 0");
    await expect(migrate(database.url)).rejects.toMatchObject({ code: "schema_too_new" });
  });

  test("a migration that fails leaves nothing of itself, and can be mended", async () => {
    await using database = await empty();
    const dir = tempDir("migrations");
    cpSync(MIGRATIONS_DIR, dir, { recursive: true });
    addMigration(dir, "CREATE TABLE half (n int); SELECT 1 / 0;");
    await expect(migrate(database.url, { migrationsDir: dir })).rejects.toMatchObject({ name: "StoreError", sqlState: "22012" });
    expect(await runSql(database.url, "SELECT count(*)::int AS n FROM schema_migrations")).toEqual([{ n: tags.length }]);
    expect(await runSql(database.url, "SELECT to_regclass('half') AS half")).toEqual([{ half: null }]);
    addMigration(dir, "CREATE TABLE whole (n int);");
    expect(await migrate(database.url, { migrationsDir: dir })).toEqual([`${String(tags.length).padStart(4, "0")}_next`]);
  });

  test("0011: what an earlier version let arrive without a gate goes on as it began, and nothing else is touched", async () => {
    await using database = await empty();
    await migrate(database.url, { migrationsDir: upTo("0010_retention") });
    const [deployment, opened, ended, other] = Array.from({ length: 4 }, () => crypto.randomUUID());
    await runSql(database.url, "INSERT INTO deployments (id, name, generation, desired, reconcile, placement, rollout, failover, status) VALUES ($1, 'web', 2, 'running', 'auto', '{}', '{}', '{}', 'active')", [deployment]);
    const insert = (id: string, status: string, members: object) => runSql(database.url, `INSERT INTO rollouts (id, deployment_id, deployment, action, status, generation, desired, base_desired, policy, whole, wave, members, because, completed_at)
      VALUES ($1, $2, 'web', 'deploy', $3, 2, 'running', 'running', '{}', true, 1, $4, 'x', CASE WHEN $3 = 'running' THEN NULL ELSE now() END)`, [id, deployment, status, JSON.stringify(members)]);
    const stays = { host: "a", state: "open", wave: 1 };
    await insert(opened!, "running", [stays, { host: "b", state: "apart", rowId: "r" }]);
    await insert(ended!, "succeeded", [{ host: "c", state: "apart" }]);
    await insert(other!, "failed", [stays]);
    expect(await migrate(database.url)).toEqual(tags.slice(tags.indexOf("0011_rollout_placement")));
    const found = new Map((await runSql(database.url, "SELECT id, members, base_placement FROM rollouts")).map((row) => [row["id"], row]));
    expect(found.get(opened)).toMatchObject({ members: [stays, { host: "b", state: "passed", arriving: true, rowId: "r" }], base_placement: null });
    expect(found.get(ended)).toMatchObject({ members: [{ host: "c", state: "passed", arriving: true }] });
    expect(found.get(other)).toMatchObject({ members: [stays] });
  });

  test("an empty database and another cluster's are refused by the store, and a copy can be adopted", async () => {
    await using database = await empty();
    await expect(openStore(database.url)).rejects.toMatchObject({ code: "database_unavailable", detail: expect.stringContaining("run the migrations") as string });
    await migrate(database.url);
    const before = await openStore(database.url);
    const cursor = await before.eventHead();
    await before.close();
    await runSql(database.url, "UPDATE cluster_meta SET system_identifier = 1");
    await expect(openStore(database.url)).rejects.toMatchObject({ code: "database_unavailable", detail: expect.stringContaining("another PostgreSQL cluster") as string });
    await migrate(database.url, { adopt: true });
    const store = await openStore(database.url);
    expect(await store.readEvents(cursor, 10)).toEqual({ kind: "expired" });
    await store.close();
  });
});

/** The migrations as a version had them whose last one was `tag`. */
function upTo(tag: string): string {
  const dir = tempDir("migrations");
  cpSync(MIGRATIONS_DIR, dir, { recursive: true });
  const journal = JSON.parse(readFileSync(join(MIGRATIONS_DIR, "meta", "_journal.json"), "utf8")) as { entries: { tag: string }[] };
  writeFileSync(join(dir, "meta", "_journal.json"), JSON.stringify({ entries: journal.entries.slice(0, tags.indexOf(tag) + 1) }));
  return dir;
}

function addMigration(dir: string, text: string): void {
  const tag = `${String(tags.length).padStart(4, "0")}_next`;
  const entry = { idx: tags.length, tag, sha256: createHash("sha256").update(text).digest("hex") };
  writeFileSync(join(dir, `${tag}.sql`), text);
  const journal = JSON.parse(readFileSync(join(MIGRATIONS_DIR, "meta", "_journal.json"), "utf8")) as { entries: object[] };
  writeFileSync(join(dir, "meta", "_journal.json"), JSON.stringify({ entries: [...journal.entries, entry] }));
}
