/**
 * The data directory's life before the server: made whole or not at all, and entered by one server at a time.
 *
 * Invariants: a crash during initdb leaves no half-made directory; a server whose supervisor lives is never
 * touched; one whose supervisor died (kill -9) is let finish its shutdown, or told to, before the next one starts.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { chmod, chown, mkdir, open, realpath, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { SkepError } from "@skep/core";
import type { Clock, Logger } from "@skep/core";
import { findServerPids, isAlive, startTimeOf } from "./process-facts.ts";
import { runCommand } from "./run-command.ts";
import type { Privileges } from "./privileges.ts";

export const DATABASE_USER = "skep";
const PASSWORD_FILE = "skep-password";
const OWNER_FILE = "skep-owner.json";
/** Too small refuses a restart right after a crash; too large makes a real refusal slow. A fast shutdown takes ~1 s. */
const LEAVE_TIMEOUT_MS = 30_000;

export interface InitOptions {
  readonly dataDir: string;
  readonly binDir: string;
  readonly privileges: Privileges;
  /** False only for servers whose data nobody will miss. */
  readonly durable: boolean;
}

/** Runs initdb unless the directory holds a cluster already. */
export async function initDataDir(options: InitOptions): Promise<void> {
  const { dataDir, binDir, privileges, durable } = options;
  if (existsSync(join(dataDir, "PG_VERSION"))) return;
  removeOldDrafts(dataDir);
  const draft = `${dataDir}.init-${process.pid}-${randomBytes(4).toString("hex")}`;
  const passwordPath = `${draft}.password`;
  try {
    const password = randomBytes(24).toString("hex");
    await mkdir(draft, { recursive: true, mode: 0o700 });
    await writeFile(passwordPath, password, { mode: 0o600 });
    if (privileges.as !== undefined) {
      await chown(draft, privileges.as.uid, privileges.as.gid);
      await chown(passwordPath, privileges.as.uid, privileges.as.gid);
    }
    const argv = [join(binDir, "initdb"), "-D", draft, `--username=${DATABASE_USER}`, `--pwfile=${passwordPath}`, ...(await localeArgs(binDir, privileges))];
    argv.push("--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums", "--no-instructions", ...(durable ? [] : ["--no-sync"]));
    const { code, output } = await runCommand([...privileges.prefix, ...argv], privileges.as);
    if (code !== 0) throw new SkepError("database_unavailable", `initdb could not make ${dataDir}: ${output.slice(-600)}`);
    await writeFile(join(draft, PASSWORD_FILE), password, { mode: 0o600 });
    await rename(draft, dataDir).catch((error: unknown) => {
      // Somebody else was faster; their server will hold the lock.
      if (!existsSync(join(dataDir, "PG_VERSION"))) throw error;
    });
    if (durable) await syncDir(dirname(dataDir));
  } finally {
    await rm(draft, { recursive: true, force: true });
    await rm(passwordPath, { force: true });
  }
}

/** What an initdb left behind that was killed with its supervisor. */
function removeOldDrafts(dataDir: string): void {
  const prefix = `${basename(dataDir)}.init-`;
  for (const name of readdirSync(dirname(dataDir))) {
    if (!name.startsWith(prefix)) continue;
    const pid = Number.parseInt(name.slice(prefix.length), 10);
    if (!isAlive(pid)) rmSync(join(dirname(dataDir), name), { recursive: true, force: true });
  }
}

/** From 17 on the C.UTF-8 locale is built in and does not change with the operating system's libraries. */
async function localeArgs(binDir: string, privileges: Privileges): Promise<string[]> {
  const { output } = await runCommand([...privileges.prefix, join(binDir, "postgres"), "--version"], privileges.as);
  const major = Number(/\d+/.exec(output)?.[0] ?? 0);
  return major >= 17 ? ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"] : ["--locale=C.UTF-8"];
}

export function readPassword(dataDir: string): string {
  try {
    return readFileSync(join(dataDir, PASSWORD_FILE), "utf8").trim();
  } catch (cause) {
    throw new SkepError("database_unavailable", `${join(dataDir, PASSWORD_FILE)} cannot be read; restore it, or move the data directory away to start afresh`, { cause });
  }
}

