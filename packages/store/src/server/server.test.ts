import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { createLogger, systemClock } from "@skep/runtime";
import { runSql, startEmbeddedPostgres } from "@skep/store/server";
import type { RunningPostgres, StartPostgresOptions } from "@skep/store/server";
import { eventually, ManualClock, tempDir, unusedPort } from "@skep/testkit";
import { afterEach, expect, test } from "vitest";
import { claimDataDir } from "./data-dir.ts";
import { findServerPids, isAlive } from "./process-facts.ts";

const lines: string[] = [];
const logger = createLogger({ level: "debug", name: "test", destination: { write: (line: string) => void lines.push(line) } });
const started: RunningPostgres[] = [];
afterEach(async () => {
  for (const server of started.splice(0)) {
    await server.stop();
    if (server.how === "dropped-user") rmSync(dirname(server.dataDir), { recursive: true, force: true });
  }
  lines.length = 0;
});

/** No test here cuts the power: waiting for the disk would be most of its time. */
const QUICK = { extraConfig: { fsync: "off" } };

async function start(dataDir: string, extra: Partial<StartPostgresOptions> = QUICK): Promise<RunningPostgres> {
  const server = await startEmbeddedPostgres({ dataDir, clock: systemClock(), logger, ...extra });
  started.push(server);
  return server;
}

