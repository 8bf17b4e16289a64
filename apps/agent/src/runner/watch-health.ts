/**
 * From "spawned" to "healthy" and back, for one life of the child. Until the first success probes come quickly, so
 * that a deploy does not wait a whole interval for a program that needs 100 ms; failures are then measured in time
 * (failure_threshold intervals after the start period), because counting quick ones would call a slow start unhealthy.
 * The start period ends when it was first called running: what has once been up is no longer starting.
 */
import type { AbortSignalLike, Clock, ProbeSpec } from "@skep/core";

export interface HealthReport {
  /** `starting` comes with why it is not healthy yet: whoever gives up on it must be able to say. */
  readonly state: "starting" | "running" | "unhealthy";
  readonly error?: string | undefined;
}

const FIRST_PAUSE_MS = 50;

export interface HealthWatch {
  readonly probe: ProbeSpec | undefined;
  readonly settleMs: number;
  readonly clock: Clock;
  /** Aborted at the child's end. */
  readonly over: AbortSignalLike;
  readonly probeOnce: (probe: ProbeSpec) => Promise<string | undefined>;
  /** Called on changes only, of the state or of the reason. */
  readonly report: (health: HealthReport) => void;
}

export async function watchHealth({ probe, settleMs, clock, over, probeOnce, report }: HealthWatch): Promise<void> {
  if (probe === undefined) {
    await clock.sleep(settleMs, over);
    if (!over.aborted) report({ state: "running" });
    return;
  }
  const startMs = clock.mono();
  let reported: "running" | "unhealthy" | undefined;
  let told: string | undefined;
  let successes = 0;
  let failures = 0;
  for (let quickMs = FIRST_PAUSE_MS; !over.aborted; quickMs *= 2) {
    const problem = await probeOnce(probe);
    if (over.aborted) return;
    successes = problem === undefined ? successes + 1 : 0;
    failures = problem === undefined ? 0 : failures + 1;
    const late = clock.mono() - startMs >= (probe.start_period_ms ?? 0) + probe.failure_threshold * probe.interval_ms;
    const failing = reported === "unhealthy" || (reported === undefined ? late : failures >= probe.failure_threshold);
    // The first quick probes come too early for anybody to want their words.
    const slow = reported === undefined && clock.mono() - startMs >= probe.interval_ms;
    if (successes >= probe.success_threshold && reported !== "running") {
      report({ state: (reported = "running") });
      told = undefined;
    } else if (problem !== undefined && (failing || slow) && told !== `${failing} ${problem}`) {
      // A new reason is news as well: "connection refused" from an hour ago would send a person the wrong way.
      told = `${failing} ${problem}`;
      if (failing) reported = "unhealthy";
      report({ state: failing ? "unhealthy" : "starting", error: `${failing ? "" : "not healthy yet: "}probe failed: ${problem}` });
    }
    await clock.sleep(reported === undefined && successes === 0 ? Math.min(quickMs, probe.interval_ms) : probe.interval_ms, over);
  }
}