/** The postmaster's own word: its pid and "starting", "ready" or "stopping". */
export function readPostmasterFile(dataDir: string): { pid: number; status: string } | undefined {
  try {
    const lines = readFileSync(join(dataDir, "postmaster.pid"), "utf8").split("\n");
    return { pid: Number(lines[0]), status: (lines[7] ?? "").trim() };
  } catch {
    return undefined;
  }
}

/** Records who supervises the running postmaster. Only its winner calls this, so that it never names a bystander. */
export async function recordOwner(dataDir: string, postmasterPid: number): Promise<void> {
  const owner = { postmasterPid, pid: process.pid, startTime: startTimeOf(process.pid) };
  const path = join(dataDir, OWNER_FILE);
  await writeFile(`${path}.draft`, JSON.stringify(owner), { mode: 0o600 });
  await rename(`${path}.draft`, path);
}

/**
 * Returns when no server works in `dataDir`. Throws already_running when one does and its supervisor lives. What a
 * killed postmaster leaves behind ends by itself and is waited for, whoever supervised it.
 */
export async function claimDataDir(dataDir: string, clock: Clock, logger: Logger): Promise<void> {
  const realDir = await realpath(dataDir);
  const deadlineMs = clock.mono() + LEAVE_TIMEOUT_MS;
  const told = new Set<number>();
  for (let pids = findServerPids(realDir); pids.length > 0; pids = findServerPids(realDir)) {
    const postmasterPid = readPostmasterFile(dataDir)?.pid;
    const owner = readOwner(dataDir);
    const ownerKnown = owner !== undefined && owner.postmasterPid === postmasterPid;
    const postmasterLives = ownerKnown && pids.includes(owner.postmasterPid);
    if ((postmasterLives && ownerLives(owner)) || clock.mono() > deadlineMs) {
      const by = ownerKnown ? `, started by process ${owner.pid}` : "";
      throw new SkepError("already_running", `a PostgreSQL server (process ${postmasterPid ?? pids[0]}${by}) already uses ${dataDir}`);
    }
    if (postmasterLives && !told.has(owner.postmasterPid)) {
      logger.warn({ pid: owner.postmasterPid, dataDir }, "stopping a database server whose supervisor died");
      told.add(owner.postmasterPid);
      askToStop(owner.postmasterPid);
    }
    await clock.sleep(50);
  }
  removeReusedPidFile(dataDir, realDir, logger);
}

function askToStop(postmasterPid: number): void {
  try {
    process.kill(postmasterPid, "SIGINT");
  } catch (error) {
    // It was on its way out already: the supervisor's death told it.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/**
 * PostgreSQL refuses to start while the pid in its lock file lives, and after a reboot that pid may be anybody's.
 * The file is read before looking for servers: a server enters the directory before it writes the file, so one that
 * wrote what we read would be seen, and a living pid without one is a stranger.
 */
function removeReusedPidFile(dataDir: string, realDir: string, logger: Logger): void {
  const found = readPostmasterFile(dataDir);
  if (process.platform !== "linux" || found === undefined || !isAlive(found.pid) || findServerPids(realDir).length > 0) return;
  if (readPostmasterFile(dataDir)?.pid !== found.pid) return;
  rmSync(join(dataDir, "postmaster.pid"), { force: true });
  logger.warn({ pid: found.pid, dataDir }, "removed a stale postmaster.pid: its process is not a database server of this directory");
}

interface Owner {
  readonly postmasterPid: number;
  readonly pid: number;
  readonly startTime: string;
}

function readOwner(dataDir: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(join(dataDir, OWNER_FILE), "utf8")) as Owner;
  } catch {
    return undefined;
  }
}

const ownerLives = (owner: Owner): boolean => isAlive(owner.pid) && startTimeOf(owner.pid) === owner.startTime;

async function syncDir(path: string): Promise<void> {
  const handle = await open(path);
  await handle.sync().finally(() => handle.close());
}

/** PostgreSQL insists on 0700; a restored backup often has not kept it. */
export const tightenDataDir = (dataDir: string): Promise<void> => chmod(dataDir, 0o700);