/** The others notice the postmaster's death and may be quicker than we are. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

const awkwardDir = (): string => join(tempDir("it's a \"dir\" with spaces"), "data dir");

test("a fresh server: private, durable, UTF-8, on loopback with a password; its data outlives a restart", async () => {
  const dataDir = awkwardDir();
  const first = await start(dataDir, {});
  expect(process.getuid?.() === 0 ? ["userns", "dropped-user"] : ["direct"]).toContain(first.how);
  expect(statSync(first.dataDir).mode & 0o777).toBe(0o700);
  const [settings] = await runSql(
    first.url,
    `SELECT current_setting('listen_addresses') AS listen, current_setting('fsync') AS fsync, current_setting('unix_socket_directories') AS sockets,
            current_setting('server_encoding') AS encoding, current_setting('data_checksums') AS checksums,
            (SELECT datlocale FROM pg_database WHERE datname = current_database()) AS locale, upper('straße ä') AS upper`,
  );
  expect(settings).toEqual({ listen: "127.0.0.1", fsync: "on", sockets: "", encoding: "UTF8", checksums: "on", locale: "C.UTF-8", upper: "STRASSE Ä".replace("SS", "ß") });
  await runSql(first.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)");
  await first.stop();
  await first.stop();
  expect(await first.exited).toEqual({ code: 0, signal: null });
  expect(readdirSync(dirname(dataDir))).toEqual(["data dir"]);

  const second = await start(dataDir);
  expect(await runSql(second.url, "SELECT n FROM kept")).toEqual([{ n: 42 }]);
  const password = new URL(second.url).password;
  await expect(runSql(second.url.replace(password, "wrong"), "SELECT 1")).rejects.toThrow("password authentication failed");
  expect(lines.join("")).not.toContain(password);
  expect(readFileSync(`/proc/${second.pid}/cmdline`, "utf8")).not.toContain(password);
});

test("a second start on a running directory is refused with the pid, and the first goes on", async () => {
  const dataDir = awkwardDir();
  const first = await start(dataDir);
  await expect(start(dataDir)).rejects.toMatchObject({ code: "already_running", detail: expect.stringContaining(`process ${first.pid}, started by process ${process.pid}`) as string });
  expect(await runSql(first.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
});

test("of two starts at once on a fresh directory one wins and the other is refused", async () => {
  const dataDir = awkwardDir();
  const results = await Promise.allSettled([start(dataDir), start(dataDir)]);
  expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  expect(results.find((result) => result.status === "rejected")).toMatchObject({ reason: { code: "already_running" } });
  expect(readdirSync(dirname(dataDir))).toEqual(["data dir"]);
});

test("after kill -9 of every server process what was committed is there", async () => {
  const dataDir = awkwardDir();
  const first = await start(dataDir);
  await runSql(first.url, "CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 1000)");
  for (const pid of findServerPids(first.dataDir)) killIfThere(pid);
  expect(await first.exited).toEqual({ code: null, signal: "SIGKILL" });
  const second = await start(dataDir);
  expect(await runSql(second.url, "SELECT count(*)::int AS n FROM kept")).toEqual([{ n: 1000 }]);
});

test("after kill -9 of the postmaster alone its orphans are waited for, though its supervisor lives", async () => {
  const dataDir = awkwardDir();
  const first = await start(dataDir);
  // One that cannot notice yet that its postmaster is gone.
  const slow = findServerPids(first.dataDir).find((pid) => pid !== first.pid)!;
  process.kill(slow, "SIGSTOP");
  process.kill(first.pid, "SIGKILL");
  await first.exited;
  const clock = new ManualClock();
  let free = false;
  const claiming = claimDataDir(first.dataDir, clock, logger).then(() => (free = true));
  await clock.sleepers(1);
  expect(findServerPids(first.dataDir)).toContain(slow);
  process.kill(slow, "SIGCONT");
  await eventually(async () => (await clock.run(50), free), { what: "the orphans are gone" });
  await claiming;
  const second = await start(dataDir);
  expect(await runSql(second.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
});

test("control: orphans that do not go are not waited for for ever", async () => {
  const first = await start(awkwardDir());
  const stuck = findServerPids(first.dataDir).find((pid) => pid !== first.pid)!;
  process.kill(stuck, "SIGSTOP");
  process.kill(first.pid, "SIGKILL");
  await first.exited;
  const clock = new ManualClock();
  const claiming = expect(claimDataDir(first.dataDir, clock, logger)).rejects.toMatchObject({ code: "already_running" });
  await clock.sleepers(1);
  clock.advance(60_000);
  await claiming;
  process.kill(stuck, "SIGCONT");
});

test("a lock file whose pid is a stranger's by now does not block the start", async () => {
  const dataDir = awkwardDir();
  const first = await start(dataDir);
  const path = join(first.dataDir, "postmaster.pid");
  const file = readFileSync(path, "utf8");
  await first.stop();
  writeFileSync(path, file.replace(/^\d+/, String(process.ppid)));
  await start(dataDir);
  expect(lines.join("")).toContain("removed a stale postmaster.pid");
});

test("a taken port, a directory full of something else, and a broken setting are explained", async () => {
  const port = await unusedPort();
  const taken = createServer().listen(port, "127.0.0.1");
  await eventually(() => taken.listening, { what: "the port is taken" });
  const dataDir = awkwardDir();
  await expect(start(dataDir, { ...QUICK, port })).rejects.toMatchObject({ code: "database_unavailable", detail: `port ${port} is taken; choose another for the database` });
  await new Promise((resolve) => taken.close(resolve));
  expect((await start(dataDir, { ...QUICK, port })).port).toBe(port);

  const other = tempDir("other");
  writeFileSync(join(other, "thesis.txt"), "precious");
  await expect(start(other)).rejects.toMatchObject({ code: "database_unavailable", detail: expect.stringContaining("neither empty nor") as string });
  expect(readdirSync(other)).toEqual(["thesis.txt"]);
  await expect(start(awkwardDir(), { extraConfig: { fsync: "off", shared_buffers: "much" } })).rejects.toMatchObject({ code: "database_unavailable", detail: expect.stringContaining("shared_buffers") as string });
});

test("an initdb that was killed leaves nothing that the next start trips over", async () => {
  const dataDir = awkwardDir();
  const first = await start(dataDir);
  await first.stop();
  rmSync(first.dataDir, { recursive: true });
  const draft = `${first.dataDir}.init-999999999-00000000`;
  mkdirSync(draft);
  writeFileSync(join(draft, "PG_VERSION"), "18");
  const second = await start(dataDir);
  expect(readdirSync(dirname(second.dataDir)).filter((name) => name.includes(".init-"))).toEqual([]);
});

test("a server that ends by itself is noticed", async () => {
  const server = await start(awkwardDir());
  process.kill(server.pid, "SIGQUIT");
  expect((await server.exited).signal ?? (await server.exited).code).not.toBeNull();
  expect(isAlive(server.pid)).toBe(false);
});
