/**
 * Ending what has no runner to end it. Only processes proven to be the component's are signalled: by the recorded
 * pid with its start time, by its group while that leader lives, or by the labels in their environment.
 */
import type { Clock } from "@skep/core";
import { groupMembers, isAlive, scanLabelled } from "../../runner/proc.ts";
import type { ProcessId } from "../../runner/run-state.ts";

/** SIGTERM, SIGKILL after `timeoutMs`. Resolves true once all are gone, false when some survived SIGKILL for `giveUpMs`. */
export async function endProcesses(key: string, leader: ProcessId | undefined, timeoutMs: number, giveUpMs: number, clock: Clock): Promise<boolean> {
  const known = new Map<string, ProcessId>();
  const living = (): ProcessId[] => {
    const group = leader !== undefined && isAlive(leader) ? groupMembers(leader.pid) : [];
    for (const found of [...group, ...(scanLabelled().get(key) ?? [])]) known.set(`${found.pid}/${found.start}`, found);
    return [...known.values()].filter(isAlive);
  };
  const startMs = clock.mono();
  let asked = 0;
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 2, 200)) {
    const left = living();
    if (left.length === 0) return true;
    const spentMs = clock.mono() - startMs;
    if (spentMs >= timeoutMs + giveUpMs) return false;
    if (spentMs >= timeoutMs) for (const found of left) signal(found, "SIGKILL");
    else if (asked < known.size) for (const found of left) signal(found, "SIGTERM");
    asked = known.size;
    await clock.sleep(spentMs < timeoutMs ? Math.min(pauseMs, timeoutMs - spentMs) : pauseMs);
  }
}

/** Signals exactly this process, or nothing when it has gone. */
export function signal(target: ProcessId, name: NodeJS.Signals): void {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, name);
    if (name === "SIGTERM") process.kill(target.pid, "SIGCONT");
  } catch {
    // gone between the look and the signal
  }
}
