/** Observing, with an end: a driver that cannot look in time must not silence the host. The beat goes without, and says so. */
import type { Clock } from "@skep/core";
import type { StatusSnapshot } from "../executor/types.ts";

/** Shorter: a busy host seems blind; longer: a hung driver delays beats towards `suspect`. */
const MIN_LIMIT_MS = 500;

/** A look that is still going on is shared, so that looks never pile up behind a hung driver. */
export function createBoundedLook(snapshot: () => Promise<StatusSnapshot>, clock: Clock): (intervalMs: number) => Promise<StatusSnapshot> {
  let looking: Promise<StatusSnapshot> | undefined;
  return async (intervalMs) => {
    looking ??= snapshot().finally(() => (looking = undefined));
    const limitMs = Math.max(MIN_LIMIT_MS, intervalMs / 2);
    const done = new AbortController();
    const late = clock.sleep(limitMs, done.signal).then((): StatusSnapshot => ({ deployed: true, placements: null, observed_error: `looking took longer than ${limitMs} ms` }));
    const seen = await Promise.race([looking, late]);
    done.abort();
    return seen;
  };
}
