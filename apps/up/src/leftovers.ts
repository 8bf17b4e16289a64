/**
 * Processes that belong to this state directory and outlived whoever should have stopped them: a previous run's
 * children after kill -9, and workloads whose agent is dead at the moment we stop.
 *
 * Invariant: a process is only ever signalled when it proves to be ours, by pid and start time, or by working in or
 * being labelled from this very directory. A name or a pid alone proves nothing.
 */
import { readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { Clock, Logger } from "@skep/core";
import { isSameProcess, processStartTime } from "@skep/runtime";
import { readJson, writeJson } from "./files.ts";
import type { Layout } from "./layout.ts";

/** An agent lets its work settle for some seconds once its pipe closes; killed sooner, it would have to recover. */
const PREDECESSOR_TIMEOUT_MS = 15_000;
/** A workload's own stop timeout is 10 s by default. */
const WORKLOAD_TERM_MS = 11_000;
const POLL_MS = 50;

interface Known {
  readonly pid: number;
  readonly startTime: string;
}

/** Replaces the record of who our children are. */
export const recordChildren = (layout: Layout, pids: readonly number[]): Promise<void> =>
  writeJson(layout.children, pids.flatMap((pid) => ((startTime) => (startTime === null ? [] : [{ pid, startTime }]))(processStartTime(pid))));

/** Returns when no child of the previous run lives. They have seen their pipe close; those that hang are killed. */
export async function awaitPredecessors(layout: Layout, clock: Clock, logger: Logger): Promise<void> {
  const recorded = readJson(layout.children);
  const known = (Array.isArray(recorded) ? recorded : []) as Known[];
  const living = (): Known[] => known.filter(({ pid, startTime }) => isSameProcess(pid, startTime));
  const deadlineMs = clock.mono() + PREDECESSOR_TIMEOUT_MS;
  while (living().length > 0 && clock.mono() < deadlineMs) await clock.sleep(POLL_MS);
  for (const { pid } of living()) {
    logger.warn({ pid }, "a process of the previous run did not stop and is killed");
    signal(pid, "SIGKILL");
  }
}

/** Stops workloads and their runners that no agent is left to stop; of all agents, or of one. Resolves with how many there were. */
export async function endLeftovers(layout: Layout, clock: Clock, agent?: string): Promise<number> {
  const find = (): number[] => (agent === undefined ? findWorkloads(layout) : findWorkloadsOf(layout, [agent]));
  const first = find();
  for (const pid of first) signal(pid, "SIGTERM");
  const deadlineMs = clock.mono() + WORKLOAD_TERM_MS;
  for (let left = first; left.length > 0; left = find()) {
    if (clock.mono() > deadlineMs) for (const pid of left) signal(pid, "SIGKILL");
    await clock.sleep(POLL_MS);
  }
  return first.length;
}

/** SIGKILL to them all, for an end that cannot wait. */
export function killLeftovers(layout: Layout): void {
  for (const pid of findWorkloads(layout)) signal(pid, "SIGKILL");
}

/** Runners work in their component's directory; what they started carries the placement's label wherever it works. */
export const findWorkloads = (layout: Layout): number[] => findWorkloadsOf(layout, namesIn(layout.agents));

function findWorkloadsOf(layout: Layout, agents: readonly string[]): number[] {
  const roots = agents.flatMap((agent) => realDir(join(layout.agents, agent)));
  const placements = new Set(agents.flatMap((agent) => namesIn(join(layout.agentState(agent), "workloads", "placements"))));
  return findProcesses((pid) => worksIn(pid, roots) || isLabelled(pid, placements));
}

/** Everything that works anywhere in the state directory: its database and its workloads. */
export const findProcessesIn = (layout: Layout): number[] => ((roots) => findProcesses((pid) => worksIn(pid, roots)))(realDir(layout.dir));

function findProcesses(wanted: (pid: number) => boolean): number[] {
  const pids = namesIn("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter((pid) => pid !== process.pid && wanted(pid) && processStartTime(pid) !== null);
}

function worksIn(pid: number, roots: readonly string[]): boolean {
  try {
    const dir = `${readlinkSync(`/proc/${pid}/cwd`)}/`;
    return roots.some((root) => dir.startsWith(root));
  } catch {
    // Gone, or another user's: not ours.
    return false;
  }
}

function isLabelled(pid: number, placements: ReadonlySet<string>): boolean {
  try {
    const label = /(?:^|\0)SKEP_PLACEMENT=([^\0]*)/.exec(readFileSync(`/proc/${pid}/environ`, "latin1"))?.[1];
    return label !== undefined && placements.has(label);
  } catch {
    return false;
  }
}

/** With its final slash; empty when there is none. */
function realDir(path: string): string[] {
  try {
    return [`${realpathSync(path)}/`];
  } catch {
    return [];
  }
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It went by itself.
  }
}
