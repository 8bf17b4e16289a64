import { readdirSync, rmSync, statSync } from "node:fs";
import { cp, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createLogger, systemClock } from "@skep/runtime";
import { runSql, startEmbeddedPostgres, startSystemPostgres } from "@skep/store/server";
import type { RunningPostgres } from "@skep/store/server";
import { tempDir } from "@skep/testkit";
import { findSystemBinDir } from "@skep/testkit/vitest";
import { afterEach, describe, expect, test } from "vitest";
import { copyBinaries, findEmbeddedBinaries, linkLibraries } from "./binaries.ts";
import { runCommand } from "./run-command.ts";

/** No test here cuts the power: waiting for the disk would be most of its time. */
const common = { clock: systemClock(), logger: createLogger({ level: "silent", name: "test" }), extraConfig: { fsync: "off" } };
const isRoot = process.getuid?.() === 0;
const systemBinDir = findSystemBinDir();
const cleanUp: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

function keep(server: RunningPostgres): RunningPostgres {
  if (server.how === "dropped-user") cleanUp.push(() => rmSync(dirname(server.dataDir), { recursive: true, force: true }));
  cleanUp.push(() => server.stop());
  return server;
}

describe.skipIf(!isRoot)("as root where user namespaces are forbidden", () => {
  test("another user runs it from below /var/lib/skep, and it stays there", async () => {
    const dataDir = join(tempDir("private"), "data");
    const first = keep(await startEmbeddedPostgres({ ...common, dataDir, privileges: "dropped-user" }));
    expect(first.how).toBe("dropped-user");
    expect(first.dataDir).toMatch(/^\/var\/lib\/skep\/[0-9a-f]{16}\/data$/);
    expect(statSync(`/proc/${first.pid}`).uid).not.toBe(0);
    await runSql(first.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)");
    await first.stop();
    // Left to choose, it must not go back to the given directory, which is empty.
    const second = keep(await startEmbeddedPostgres({ ...common, dataDir }));
    expect([second.how, second.dataDir]).toEqual(["dropped-user", first.dataDir]);
    expect(await runSql(second.url, "SELECT n FROM kept")).toEqual([{ n: 1 }]);
  });

  test("data that was made otherwise is taken along", async () => {
    const dataDir = join(tempDir("private"), "data");
    const first = keep(await startEmbeddedPostgres({ ...common, dataDir }));
    await runSql(first.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)");
    await first.stop();
    const second = keep(await startEmbeddedPostgres({ ...common, dataDir, privileges: "dropped-user" }));
    expect(await runSql(second.url, "SELECT n FROM kept")).toEqual([{ n: 1 }]);
  });
});

test("a way that is impossible here is refused with those that are possible", async () => {
  const start = startEmbeddedPostgres({ ...common, dataDir: join(tempDir(), "data"), privileges: isRoot ? "direct" : "userns" });
  await expect(start).rejects.toMatchObject({ code: "database_unavailable", detail: expect.stringContaining("possible: ") as string });
});

test("libraries without their links are linked, or copied when the package cannot be written", async () => {
  const embedded = await findEmbeddedBinaries();
  const bare = join(tempDir("package"), "native");
  await cp(embedded.nativeDir!, bare, { recursive: true, verbatimSymlinks: true });
  for (const name of readdirSync(join(bare, "lib"))) if (/\.so(\.\d+)?$/.test(name) && /^lib(pq|icu)/.test(name)) await rm(join(bare, "lib", name));
  const initdb = async (binDir: string) => (await runCommand([join(binDir, "initdb"), "--version"], undefined)).code;
  // Control: this is how the package looks when install scripts are blocked.
  expect(await initdb(join(bare, "bin"))).not.toBe(0);
  const copied = await copyBinaries({ binDir: join(bare, "bin"), nativeDir: bare, label: "copy" }, tempDir("copies"));
  expect(await initdb(copied.binDir)).toBe(0);
  expect(await initdb(join(bare, "bin"))).not.toBe(0);
  expect(await linkLibraries(bare)).toBe(true);
  expect(await initdb(join(bare, "bin"))).toBe(0);
  await rm(join(bare, "lib"), { recursive: true });
  expect(await linkLibraries(bare)).toBe(false);
});

test.skipIf(systemBinDir === undefined)("the machine's own PostgreSQL starts in the same way", async () => {
  const server = keep(await startSystemPostgres({ ...common, binDir: systemBinDir!, dataDir: join(tempDir("with space"), "data") }));
  const [row] = await runSql(server.url, "SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding");
  expect(row!["version"]).toBeGreaterThanOrEqual(150_000);
  expect(row!["encoding"]).toBe("UTF8");
});

test("a directory without programs is explained", async () => {
  const parent = tempDir();
  const start = startSystemPostgres({ ...common, binDir: tempDir("empty"), dataDir: join(parent, "data") });
  await expect(start).rejects.toMatchObject({ code: "database_unavailable", detail: expect.stringContaining("cannot run") as string });
  expect(readdirSync(parent)).toEqual([]);
});
