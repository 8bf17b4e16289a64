/** What happens after a child's end. Pure, so that every policy can be tested without a process. */
import type { ComponentSpec, Rng } from "@skep/core";
import { exitText } from "./run-state.ts";
import type { ExitRecord, RunTimings } from "./run-state.ts";

export type AfterExit =
  | { readonly kind: "restart"; readonly delayMs: number; readonly because: string }
  | { readonly kind: "end"; readonly state: "exited" | "failed"; readonly error: string | undefined };

/** `crashes`: ends in a row before this one, each within `resetAfterMs` of its start. `max` counts in a row, too. */
export function decideRestart(restart: ComponentSpec["restart"], exit: ExitRecord, crashes: number, timings: RunTimings, rng: Rng): AfterExit {
  const clean = exit.code === 0;
  const wanted = restart.policy === "always" || (restart.policy === "on_failure" && !clean);
  if (!wanted) return { kind: "end", state: clean ? "exited" : "failed", error: clean ? undefined : exitText(exit) };
  if (restart.max !== undefined && crashes >= restart.max) {
    return { kind: "end", state: clean ? "exited" : "failed", error: `${exitText(exit)}; gave up after ${crashes} restarts in a row` };
  }
  // ±20 %, so that components that died together do not come back together.
  const ceilingMs = Math.min(timings.backoffCapMs, timings.backoffBaseMs * 2 ** Math.min(crashes, 20));
  return { kind: "restart", delayMs: Math.round(ceilingMs * (0.8 + 0.4 * rng.float())), because: exitText(exit) };
}
