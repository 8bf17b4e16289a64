/**
 * Vitest's global set-up: one embedded PostgreSQL, and the machine's own when it has one, per run. Tests take the
 * URLs with `inject("postgres")`. A server that cannot be had is announced loudly: silence would read as "tested".
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createLogger, systemClock } from "@skep/runtime";
import { startEmbeddedPostgres, startSystemPostgres } from "@skep/store/server";
import type { RunningPostgres } from "@skep/store/server";
import type { TestProject } from "vitest/node";
import { sweepTempDirs, tempDir } from "../temp-dir.ts";

export interface PostgresForTests {
  /** The server to test on: SKEP_TEST_DATABASE_URL if set, else an embedded one. */
  readonly embedded: string;
  /** The machine's own PostgreSQL (15 or newer), or null when it has none. */
  readonly system: string | null;
}

declare module "vitest" {
  interface ProvidedContext {
    postgres: PostgresForTests;
  }
}

interface Started {
  readonly urls: PostgresForTests;
  stop(): Promise<void>;
}

/** The projects of one run share the servers: the module is loaded once per project, the global object is not. */
const shared = globalThis as { __skepPostgres?: { users: number; started: Promise<Started> } | undefined };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const entry = (shared.__skepPostgres ??= { users: 0, started: startPostgresForTests() });
  entry.users++;
  project.provide("postgres", (await entry.started).urls);
  return async () => {
    if (--entry.users > 0) return;
    shared.__skepPostgres = undefined;
    await (await entry.started).stop();
    sweepTempDirs();
  };
}

/** Starts the servers; also for programs outside vitest, such as the benchmark. */
export async function startPostgresForTests(): Promise<Started> {
  const given = process.env["SKEP_TEST_DATABASE_URL"];
  const binDir = findSystemBinDir();
  // Nobody will miss this data, and a test never survives a power cut: without fsync the suite is several times faster.
  const extraConfig = { fsync: "off", synchronous_commit: "off", full_page_writes: "off", max_connections: "300" };
  const common = { clock: systemClock(), logger: createLogger({ name: "test-postgres", level: "error", destination: "stderr" }), extraConfig };
  const [embedded, system] = await Promise.all([
    given ? undefined : startEmbeddedPostgres({ ...common, dataDir: join(tempDir("embedded"), "data") }),
    binDir === undefined ? undefined : startSystemPostgres({ ...common, binDir, dataDir: join(tempDir("system"), "data") }).catch(announce),
  ]);
  if (binDir === undefined) announce("pg_config names no server");
  const running = [embedded, system].filter((server): server is RunningPostgres => server !== undefined);
  return {
    urls: { embedded: given ?? embedded!.url, system: system?.url ?? null },
    stop: async () => void (await Promise.all(running.map((server) => server.stop()))),
  };
}

/** Where the machine's own server programs are; undefined when there are none. */
export function findSystemBinDir(): string | undefined {
  try {
    const binDir = execFileSync("pg_config", ["--bindir"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    return existsSync(join(binDir, "postgres")) ? binDir : undefined;
  } catch {
    return undefined;
  }
}

function announce(reason: unknown): undefined {
  console.warn(`\n*** NO SYSTEM POSTGRESQL: tests on it are SKIPPED (${reason instanceof Error ? reason.message : String(reason)}) ***\n`);
  return undefined;
}
