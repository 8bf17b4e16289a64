/**
 * Durations counted in buckets that grow by a fixed factor: bounded memory, and nearest-rank percentiles whose error
 * is known. A percentile is the upper edge of the bucket that holds the sample of that rank, so it is never below the
 * true value and at most `HISTOGRAM_ERROR` of it above (below 1 ms: at most 1 ms above; above a day: it says a day).
 */

/** Relative. Smaller costs memory for digits nobody reads: 2 % are at most 924 buckets for a day. */
export const HISTOGRAM_ERROR = 0.02;
const GROWTH = 1 + HISTOGRAM_ERROR;
const MAX_MS = 86_400_000;
const LOG_GROWTH = Math.log(GROWTH);

/** Count by bucket; only buckets that hold something. */
export type Histogram = Map<number, number>;

export function bucketOf(ms: number): number {
  if (!(ms > 1)) return 0;
  return Math.ceil(Math.log(Math.min(ms, MAX_MS)) / LOG_GROWTH - 1e-9);
}

/** The largest duration the bucket holds, ms. */
export const upperEdgeMs = (bucket: number): number => Math.min(MAX_MS, GROWTH ** bucket);

export function count(histogram: Histogram, ms: number): void {
  const bucket = bucketOf(ms);
  histogram.set(bucket, (histogram.get(bucket) ?? 0) + 1);
}

export function merge(into: Histogram, from: Histogram): void {
  for (const [bucket, times] of from) into.set(bucket, (into.get(bucket) ?? 0) + times);
}

/** Nearest rank: the sample of rank ceil(share·n), counted from 1 (defect 0-10). `undefined` of an empty one. */
export function percentileMs(histogram: Histogram, share: number): number | undefined {
  let total = 0;
  for (const times of histogram.values()) total += times;
  if (total === 0) return undefined;
  // 0.99·100 is 99.00000000000001 in a double, and must not become rank 100.
  const rank = Math.max(1, Math.ceil(share * total - 1e-9));
  let seen = 0;
  for (const bucket of [...histogram.keys()].sort((a, b) => a - b)) {
    seen += histogram.get(bucket)!;
    if (seen >= rank) return upperEdgeMs(bucket);
  }
  return undefined;
}
