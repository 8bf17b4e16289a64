import { seededRng } from "@skep/core";
import { createLogger, loop, systemClock } from "@skep/runtime";
import { eventually, ManualClock, seedFromEnv } from "@skep/testkit";
import { expect, test } from "vitest";

const lines: string[] = [];
const logger = createLogger({ level: "debug", name: "test", destination: { write: (line: string) => void lines.push(line) } });

/** A loop on a manual clock whose rounds are recorded by their time and can be held open. */
function startLoop(options: { everyMs?: number | (() => number); jitterShare?: number; once?: (signal: AbortSignal) => Promise<unknown> } = {}) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const rounds: number[] = [];
  const running = loop({
    name: "test",
    everyMs: options.everyMs ?? 100,
    jitterShare: options.jitterShare ?? 0,
    clock,
    rng: seededRng(1),
    logger,
    signal: stop.signal,
    once: async (signal) => {
      rounds.push(clock.mono());
      await options.once?.(signal);
    },
  });
  return { clock, rounds, running, stop: async () => (stop.abort(), running.stopped) };
}

test("starts at once and keeps a fixed rate", async () => {
  const { clock, rounds, stop } = startLoop();
  await clock.run(350);
  expect(rounds).toEqual([0, 100, 200, 300]);
  await stop();
  expect(clock.sleeping).toBe(0);
});

test("a slow round does not push the next one back, and missed rounds are not made up for", async () => {
  let clock: ManualClock | undefined;
  let slowMs = 30;
  const started = startLoop({ once: () => clock?.sleep(slowMs) ?? Promise.resolve() });
  clock = started.clock;
  await clock.run(199);
  expect(started.rounds).toEqual([0, 100]);
  slowMs = 350;
  await clock.run(1);
  slowMs = 30;
  await clock.run(500);
  // 200 ran until 550; one round at once for the three missed, then every 100 again.
  expect(started.rounds).toEqual([0, 100, 200, 550, 650]);
  await started.stop();
});

test("a wake-up runs a round now and leaves the schedule alone", async () => {
  const { clock, rounds, running, stop } = startLoop();
  await clock.run(50);
  running.wake();
  await clock.run(100);
  expect(rounds).toEqual([0, 50, 100]);
  await stop();
});

test("wake-ups during a round become exactly one more round", async () => {
  const gate: (() => void)[] = [];
  const { rounds, running, stop } = startLoop({ once: () => new Promise<void>((resolve) => gate.push(resolve)) });
  running.wake();
  running.wake();
  running.wake();
  gate[0]!();
  await eventually(() => gate.length === 2, { what: "the second round" });
  gate[1]!();
  await new Promise((resolve) => setImmediate(resolve));
  expect(rounds).toEqual([0, 0]);
  await stop();
});

test("control: without a wake-up there is no second round", async () => {
  const { rounds, stop } = startLoop();
  await new Promise((resolve) => setImmediate(resolve));
  expect(rounds).toEqual([0]);
  await stop();
});

test("a throwing round is logged and the loop goes on, synchronous throws and a throwing period included", async () => {
  lines.length = 0;
  let round = 0;
  const { clock, rounds, stop } = startLoop({
    everyMs: () => {
      if (round === 2) throw new Error("no period");
      return 100;
    },
    once: () => {
      round++;
      throw new Error(`round ${round}`);
    },
  });
  await clock.run(250);
  expect(rounds.length).toBe(2);
  expect(lines.join("")).toContain("round 1");
  expect(lines.join("")).toContain("no period");
  await stop();
});

test("the period is asked again each round", async () => {
  let everyMs = 100;
  const { clock, rounds, stop } = startLoop({ everyMs: () => everyMs });
  await clock.run(100);
  everyMs = 40;
  await clock.run(190);
  expect(rounds).toEqual([0, 100, 200, 240, 280]);
  await stop();
});

test("stop leaves a sleep at once, tells a running round, and starts none afterwards", async () => {
  let told = false;
  const { rounds, running, stop } = startLoop({
    once: (signal) => new Promise<void>((resolve) => signal.addEventListener("abort", () => ((told = true), resolve()))),
  });
  await stop();
  running.wake();
  expect([told, rounds.length]).toEqual([true, 1]);
});

test("a loop that was stopped before it began never runs", async () => {
  const clock = new ManualClock();
  let rounds = 0;
  await loop({ name: "t", everyMs: 1, jitterShare: 0, clock, rng: seededRng(1), logger, signal: AbortSignal.abort(), once: async () => rounds++ }).stopped;
  expect(rounds).toBe(0);
});

test("jitter spreads the periods and keeps their bounds", async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  const at: number[] = [];
  const { stopped } = loop({ name: "t", everyMs: 100, jitterShare: 0.2, clock, rng: seededRng(seedFromEnv()), logger, signal: stop.signal, once: async () => at.push(clock.mono()) });
  await clock.run(10_000);
  stop.abort();
  await stopped;
  const gaps = at.slice(1).map((ms, i) => ms - at[i]!);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(80 - 1e-6);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(120 + 1e-6);
  expect(new Set(gaps).size).toBeGreaterThan(10);
});

test("on the real clock too: rounds go on and stop is prompt", async () => {
  const stop = new AbortController();
  let rounds = 0;
  const { stopped } = loop({ name: "t", everyMs: 5, jitterShare: 0, clock: systemClock(), rng: seededRng(1), logger, signal: stop.signal, once: async () => rounds++ });
  await eventually(() => rounds >= 3, { what: "three rounds" });
  stop.abort();
  await stopped;
});
