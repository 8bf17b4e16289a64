/** CPU time and memory of processes, as the kernel counts them: what a process says of itself leaves its children out. */
import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ is 100 on every Linux that Node runs on. */
const TICK_US = 10_000;

interface Stat {
  readonly parent: number;
  readonly ownUs: number;
  readonly reapedUs: number;
}

function statOf(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name is in parentheses and may hold anything, spaces and parentheses included.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number);
    return { parent: fields[1]!, ownUs: (fields[11]! + fields[12]!) * TICK_US, reapedUs: (fields[13]! + fields[14]!) * TICK_US };
  } catch {
    return undefined;
  }
}

/** µs of CPU that the process has used, all threads. 0 when it is gone. */
export const cpuMicros = (pid: number): number => statOf(pid)?.ownUs ?? 0;

/** The same with all that descends from it, those that have ended included: a PostgreSQL server and its backends. */
export function treeCpuMicros(root: number): number {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat !== undefined) stats.set(Number(name), stat);
  }
  const isBelow = (pid: number): boolean => {
    for (let at = pid; at > 1; at = stats.get(at)?.parent ?? 0) if (at === root) return true;
    return false;
  };
  let sum = 0;
  for (const [pid, stat] of stats) if (isBelow(pid)) sum += stat.ownUs + stat.reapedUs;
  return sum;
}

/** Resident KiB. Throws when the process is gone: 0 would be a good figure. */
export function rssKib(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  if (match === null) throw new Error(`process ${pid} has no VmRSS`);
  return Number(match[1]);
}
