/** What a host reports of one placement, and how components add up to one word. */
import type { ComponentState } from "./driver.ts";

export const OBSERVED_STATES = [
  "unknown", "pending", "deploying", "running", "degraded", "failed", "stopped", "tearing_down", "teardown_failed", "absent",
] as const;
export type ObservedState = (typeof OBSERVED_STATES)[number];

export interface ReportedComponent {
  readonly name: string;
  readonly state: ComponentState;
  readonly restarts: number;
  readonly ports?: Readonly<Record<string, number>> | undefined;
  readonly since?: string | undefined;
  readonly error?: string | undefined;
  readonly drift?: readonly string[] | undefined;
}

export interface ReportedPlacement {
  readonly placement_id: string;
  readonly deployment: string;
  readonly epoch: number;
  readonly generation: number;
  readonly spec_hash: string;
  readonly state: ObservedState;
  readonly components: readonly ReportedComponent[];
}

/** All running → running; some → degraded; none → failed or stopped; nothing there → absent. */
export function aggregateState(expected: number, states: readonly ComponentState[], desired: "running" | "stopped"): ObservedState {
  if (states.length === 0) return desired === "stopped" ? "stopped" : expected === 0 ? "absent" : "failed";
  const running = states.filter((state) => state === "running" || state === "exited").length;
  const alive = states.filter((state) => ["running", "starting", "unhealthy", "backoff"].includes(state)).length;
  if (desired === "stopped" && alive === 0) return "stopped";
  // A run-to-completion component that ended with 0 has done what it was asked.
  if (running === Math.max(expected, states.length)) return "running";
  if (running > 0) return "degraded";
  return alive > 0 ? "degraded" : states.every((state) => state === "stopped") ? "stopped" : "failed";
}
