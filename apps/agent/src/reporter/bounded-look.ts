/**
 * Observing, with an end: a driver that cannot look in time must not silence the host. The executor bounds each driver
 * by itself, so that one costs only its own placements; this bounds the executor.
 */
import type { Clock } from "@skep/core";
import type { StatusSnapshot } from "../executor/types.ts";

/** Shorter: a busy host seems blind; longer: a hung driver delays beats towards `suspect`. */
const MIN_LIMIT_MS = 500;

/** The part of the time that drivers get: the rest is for making the report of what they said. */
const DRIVERS_SHARE = 0.8;

/** A look that is still going on is shared, so that looks never pile up behind a hung driver. */
export function createBoundedLook(snapshot: (limitMs: number) => Promise<StatusSnapshot>, clock: Clock): (intervalMs: number) => Promise<StatusSnapshot> {
  let looking: Promise<StatusSnapshot> | undefined;
  return async (intervalMs) => {
    const limitMs = Math.max(MIN_LIMIT_MS, intervalMs / 2);
    looking ??= snapshot(limitMs * DRIVERS_SHARE).finally(() => (looking = undefined));
    const done = new AbortController();
    const late = clock.sleep(limitMs, done.signal).then((): StatusSnapshot => ({ deployed: true, placements: null, observed_error: `looking took longer than ${limitMs} ms` }));
    const seen = await Promise.race([looking, late]);
    done.abort();
    return seen;
  };
}
