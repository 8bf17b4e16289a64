/** What a second agent finds after the first was lost: the truth, and never a second copy. */
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { isAlive } from "../../src/runner/proc.ts";
import type { RunState } from "../../src/runner/run-state.ts";
import { componentDir, createWorld, FOREVER, labelsFor, living, never, node, observed, readRun, specFor, startAndWait, startsOf } from "./world.ts";

const killRunner = async ({ runner }: RunState): Promise<void> => {
  process.kill(runner.pid, "SIGKILL");
  await eventually(() => !isAlive(runner), { what: "the runner's death" });
};

test("a second driver adopts what runs: the same pid, no start, restarts go on, and it can stop it", async () => {
  const { driver, again, stateDir } = createWorld();
  const labels = labelsFor();
  const spec = specFor(FOREVER, { restart: { policy: "always" } });
  await startAndWait(driver, labels, spec);
  const before = await observed(driver, labels);
  driver.close();
  process.kill(before.pid!, "SIGKILL"); // while no agent looks
  const second = again();
  let woken = 0;
  second.onChange(() => woken++);
  const after = await eventually(async () => { const seen = await observed(second, labels); return seen.state === "running" && seen.restarts === 1 && seen; }, { what: "the restart" });
  await startAndWait(second, labels, spec);
  expect(startsOf(stateDir, labels)).toHaveLength(2);
  process.kill(after.pid!, "SIGKILL");
  await eventually(() => woken > 0 && startsOf(stateDir, labels).length === 3, { what: "a wake-up by itself" });
  await second.stop(labels, 5_000);
  expect(living(labels)).toEqual([]);
});

describe("a killed runner", () => {
  test("leaves an orphan: reported as alive but unwatched, replaced by the same start, never doubled", async () => {
    const { driver, again, stateDir } = createWorld();
    const labels = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER));
    const { pid } = await observed(driver, labels);
    await killRunner(readRun(stateDir, labels));
    const second = again();
    expect(await observed(second, labels)).toMatchObject({ state: "unhealthy", pid, error: expect.stringContaining("without its runner") });
    await expect(second.start({ ...labels, generation: 2 }, specFor(FOREVER), never)).rejects.toMatchObject({ code: "already_running" });
    await expect(second.wait(labels, specFor(FOREVER), never)).rejects.toMatchObject({ code: "start_failed" });
    await startAndWait(second, labels, specFor(FOREVER));
    expect(living(labels)).toHaveLength(1);
    expect((await observed(second, labels)).pid).not.toBe(pid);
  });

  test("an orphan whose pid was never recorded is found by its labels, and stopped", async () => {
    const { driver, again, stateDir } = createWorld();
    const labels = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER));
    const run = readRun(stateDir, labels);
    await killRunner(readRun(stateDir, labels));
    // As after a kill between the spawn and the second write.
    writeFileSync(join(componentDir(stateDir, labels), "state.json"), JSON.stringify({ ...run, child: null, starts: 0, state: "starting" }));
    const second = again();
    expect(await observed(second, labels)).toMatchObject({ state: "unhealthy", pid: run.child?.pid });
    await second.stop(labels, 2_000);
    expect(living(labels)).toEqual([]);
    expect(await observed(second, labels)).toMatchObject({ state: "stopped" });
  });

  test("and a dead child: failed, and how it ended is called unknown", async () => {
    const { driver, again, stateDir } = createWorld();
    const labels = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER));
    const { child } = readRun(stateDir, labels);
    await killRunner(readRun(stateDir, labels));
    process.kill(child!.pid, "SIGKILL");
    await eventually(() => !isAlive(child!), { what: "the child's death" });
    expect(await observed(again(), labels)).toMatchObject({ state: "failed", error: expect.stringContaining("unknown") });
    expect(await observed(again(), labels)).not.toHaveProperty("pid");
  });

  test("wakes the driver that was connected", async () => {
    const { driver, stateDir } = createWorld();
    const labels = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER));
    let wakes = 0;
    driver.onChange(() => wakes++);
    await killRunner(readRun(stateDir, labels));
    await eventually(() => wakes > 0, { what: "a wake-up" });
  });
});

