/** What every measurement is given: sizes, a scratch directory, a real PostgreSQL, and a place to say how far it is. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SkepError } from "@skep/core";
import { createLogger, systemClock } from "@skep/runtime";
import { startEmbeddedPostgres, type RunningPostgres } from "@skep/store/server";
import { tempAuthority, tempDatabase, type TempAuthority, type TempDatabase } from "@skep/testkit";
import type { BenchConfig } from "../config.ts";
import { startMaster, type Master } from "./master.ts";
import { startWorker, type Worker } from "./worker.ts";

export interface Bench {
  readonly config: BenchConfig;
  readonly dir: string;
  readonly postgres: RunningPostgres;
  readonly say: (line: string) => void;
  /** An empty, migrated database. */
  database(): Promise<TempDatabase>;
  authority(): TempAuthority;
  master(authority: TempAuthority, databaseUrl: string, heartbeatIntervalMs?: number, env?: Readonly<Record<string, string>>): Promise<Master>;
  /** `entry` is a module below src, without its extension. */
  worker(entry: string): Worker;
}

export async function openBench(config: BenchConfig, dir: string, say: (line: string) => void): Promise<Bench> {
  const clock = systemClock();
  const postgres = await startEmbeddedPostgres({ dataDir: join(dir, "postgres"), clock, logger: createLogger({ level: "error", name: "bench", destination: "stderr" }) });
  let masters = 0;
  return {
    config, dir, postgres, say,
    database: () => tempDatabase({ url: postgres.url }),
    authority: () => tempAuthority(),
    master: ({ authority }, databaseUrl, heartbeatIntervalMs, env) =>
      startMaster({ stateDir: join(dir, `master-${masters++}`), databaseUrl, authority, profileDir: config.profileDir, ...(heartbeatIntervalMs === undefined ? {} : { heartbeatIntervalMs }), ...(env === undefined ? {} : { env }) }),
    worker: (entry) => startWorker(fileURLToPath(new URL(`../${entry}.js`, import.meta.url))),
  };
}

/** A failure in words, with a SkepError's own. */
export const wordsOf = (error: unknown): string => (error instanceof SkepError ? `${error.code}: ${error.detail}` : error instanceof Error ? error.message : String(error)).split("\n")[0]!;

export const sleep = (ms: number): Promise<void> => systemClock().sleep(ms);
