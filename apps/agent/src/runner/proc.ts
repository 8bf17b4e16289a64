/**
 * Looking at processes through /proc. A zombie counts as gone everywhere here: it runs nothing, and in a container
 * whose first process does not reap, it would otherwise keep a group alive for ever.
 */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import type { ProcessId } from "./run-state.ts";

interface ProcStat {
  readonly state: string;
  readonly group: number;
  readonly start: number;
}

function readStat(pid: number): ProcStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "X", group: Number(fields[2]), start: Number(fields[19]) };
}

const lives = (stat: ProcStat | undefined): stat is ProcStat => stat !== undefined && stat.state !== "Z" && stat.state !== "X";

/** The identity of a living process; undefined when there is none of that pid. */
export function identify(pid: number): ProcessId | undefined {
  const stat = readStat(pid);
  return lives(stat) ? { pid, start: stat.start } : undefined;
}

export const isAlive = (process: ProcessId): boolean => identify(process.pid)?.start === process.start;

const allPids = (): number[] => readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);

/** Living members of a process group. */
export function groupMembers(group: number): ProcessId[] {
  return allPids().flatMap((pid) => {
    const stat = readStat(pid);
    return lives(stat) && stat.group === group ? [{ pid, start: stat.start }] : [];
  });
}

/** True while anything in the group can still run. */
export function groupAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  return groupMembers(group).length > 0;
}

/** Every living process that carries Skep's labels in its environment, by `<placement>/<component>`. */
export function scanLabelled(): Map<string, ProcessId[]> {
  const found = new Map<string, ProcessId[]>();
  for (const pid of allPids()) {
    const key = labelKeyOf(pid);
    const process = key === undefined || isContained(pid) ? undefined : identify(pid);
    if (key === undefined || process === undefined) continue;
    found.set(key, [...(found.get(key) ?? []), process]);
  }
  return found;
}

/** On every process of a command that runs beside a component: it has the component's environment and is not the component. */
export const EXEC_LABEL = "SKEP_EXEC";

/** Every living process whose exec label begins with `prefix`. */
export function scanExecs(prefix: string): ProcessId[] {
  return allPids().flatMap((pid) => {
    if (execLabelIn(environmentOf(pid))?.startsWith(prefix) !== true) return [];
    return identify(pid) ?? [];
  });
}

/** In a container, whose labels mean another driver: ending its processes is not the process driver's business. */
function isContained(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`) !== readlinkSync("/proc/self/ns/pid");
  } catch {
    return false;
  }
}

const execLabelIn = (environment: string | undefined): string | undefined => (environment === undefined ? undefined : /(?:^|\0)SKEP_EXEC=([^\0]*)/.exec(environment)?.[1]);

function environmentOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return undefined; // gone, or of another user: not one of ours
  }
}

function labelKeyOf(pid: number): string | undefined {
  const environment = environmentOf(pid);
  if (environment === undefined || execLabelIn(environment) !== undefined) return undefined;
  const placement = /(?:^|\0)SKEP_PLACEMENT=([^\0]*)/.exec(environment)?.[1];
  const component = /(?:^|\0)SKEP_COMPONENT=([^\0]*)/.exec(environment)?.[1];
  return placement === undefined || component === undefined ? undefined : `${placement}/${component}`;
}
