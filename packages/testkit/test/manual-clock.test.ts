import { getEventListeners } from "node:events";
import { ManualClock } from "@skep/testkit";
import { expect, test } from "vitest";

test("time stands still until it is advanced, and then sleepers wake in order, each at its own time", async () => {
  const clock = new ManualClock(1_000);
  const woken: string[] = [];
  for (const ms of [300, 100, 200]) void clock.sleep(ms).then(() => woken.push(`${ms}`));
  await clock.sleepers(3);
  clock.advance(99);
  await Promise.resolve();
  expect([woken, clock.mono(), clock.now()]).toEqual([[], 99, 1_099]);
  clock.advance(151);
  await Promise.resolve();
  expect([woken, clock.sleeping]).toEqual([["100", "200"], 1]);
});

test("run() keeps the rhythm of one who sleeps again; advance() wakes it once", async () => {
  const ticksOf = async (move: (clock: ManualClock) => unknown): Promise<number[]> => {
    const clock = new ManualClock();
    const ticks: number[] = [];
    void (async () => {
      for (;;) {
        await clock.sleep(100);
        ticks.push(clock.mono());
      }
    })();
    await move(clock);
    await new Promise((resolve) => setImmediate(resolve));
    return ticks;
  };
  expect(await ticksOf((clock) => clock.run(350))).toEqual([100, 200, 300]);
  expect(await ticksOf((clock) => clock.advance(350))).toEqual([350]);
});

test("an abort wakes early and leaves no listener; an aborted signal does not sleep at all", async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  const sleep = clock.sleep(1_000, stop.signal);
  stop.abort();
  await sleep;
  await clock.sleep(1_000, stop.signal);
  const other = new AbortController();
  const slept = clock.sleep(10, other.signal);
  clock.advance(10);
  await slept;
  expect([clock.sleeping, clock.mono(), getEventListeners(other.signal, "abort").length]).toEqual([0, 10, 0]);
});

test("the wall clock can be stepped without touching durations", async () => {
  const clock = new ManualClock(10_000);
  const sleep = clock.sleep(50);
  clock.stepWall(-3_600_000);
  expect([clock.now(), clock.mono(), clock.sleeping]).toEqual([10_000 - 3_600_000, 0, 1]);
  clock.advance(50);
  await sleep;
});

test("the handshake says how many there were when it gives up", async () => {
  const clock = new ManualClock();
  void clock.sleep(1);
  await expect(clock.sleepers(2, 20)).rejects.toThrow("2 sleepers on the manual clock (last seen: 1 sleeping)");
});
