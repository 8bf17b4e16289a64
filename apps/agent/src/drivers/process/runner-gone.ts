/**
 * Making sure a runner is dead before anybody relies on it. One that still lived could spawn after a look that found
 * nothing, or write its end over the next run's state.
 */
import { DriverError } from "@skep/core";
import { isAlive } from "../../runner/proc.ts";
import type { RunState } from "../../runner/run-state.ts";
import { KILL_PATIENCE_MS } from "./context.ts";
import type { ProcessContext } from "./context.ts";
import { signal } from "./end-processes.ts";

/** A runner that has written its end leaves within milliseconds; one that cannot is killed, it owns nothing any more. */
export const LEAVE_PATIENCE_MS = 3_000;

/** Resolves once the runner is dead, killing it after `patienceMs`. Throws `stop_failed` when SIGKILL does not show. */
export async function runnerGone({ clock, hostBootId }: ProcessContext, { runner, hostBootId: boot, labels }: RunState, patienceMs: number): Promise<void> {
  if (boot !== hostBootId) return;
  const startMs = clock.mono();
  for (let pauseMs = 2; isAlive(runner); pauseMs = Math.min(pauseMs * 2, 50)) {
    const spentMs = clock.mono() - startMs;
    if (spentMs >= patienceMs + KILL_PATIENCE_MS) throw new DriverError("stop_failed", `the runner (pid ${runner.pid}) of ${labels.component} survived SIGKILL; look at it on the host`);
    if (spentMs >= patienceMs) signal(runner, "SIGKILL");
    await clock.sleep(pauseMs);
  }
}