describe("identity", () => {
  test("a pid that now belongs to somebody else is neither adopted nor killed", async () => {
    const { driver, again, stateDir } = createWorld();
    const labels = labelsFor();
    const bystander = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER));
    await startAndWait(driver, bystander, specFor(FOREVER));
    const innocent = readRun(stateDir, bystander).child!;
    const run = readRun(stateDir, labels);
    await killRunner(readRun(stateDir, labels));
    process.kill(run.child!.pid, "SIGKILL");
    await eventually(() => !isAlive(run.child!), { what: "the child's death" });
    const reused = { pid: innocent.pid, start: innocent.start - 1 };
    writeFileSync(join(componentDir(stateDir, labels), "state.json"), JSON.stringify({ ...run, runner: reused, child: reused }));
    const second = again();
    expect(await observed(second, labels)).toMatchObject({ state: "failed" });
    await second.stop(labels, 100);
    expect(isAlive(innocent)).toBe(true);
  });

  test("after a reboot everything is stopped, says so, and starts only when asked", async () => {
    const { driver, again, stateDir } = createWorld({ readHostBootId: () => "boot-1" });
    const labels = labelsFor();
    const done = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER, { restart: { policy: "always" } }));
    await startAndWait(driver, done, specFor(node("")));
    const migration = labelsFor();
    await startAndWait(driver, migration, specFor(node(""), { run_to_completion: true }));
    await eventually(async () => (await observed(driver, migration)).state === "exited", { what: "the migration's end" });
    await eventually(async () => (await observed(driver, done)).state === "exited", { what: "the end" });
    // Under the same boot a good end stays one, whoever asks.
    await startAndWait(driver, done, specFor(node("")));
    const run = readRun(stateDir, labels);
    await killRunner(readRun(stateDir, labels));
    process.kill(run.child!.pid, "SIGKILL");
    await eventually(() => !isAlive(run.child!), { what: "the child's death" });
    const second = again({ readHostBootId: () => "boot-2" });
    expect(await observed(second, labels)).toMatchObject({ state: "stopped", error: "host rebooted" });
    expect(await observed(second, done)).toMatchObject({ state: "exited" }); // it had ended before
    expect(startsOf(stateDir, labels)).toHaveLength(1);
    await startAndWait(second, labels, specFor(FOREVER));
    expect(await observed(second, labels)).toMatchObject({ state: "running" });
    // A server that the shutdown told to go ended with 0 as well; what is meant to end has done its work.
    await second.start(done, specFor(node("")), never);
    await second.start(migration, specFor(node(""), { run_to_completion: true }), never);
    expect([startsOf(stateDir, done).length, startsOf(stateDir, migration).length]).toEqual([2, 1]);
  });
});

test("a damaged state file is called damaged; what runs under it is seen, not doubled, and can be stopped", async () => {
  const { driver, again, stateDir } = createWorld();
  const labels = labelsFor();
  await startAndWait(driver, labels, specFor(FOREVER));
  const run = readRun(stateDir, labels);
  const path = join(componentDir(stateDir, labels), "state.json");
  writeFileSync(path, readFileSync(path, "utf8").slice(0, 40));
  const second = again();
  expect(await observed(second, labels)).toMatchObject({ state: "running", pid: run.child?.pid }); // its runner still knows
  await killRunner(run);
  const seen = (await second.observe())[0];
  expect(seen).toMatchObject({ state: "unhealthy", labels: { placementId: labels.placementId, component: "web", jobId: "" } });
  await expect(second.start(labels, specFor(FOREVER), never)).rejects.toMatchObject({ code: "already_running" });
  await second.stop(labels, 2_000);
  expect(living(labels)).toEqual([]);
  await second.remove(labels);
  expect(await second.observe()).toEqual([]);
  appendFileSync(path, "{}");
  expect((await second.observe())[0]).toMatchObject({ state: "failed" });
});
