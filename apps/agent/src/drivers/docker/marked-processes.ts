/**
 * Processes of the host, found by a variable of their environment: in a container or not, whatever group they joined.
 * The engine forgets a command whose caller is gone, and has no call to end one; its processes carry the mark still.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { Rng } from "@skep/core";
import { EXEC_LABEL } from "../../runner/proc.ts";

export interface Marks {
  /** A new one, for one command. */
  next(): string;
  /** Ends what an agent of this host left running when it was killed. */
  endLeftovers(): void;
}

/** `owner`: as in the driver's options. Each is told apart from those of other agents on the engine, and of an earlier life of this one. */
export function createMarks(owner: () => string, rng: Rng): Marks {
  const life = Buffer.from(rng.bytes(6)).toString("hex");
  const own = (): string => `container-${owner()}.`;
  return {
    next: () => `${own()}${life}.${Buffer.from(rng.bytes(9)).toString("hex")}`,
    endLeftovers: () => {
      for (const pid of findMarked((mark) => mark.startsWith(own()) && !mark.startsWith(`${own()}${life}.`)).pids) killProcess(pid);
    },
  };
}

export interface Marked {
  readonly pids: readonly number[];
  /** Some processes could not be looked at: an absence proves nothing. */
  readonly blind: boolean;
}

export function findMarked(wanted: (mark: string) => boolean): Marked {
  const pids: number[] = [];
  let blind = false;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const mark = new RegExp(`(?:^|\0)${EXEC_LABEL}=([^\0]*)`).exec(readFileSync(`/proc/${name}/environ`, "latin1"))?.[1];
      if (mark !== undefined && wanted(mark)) pids.push(Number(name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EACCES") blind = true;
    }
  }
  return { pids, blind };
}

/** By the control group that the runtime puts them in, which says whose they are even where the engine does not know. */
export function findInContainer(id: string): readonly number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((name) => {
    try {
      return readFileSync(`/proc/${name}/cgroup`, "latin1").includes(id);
    } catch {
      return false;
    }
  }).map(Number);
}

export function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // gone between the look and the signal, or not ours to kill: the next look tells
  }
}
