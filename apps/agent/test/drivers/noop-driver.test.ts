/** The noop driver: does nothing, remembers everything, fails where it is told to. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRng } from "@skep/core";
import { ManualClock, tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { createNoopDriver } from "../../src/drivers/index.ts";
import { clock, labelsFor, never, specFor } from "./world.ts";

const rng = seededRng(1);
const starts = (dir: string) => readFileSync(join(dir, "starts.log"), "utf8").trim().split("\n").map((line) => JSON.parse(line) as { job: string; order: number });

test("workloads survive an agent's restart; each actual start is one line", async () => {
  const stateDir = tempDir("noop");
  const first = createNoopDriver({ stateDir, clock, rng });
  const labels = labelsFor();
  await first.prepare(labels, specFor([]), never);
  await first.start(labels, specFor([]), never);
  await first.start(labels, specFor([]), never);
  await expect(first.start({ ...labels, generation: 2 }, specFor([]), never)).rejects.toMatchObject({ code: "already_running" });
  const second = createNoopDriver({ stateDir, clock, rng });
  await second.start(labels, specFor([]), never);
  await second.wait(labels, specFor([]), never);
  expect(await second.observe()).toMatchObject([{ labels, state: "running" }]);
  expect(starts(stateDir)).toMatchObject([{ job: labels.jobId, order: 1 }]);
  await second.stop(labels, 1);
  expect(await second.observe()).toMatchObject([{ state: "stopped" }]);
  await expect(second.wait(labels, specFor([]), never)).rejects.toMatchObject({ code: "stopped" });
  await second.remove(labels);
  expect(await createNoopDriver({ stateDir, clock, rng }).observe()).toEqual([]);
  const other = labelsFor();
  await createNoopDriver({ stateDir, clock, rng }).start(other, specFor([]), never);
  expect(starts(stateDir).map(({ order }) => order)).toEqual([1, 2]);
});

test("a start whose line was not written before a kill is made up for at load, once; control: a written one is not", async () => {
  const stateDir = tempDir("noop");
  await createNoopDriver({ stateDir, clock, rng }).start(labelsFor(), specFor([]), never);
  rmSync(join(stateDir, "starts.log"));
  createNoopDriver({ stateDir, clock, rng });
  createNoopDriver({ stateDir, clock, rng });
  expect(starts(stateDir)).toHaveLength(1);
});

test("fails at the verb it is told to; a start takes start_ms and an abort in it starts nothing", async () => {
  const driver = createNoopDriver({ clock, rng });
  const failing = (at: "prepare" | "start" | "stop") => specFor([], { noop: { fail: { at, message: `at ${at}` } } });
  await expect(driver.prepare(labelsFor(), failing("prepare"), never)).rejects.toMatchObject({ code: "noop_failed", message: "at prepare" });
  await expect(driver.start(labelsFor(), failing("start"), never)).rejects.toMatchObject({ code: "noop_failed" });
  const labels = labelsFor();
  await driver.start(labels, failing("stop"), never);
  await expect(driver.stop(labels, 1)).rejects.toMatchObject({ code: "noop_failed" });
  expect(await driver.observe()).toMatchObject([{ state: "running" }]);

  const manual = new ManualClock();
  const slow = createNoopDriver({ clock: manual, rng });
  const abort = new AbortController();
  const one = slow.start(labels, specFor([], { noop: { start_ms: 5_000 } }), never);
  const two = slow.start(labelsFor(), specFor([], { noop: { start_ms: 5_000 } }), abort.signal);
  await manual.sleepers(2);
  expect(await slow.observe()).toEqual([]);
  abort.abort();
  await expect(two).rejects.toMatchObject({ code: "aborted" });
  manual.advance(5_000);
  await one;
  expect(await slow.observe()).toMatchObject([{ labels }]);
});

test("a memory that cannot be written refuses the start and keeps the old truth; a damaged one refuses to open", async () => {
  const stateDir = join(tempDir("noop"), "gone");
  const driver = createNoopDriver({ stateDir, clock, rng });
  rmSync(stateDir, { recursive: true });
  await expect(driver.start(labelsFor(), specFor([]), never)).rejects.toMatchObject({ code: "start_failed" });
  expect(await driver.observe()).toEqual([]);
  const damaged = tempDir("noop");
  writeFileSync(join(damaged, "noop.json"), "[{");
  expect(() => createNoopDriver({ stateDir: damaged, clock, rng })).toThrow();
});

test("logs of something it never ran are not found; of something it did, empty", async () => {
  const driver = createNoopDriver({ clock, rng });
  const labels = labelsFor();
  await expect(driver.logs(labels.placementId, "web", 0, 1)).rejects.toMatchObject({ code: "logs_not_found" });
  await driver.start(labels, specFor([]), never);
  expect((await driver.logs(labels.placementId, "web", 0, 1)).nextOffset).toBe(0);
});
