import { createBackgroundTasks, createLogger } from "@skep/runtime";
import { ManualClock } from "@skep/testkit";
import { expect, test } from "vitest";

function setUp() {
  const lines: string[] = [];
  const clock = new ManualClock();
  const logger = createLogger({ level: "debug", name: "t", destination: { write: (line: string) => void lines.push(line) } });
  return { lines, clock, tasks: createBackgroundTasks({ clock, logger }) };
}

test("a drain waits for all, also for those tracked meanwhile", async () => {
  const { tasks, clock } = setUp();
  const done: string[] = [];
  const first = Promise.resolve().then(() => {
    done.push("first");
    tasks.track("second", Promise.resolve().then(() => done.push("second")));
  });
  tasks.track("first", first);
  expect(tasks.size).toBe(1);
  expect(await tasks.drain(1_000)).toEqual([]);
  expect(done).toEqual(["first", "second"]);
  expect([tasks.size, clock.sleeping]).toEqual([0, 0]);
});

test("a failure is logged under its name and never an unhandled rejection", async () => {
  const { tasks, lines } = setUp();
  tasks.track("doomed", Promise.reject(new Error("no")));
  expect(await tasks.drain(1_000)).toEqual([]);
  expect(lines.join("")).toContain("doomed");
});

test("what does not finish in time is named", async () => {
  const { tasks, clock } = setUp();
  tasks.track("stuck", new Promise(() => undefined));
  const left = tasks.drain(1_000);
  await clock.sleepers(1);
  clock.advance(1_000);
  expect(await left).toEqual(["stuck"]);
});
