/**
 * Who a process is. A pid alone is reused, within hours on a busy host; pid, start time and the host's boot
 * together name one process for good.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * The start time in the kernel's own unit (clock ticks since boot on Linux; a date elsewhere), only to be compared
 * for equality. null: no such process, or one that is dead and merely not yet collected by its parent.
 */
export function processStartTime(pid: number): string | null {
  // 0 and negatives mean process groups to kill(2) and nothing to us.
  if (!Number.isInteger(pid) || pid <= 0) return null;
  return process.platform === "linux" ? linuxStartTime(pid) : psStartTime(pid);
}

/** Whether the very process that was seen with this start time still runs. */
export const isSameProcess = (pid: number, startTime: string): boolean => processStartTime(pid) === startTime;

function linuxStartTime(pid: number): string | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
  return parseStat(stat);
}

/** The command's name is in brackets and may itself hold brackets, spaces and newlines: fields count from the last one. */
export function parseStat(stat: string): string | null {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  if (state === "Z" || state === "X" || state === "x") return null;
  return fields[19] ?? null;
}

function psStartTime(pid: number): string | null {
  try {
    return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim() || null;
  } catch {
    return null;
  }
}

let bootId: string | undefined;

/**
 * Names the present boot of the machine. Where the kernel does not tell, "unknown": equal to itself, so that callers
 * fall back to pids and start times rather than take everything for gone.
 */
export function hostBootId(): string {
  return (bootId ??= readBootId());
}

function readBootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    // Not Linux.
  }
  try {
    return execFileSync("sysctl", ["-n", "kern.bootsessionuuid"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim().toLowerCase() || "unknown";
  } catch {
    return "unknown";
  }
}
