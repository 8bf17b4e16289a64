/** Token buckets by key. Invariant: bounded in memory, whoever invents keys. */
import { SkepError, fullBucket, takeToken, type Bucket, type BucketLimits, type Clock } from "@skep/core";

/** Buckets kept before full ones are thrown away, which changes no answer. */
const MAX_KEYS = 10_000;

export interface RateLimiter {
  /** Takes one; throws `rate_limited` with the time to wait. */
  take(key: string): void;
  /** The same without the throw: for what is merely left out, such as audit entries of a flood. */
  allows(key: string): boolean;
}

export function createRateLimiter(clock: Clock, limits: BucketLimits): RateLimiter {
  const buckets = new Map<string, Bucket>();
  const take = (key: string): { ok: boolean; retryAfterMs: number } => {
    const mono = clock.mono();
    if (buckets.size >= MAX_KEYS && !buckets.has(key)) prune(mono);
    const { bucket, ok, retryAfterMs } = takeToken(buckets.get(key) ?? fullBucket(limits, mono), limits, mono);
    buckets.set(key, bucket);
    return { ok, retryAfterMs };
  };
  const prune = (mono: number): void => {
    const fillMs = (limits.burst / limits.perMinute) * 60_000;
    for (const [key, bucket] of buckets) if (mono - bucket.at >= fillMs) buckets.delete(key);
    // A flood of new keys within one fill time: the oldest go, and gain at most one burst by it.
    for (const key of buckets.keys()) {
      if (buckets.size < MAX_KEYS) break;
      buckets.delete(key);
    }
  };
  return {
    take: (key) => {
      const { ok, retryAfterMs } = take(key);
      if (!ok) throw new SkepError("rate_limited", `More than ${limits.perMinute} per minute.`, { retryAfterMs });
    },
    allows: (key) => take(key).ok,
  };
}
