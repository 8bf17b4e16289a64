/** A token bucket as a value: how many requests a peer may make now. Pure, so that a test needs no time. */
export interface Bucket {
  readonly tokens: number;
  /** Monotonic ms of the last refill. */
  readonly at: number;
}

export interface BucketLimits {
  readonly perMinute: number;
  readonly burst: number;
}

export const fullBucket = (limits: BucketLimits, mono: number): Bucket => ({ tokens: limits.burst, at: mono });

export function takeToken(bucket: Bucket, limits: BucketLimits, mono: number): { bucket: Bucket; ok: boolean; retryAfterMs: number } {
  const perMs = limits.perMinute / 60_000;
  const tokens = Math.min(limits.burst, bucket.tokens + Math.max(0, mono - bucket.at) * perMs);
  if (tokens >= 1) return { bucket: { tokens: tokens - 1, at: mono }, ok: true, retryAfterMs: 0 };
  return { bucket: { tokens, at: mono }, ok: false, retryAfterMs: Math.ceil((1 - tokens) / perMs) };
}
