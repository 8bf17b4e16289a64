/** Call metrics: exact where they say exact, within their stated error elsewhere, and bounded. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { CALL_WINDOW_MS, createCallMetrics } from "../src/calls/call-metrics.ts";
import { HISTOGRAM_ERROR, bucketOf, count, percentileMs, upperEdgeMs, type Histogram } from "../src/calls/histogram.ts";

const nearestRank = (sorted: readonly number[], percent: number): number => sorted[Math.ceil((percent * sorted.length) / 100) - 1]!;

test("a percentile is the nearest rank's sample, never below it and at most the stated error above", () => {
  const ms = fc.oneof(fc.double({ min: 1, max: 20_000, noNaN: true }), fc.integer({ min: 1, max: 86_400_000 }));
  fc.assert(fc.property(fc.array(ms, { minLength: 1, maxLength: 400 }), fc.constantFrom(50, 90, 99, 100), (samples, percent) => {
    const histogram: Histogram = new Map();
    for (const sample of samples) count(histogram, sample);
    const truth = nearestRank([...samples].sort((a, b) => a - b), percent);
    const told = percentileMs(histogram, percent / 100)!;
    expect(told).toBeGreaterThanOrEqual(truth * (1 - 1e-9));
    expect(told).toBeLessThanOrEqual(truth * (1 + HISTOGRAM_ERROR) * (1 + 1e-9));
  }), { numRuns: 2_000 });
});

test.each([1, 2, 99, 100, 101, 200, 900])("p99 of %i samples is the sample of rank ceil(0.99 n) (0-10)", (n) => {
  const histogram: Histogram = new Map();
  for (let at = 1; at <= n; at += 1) count(histogram, upperEdgeMs(at));
  expect(bucketOf(percentileMs(histogram, 0.99)!)).toBe(Math.ceil((99 * n) / 100));
});

test("what is below a millisecond, beyond a day or no number at all is counted and bounded", () => {
  const histogram: Histogram = new Map();
  for (const ms of [0, -5, 0.2, Number.NaN, 1, 1e12, Number.POSITIVE_INFINITY]) count(histogram, ms);
  expect([...histogram.values()].reduce((sum, times) => sum + times, 0)).toBe(7);
  expect(percentileMs(histogram, 0)).toBe(1);
  expect(percentileMs(histogram, 1)).toBe(86_400_000);
});

test("nothing called: one shape, zeros and nulls (0-11)", () => {
  expect(createCallMetrics(0).summary(5_000)).toEqual({
    windowS: 5, totalRequests: 0, failedRequests: 0, errorRate: 0, avgLatencyMs: null, p50LatencyMs: null, p99LatencyMs: null, bytesSent: 0, bytesReceived: 0, throughputBytes: 0, throughputBps: 0,
  });
});

test("counts, rates and bytes over the window; what is older falls out", () => {
  const calls = createCallMetrics(0);
  for (let at = 0; at < 10; at += 1) calls.record({ ok: at !== 3, ms: 10 * (at + 1), bytesSent: 100, bytesReceived: 50 }, at * 1_000);
  expect(calls.summary(10_000)).toMatchObject({ windowS: 10, totalRequests: 10, failedRequests: 1, errorRate: 0.1, avgLatencyMs: 55, bytesSent: 1_000, bytesReceived: 500, throughputBytes: 1_500, throughputBps: 150 });
  calls.record({ ok: true, ms: 1, bytesSent: 1, bytesReceived: 1 }, CALL_WINDOW_MS + 60_000);
  const later = calls.summary(CALL_WINDOW_MS + 60_000);
  expect(later).toMatchObject({ totalRequests: 1, errorRate: 0 });
  expect(later.windowS).toBeLessThanOrEqual(CALL_WINDOW_MS / 1_000);
  // A rate over an instant would be any number at all.
  expect(createCallMetrics(0).summary(0).throughputBps).toBe(0);
});

test("memory is bounded whatever comes", () => {
  const calls = createCallMetrics(0);
  let now = 0;
  for (let round = 0; round < 20_000; round += 1) calls.record({ ok: true, ms: (round * 7919) % 100_000, bytesSent: 1, bytesReceived: 1 }, (now += 97));
  const { totalRequests } = calls.summary(now);
  expect(totalRequests).toBeLessThanOrEqual(CALL_WINDOW_MS / 97 + 1);
  expect(totalRequests).toBeGreaterThan((CALL_WINDOW_MS * 0.85) / 97);
});
