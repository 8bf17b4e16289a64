/** Health by a manual clock: thresholds, the quick start, and a reason that keeps up. */
import type { ProbeSpec } from "@skep/core";
import { ManualClock } from "@skep/testkit";
import { expect, test } from "vitest";
import { watchHealth } from "../../src/runner/watch-health.ts";
import type { HealthReport } from "../../src/runner/watch-health.ts";

const probe: ProbeSpec = { type: "tcp", port: 1, interval_ms: 10_000, timeout_ms: 1, success_threshold: 1, failure_threshold: 2 };

/** Answers probes from `answers` (the last one for ever) and records what is reported when. */
function watched(answers: readonly (string | undefined)[], patch: Partial<ProbeSpec> = {}) {
  const clock = new ManualClock();
  const over = new AbortController();
  const reports: (HealthReport & { at: number })[] = [];
  const startMs = clock.mono();
  let asked = 0;
  const done = watchHealth({
    probe: { ...probe, ...patch } as ProbeSpec, settleMs: 300, clock, over: over.signal,
    probeOnce: async () => answers[Math.min(asked++, answers.length - 1)],
    report: (health) => reports.push({ ...health, at: clock.mono() - startMs }),
  });
  const step = async (ms: number): Promise<void> => {
    await clock.sleepers(1);
    clock.advance(ms);
  };
  return { clock, reports, done, step, asked: () => asked, end: () => over.abort() };
}

test("a slow start is not unhealthy while it fails quickly, and is running as soon as it answers", async () => {
  const world = watched(["refused", "refused", "refused", "refused", undefined]);
  for (const ms of [50, 100, 200, 400]) await world.step(ms);
  await world.clock.sleepers(1);
  expect(world.asked()).toBe(5);
  expect(world.reports).toEqual([{ state: "running", at: 750 }]);
  world.end();
  await world.done;
});

test("control: failure_threshold intervals of failing are unhealthy; until then it says why it is not healthy yet; a new reason is told, the same one is not", async () => {
  const world = watched([...Array.from({ length: 12 }, () => "refused"), "answered 500", "answered 500", undefined]);
  while (world.reports.length < 2) await world.step(10_000);
  expect(world.reports[0]).toMatchObject({ state: "starting", error: "not healthy yet: probe failed: refused" });
  expect(world.reports[0]?.at).toBeGreaterThanOrEqual(10_000);
  expect(world.reports[1]).toMatchObject({ state: "unhealthy", error: "probe failed: refused" });
  expect(world.reports[1]?.at).toBeGreaterThanOrEqual(20_000);
  while (world.asked() < 15) await world.step(10_000);
  await world.clock.sleepers(1);
  expect(world.reports.map(({ state, error }) => [state, error])).toEqual([["starting", "not healthy yet: probe failed: refused"], ["unhealthy", "probe failed: refused"], ["unhealthy", "probe failed: answered 500"], ["running", undefined]]);
  world.end();
  await world.done;
});

test("once running, one failure below the threshold is forgiven", async () => {
  const world = watched([undefined, "blip", undefined, "down", "down"]);
  while (world.asked() < 4) await world.step(10_000);
  await world.clock.sleepers(1);
  expect(world.reports.map(({ state }) => state)).toEqual(["running"]);
  await world.step(10_000);
  await world.clock.sleepers(1);
  expect(world.reports.map(({ state }) => state)).toEqual(["running", "unhealthy"]);
  world.end();
  await world.done;
});

test("failures within the start period do not count; what was once running is past it", async () => {
  const starting = { start_period_ms: 100_000 };
  const slow = watched(["refused"], starting);
  while (slow.reports.length < 2) await slow.step(10_000);
  expect(slow.reports.map(({ state }) => state)).toEqual(["starting", "unhealthy"]);
  expect(slow.reports[1]?.at).toBeGreaterThanOrEqual(120_000);
  slow.end();
  await slow.done;
  const fallen = watched([undefined, "down", "down"], starting);
  while (fallen.reports.length < 2) await fallen.step(10_000);
  expect(fallen.reports[1]).toMatchObject({ state: "unhealthy", at: 20_000 });
  fallen.end();
  await fallen.done;
});

test("nothing is reported after the end", async () => {
  const world = watched([undefined]);
  world.end();
  await world.done;
  expect(world.reports).toEqual([]);
});
