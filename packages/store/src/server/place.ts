/**
 * Chooses as whom the server runs and from where, by trying: a folder of programs or data that the chosen
 * identity cannot enter is found here and not as a riddle in the server's log.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { cp, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SkepError } from "@skep/core";
import type { Logger } from "@skep/core";
import { copyBinaries, linkLibraries } from "./binaries.ts";
import type { Binaries } from "./binaries.ts";
import type { PrivilegeMode, Privileges } from "./privileges.ts";
import { findPrivileges } from "./privileges.ts";
import { runCommand } from "./run-command.ts";

/** Where another user keeps our data when ours is out of its reach. */
const SHARED_ROOT = "/var/lib/skep";
/** Left in the given data directory: once moved, the data stays moved, or a later start would open an old copy. */
const MOVED_FILE = "MOVED_TO";

export interface Place {
  readonly privileges: Privileges;
  readonly binDir: string;
  readonly dataDir: string;
}

/** Throws database_unavailable with every way that was tried. */
export async function findPlace(givenDir: string, binaries: Binaries, wanted: PrivilegeMode | undefined, logger: Logger): Promise<Place> {
  await mkdir(dirname(givenDir), { recursive: true, mode: 0o700 });
  const movedTo = await readFile(join(givenDir, MOVED_FILE), "utf8").then((text) => text.trim(), () => undefined);
  if (movedTo === undefined && holdsSomethingElse(givenDir)) {
    throw new SkepError("database_unavailable", `${givenDir} is neither empty nor a PostgreSQL data directory; move it away or choose another state directory`);
  }
  const tried: string[] = [];
  for (const privileges of await findPrivileges(movedTo === undefined ? wanted : "dropped-user")) {
    const dropped = privileges.how === "dropped-user";
    const reachable = await reachBinaries(binaries, privileges, dropped ? SHARED_ROOT : dirname(givenDir));
    if (reachable === undefined) {
      tried.push(`${privileges.how}: cannot run ${binaries.binDir}/postgres`);
      continue;
    }
    // Only now: data moved for a server that cannot run would have to be moved back.
    const dataDir = dropped ? (movedTo ?? (await moveData(givenDir, privileges, logger))) : givenDir;
    if (dropped || (await canWrite(existsSync(dataDir) ? dataDir : dirname(dataDir), privileges))) return { privileges, binDir: reachable.binDir, dataDir };
    tried.push(`${privileges.how}: cannot write ${dataDir}`);
  }
  throw new SkepError("database_unavailable", `PostgreSQL cannot be started for ${givenDir} (${tried.join("; ")}); choose another state directory or set DATABASE_URL`);
}

const holdsSomethingElse = (dir: string): boolean => existsSync(dir) && !existsSync(join(dir, "PG_VERSION")) && readdirSync(dir).length > 0;

/** The programs as they are, or a copy in `copyParent` when they cannot be completed or reached where they are. */
async function reachBinaries(binaries: Binaries, privileges: Privileges, copyParent: string): Promise<Binaries | undefined> {
  const linked = binaries.nativeDir === undefined || (await linkLibraries(binaries.nativeDir));
  if (linked && (await runs(binaries, privileges))) return binaries;
  if (binaries.nativeDir === undefined) return undefined;
  const copied = await copyBinaries(binaries, copyParent);
  return (await runs(copied, privileges)) ? copied : undefined;
}

async function runs({ binDir }: Binaries, { prefix, as }: Privileges): Promise<boolean> {
  const initdb = await runCommand([...prefix, join(binDir, "initdb"), "--version"], as, 20_000);
  const postgres = await runCommand([...prefix, join(binDir, "postgres"), "--version"], as, 20_000);
  return initdb.code === 0 && postgres.code === 0;
}

async function canWrite(path: string, { prefix, as }: Privileges): Promise<boolean> {
  return (await runCommand([...prefix, "test", "-w", path, "-a", "-x", path], as, 10_000)).code === 0;
}

/** The directory below SHARED_ROOT that stands for `givenDir`, with its data if it already had some. */
async function moveData(givenDir: string, { as }: Privileges, logger: Logger): Promise<string> {
  const base = join(SHARED_ROOT, createHash("sha256").update(givenDir).digest("hex").slice(0, 16));
  const dataDir = join(base, "data");
  await mkdir(base, { recursive: true, mode: 0o755 });
  if (existsSync(join(givenDir, "PG_VERSION")) && !existsSync(join(dataDir, "PG_VERSION"))) {
    const draft = `${dataDir}.draft-${process.pid}`;
    await cp(givenDir, draft, { recursive: true });
    await runCommand(["chown", "-R", `${as?.uid}:${as?.gid}`, draft], undefined);
    await rename(draft, dataDir).finally(() => rm(draft, { recursive: true, force: true }));
  }
  await mkdir(givenDir, { recursive: true, mode: 0o700 });
  await writeFile(join(givenDir, MOVED_FILE), `${dataDir}\n`);
  logger.warn({ dataDir, givenDir }, "the database runs as another user, from a directory that user can reach");
  return dataDir;
}
