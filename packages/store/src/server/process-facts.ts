/** What /proc says about processes. Elsewhere than on Linux only "alive or not" is known, and PostgreSQL's own lock decides. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return startTimeOf(pid) !== "zombie";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Tells a process from a later one of the same pid. "" where the kernel does not say. */
export function startTimeOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command name may hold spaces and brackets; the fields begin after the last one.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "zombie" : (fields[19] ?? "");
  } catch {
    return "";
  }
}

/** Server processes that work in `dataDir` (an absolute real path): the postmaster changes into it, its children inherit it. */
export function findServerPids(dataDir: string): number[] {
  const pids: number[] = [];
  for (const name of listProc()) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      if (readlinkSync(`/proc/${pid}/cwd`) === dataDir && readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("postgres")) pids.push(pid);
    } catch {
      // Gone meanwhile, or somebody else's: not a server of ours.
    }
  }
  return pids;
}

function listProc(): string[] {
  try {
    return readdirSync("/proc");
  } catch {
    return [];
  }
}
