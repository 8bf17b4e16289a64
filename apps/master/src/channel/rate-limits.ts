/** How often one host may speak: beats from one bucket, beats that carry deltas (and sessions) from another, so that a storm of either cannot silence the other. */
import { fullBucket, SkepError, takeToken, type Bucket, type BucketLimits, type Clock, type HostId } from "@skep/core";

export interface HostRates {
  readonly beats: BucketLimits;
  readonly deltas: BucketLimits;
}

/** Rulings 15 at 30 s; shorter intervals need proportionally more, or the master would refuse what it asked for. */
export function ratesFor(heartbeatIntervalMs: number): HostRates {
  const expected = 60_000 / heartbeatIntervalMs;
  return {
    beats: { perMinute: Math.max(60, expected * 4), burst: 20 },
    deltas: { perMinute: Math.max(120, expected * 8), burst: 40 },
  };
}

export interface HostLimiter {
  /** Throws `rate_limited` with the time to wait. */
  take(hostId: HostId, kind: keyof HostRates): void;
}

/** Only hosts with a pinned certificate get here, so the table is as large as the fleet. */
export function createHostLimiter(rates: HostRates, clock: Clock): HostLimiter {
  const buckets: Record<keyof HostRates, Map<HostId, Bucket>> = { beats: new Map(), deltas: new Map() };
  return {
    take: (hostId, kind) => {
      const now = clock.mono();
      const taken = takeToken(buckets[kind].get(hostId) ?? fullBucket(rates[kind], now), rates[kind], now);
      buckets[kind].set(hostId, taken.bucket);
      if (!taken.ok) throw new SkepError("rate_limited", "this host speaks too often", { retryAfterMs: taken.retryAfterMs });
    },
  };
}
