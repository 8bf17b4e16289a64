import { runSql } from "@skep/store/server";
import { describe, expect, inject, test } from "vitest";
import { tempDatabase } from "@skep/testkit";
import { useDatabase } from "@skep/testkit/vitest";

const servers = (["embedded", "system"] as const).filter((server) => inject("postgres")[server] !== null);

describe.each(servers)("a temporary database on the %s server", (server) => {
  const url = (): string => inject("postgres")[server]!;
  const used = useDatabase({ server });

  test("is usable inside the block", async () => {
    expect(await runSql(used.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  });

  test("each has its own rows, and goes away with its connections", async () => {
    const [a, b] = await Promise.all([tempDatabase({ url: url() }), tempDatabase({ url: url() })]);
    await runSql(a.url, "CREATE TABLE only_here (n int)");
    await expect(runSql(b.url, "SELECT * FROM only_here")).rejects.toThrow("only_here");
    expect(await runSql(a.url, "SELECT * FROM only_here")).toEqual([]);
    await a.drop();
    await a.drop();
    await b[Symbol.asyncDispose]();
    await expect(runSql(a.url, "SELECT 1")).rejects.toThrow("does not exist");
  });

  test("without migrations it is empty", async () => {
    await using database = await tempDatabase({ url: url(), migrated: false });
    expect(await runSql(database.url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).toEqual([]);
  });
});
