/** Processes of the host, found by a variable of their environment: in a container or not, whatever group they joined. */
import { readdirSync, readFileSync } from "node:fs";

export interface Marked {
  readonly pids: readonly number[];
  /** Some processes could not be looked at: an absence proves nothing. */
  readonly blind: boolean;
}

/** `mark`: NAME=value. */
export function findMarked(mark: string): Marked {
  const pids: number[] = [];
  let blind = false;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (`\0${readFileSync(`/proc/${name}/environ`, "latin1")}`.includes(`\0${mark}`)) pids.push(Number(name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EACCES") blind = true;
    }
  }
  return { pids, blind };
}

export function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // gone between the look and the signal, or not ours to kill: the next look tells
  }
}
