/**
 * One process per state directory, by a pid file that names its holder for good (pid, start time, boot).
 *
 * Invariants: the file appears whole or not at all (made aside, then linked); only the winner of a claim named after
 * the dead holder may replace its file, so two takers of one stale lock cannot both succeed.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { SkepError } from "@skep/core";
import { sha256Hex } from "./hash.ts";
import { hostBootId, isSameProcess, processStartTime } from "./process-facts.ts";
import { randomToken } from "./rng.ts";

export const LOCK_FILE = "skep.pid";

export interface StateDirLock {
  /** Gives the directory free. Idempotent; a process that dies without it leaves a stale file, which is taken over. */
  release(): void;
}

/** Makes `dir` (0700) when missing. Throws `already_running`, naming the pid, while another holder lives. */
export function lockStateDir(dir: string): StateDirLock {
  const stateDir = resolve(dir);
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const path = join(stateDir, LOCK_FILE);
  const content = acquire(path, stateDir);
  return {
    release: () => {
      if (read(path) === content) rmSync(path, { force: true });
    },
  };
}

/** Returns what the file now says. */
function acquire(path: string, stateDir: string): string {
  const nonce = randomToken("lock");
  const content = JSON.stringify({ pid: process.pid, startTime: processStartTime(process.pid), hostBootId: hostBootId(), nonce });
  const draft = `${path}.${nonce}`;
  writeFileSync(draft, content, { mode: 0o600, flag: "wx" });
  try {
    for (;;) {
      if (link(draft, path)) return content;
      const found = read(path);
      if (found === undefined) continue;
      const holder = parse(found);
      if (holder !== undefined && lives(holder)) {
        throw new SkepError("already_running", `process ${holder.pid} already runs on ${stateDir}; stop it (kill ${holder.pid}) or use another --state-dir`);
      }
      // The claim is itself such a lock: should its holder die half-way, it is taken over in the same manner.
      const claimPath = `${path}.claim-${sha256Hex(found).slice(0, 16)}`;
      const claim = acquire(claimPath, stateDir);
      const stillStale = read(path) === found;
      if (stillStale) renameSync(draft, path);
      if (read(claimPath) === claim) rmSync(claimPath, { force: true });
      if (stillStale) return content;
    }
  } finally {
    rmSync(draft, { force: true });
  }
}

interface Holder {
  readonly pid: number;
  readonly startTime: string;
  readonly hostBootId: string;
}

const lives = (holder: Holder): boolean => holder.hostBootId === hostBootId() && isSameProcess(holder.pid, holder.startTime);

/** undefined for anything we did not write, such as a file cut short by a full disk: stale. */
function parse(text: string): Holder | undefined {
  try {
    const { pid, startTime, hostBootId: boot } = JSON.parse(text) as Partial<Holder>;
    return typeof pid === "number" && typeof startTime === "string" && typeof boot === "string" ? { pid, startTime, hostBootId: boot } : undefined;
  } catch {
    return undefined;
  }
}

function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
