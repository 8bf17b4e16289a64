import { chownSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createLogger, systemClock } from "@skep/runtime";
import { runSql, startEmbeddedPostgres } from "@skep/store/server";
import { eventually, requireBuilt, startProgram, tempDir } from "@skep/testkit";
import type { Program } from "@skep/testkit";
import { beforeAll, expect, test } from "vitest";
import { findServerPids, isAlive } from "./process-facts.ts";

const packageDir = fileURLToPath(new URL("../..", import.meta.url));
const supervise = fileURLToPath(new URL("test-programs/supervise.js", import.meta.url));
const NOBODY = 65_534;
const logger = createLogger({ level: "silent", name: "test" });
beforeAll(() => {
  requireBuilt(packageDir, "server");
  requireBuilt(join(packageDir, "../runtime"));
});

interface Server {
  readonly program: Program;
  readonly url: string;
  readonly pid: number;
  readonly how: string;
}

async function superviseIn(dataDir: string, deathWatch: string, as: { uid?: number; gid?: number } = {}): Promise<Server> {
  const program = startProgram([supervise, dataDir, deathWatch], as);
  const [line] = await program.output(/^\{.*\}$/m);
  return { program, ...(JSON.parse(line) as { url: string; pid: number; how: string }) };
}

const endProgram = async ({ program }: Server): Promise<void> => {
  program.child.stdin.end();
  expect(await program.exited).toEqual({ code: 0, signal: null });
};

const endOf = ({ child }: Program): Promise<unknown> => (child.exitCode === null && child.signalCode === null ? new Promise((resolve) => child.once("exit", resolve)) : Promise.resolve());

const childrenOf = (pid: number): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => {
      try {
        return new RegExp(`\\) \\S ${pid} `).test(readFileSync(`/proc/${child}/stat`, "utf8"));
      } catch {
        return false;
      }
    });

test.each(["kernel", "watchdog"])("kill -9 of the supervisor ends the server (%s), cleanly, and the next start has the data", async (deathWatch) => {
  const dataDir = join(tempDir("with space"), "data");
  const first = await superviseIn(dataDir, deathWatch);
  await runSql(first.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
  first.program.kill("SIGKILL");
  // The supervisor's own end, and no more: the next start has to cope with a server that is still on its way out.
  await endOf(first.program);
  const second = await superviseIn(dataDir, deathWatch);
  expect(isAlive(first.pid)).toBe(false);
  expect(await runSql(second.url, "SELECT n FROM kept")).toEqual([{ n: 7 }]);
  const log = second.program.stderr();
  expect(log).toContain("database system was shut down at");
  expect(log).not.toContain("automatic recovery");
  await endProgram(second);
  await eventually(() => findServerPids(dataDir).length === 0, { what: "no server is left" });
});

test("a server that nobody supervises any more is stopped by the next start", async () => {
  const dataDir = join(tempDir("with space"), "data");
  const first = await superviseIn(dataDir, "watchdog");
  const watchdogs = childrenOf(first.program.pid).filter((pid) => pid !== first.pid);
  expect(watchdogs).toHaveLength(1);
  process.kill(watchdogs[0]!, "SIGKILL");
  first.program.kill("SIGKILL");
  await first.program.exited;
  // Control: without its watchdog the server does stay.
  expect(await runSql(first.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  const second = await superviseIn(dataDir, "kernel");
  expect(isAlive(first.pid)).toBe(false);
  await endProgram(second);
});

test.skipIf(process.getuid?.() !== 0)("an ordinary user runs it directly, and kill -9 ends it there too", async () => {
  const dataDir = join(tempDir("home"), "data");
  // What mktemp would have made for that user: 0700 all the way is theirs.
  for (const path of [join(dataDir, "../.."), join(dataDir, "..")]) chownSync(path, NOBODY, NOBODY);
  const server = await superviseIn(dataDir, "kernel", { uid: NOBODY, gid: NOBODY });
  chownSync(join(dataDir, "../.."), 0, 0);
  expect(server.how).toBe("direct");
  server.program.kill("SIGKILL");
  await eventually(() => !isAlive(server.pid), { what: "the server is gone" });
});

test("a stopped server's watchdog is gone too", async () => {
  const server = await startEmbeddedPostgres({ dataDir: join(tempDir(), "data"), clock: systemClock(), logger, deathWatch: "watchdog" });
  const watchdogs = childrenOf(process.pid).filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`\0${server.pid}\0`));
  expect(watchdogs).toHaveLength(1);
  await server.stop();
  await eventually(() => !isAlive(watchdogs[0]!), { what: "the watchdog is gone" });
});
