/** A component is its process group: it has stopped when the last of it is gone. */
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import { clock, createWorld, FOREVER, labelsFor, living, never, node, observed, readRun, specFor, startAndWait, textOf } from "./world.ts";

/** Starts a grandchild that ignores SIGTERM, in the same group, and says so once it does. */
const STUBBORN_FAMILY = node(`
  const { spawn } = require("node:child_process");
  spawn(process.execPath, ["-e", "process.on('SIGTERM', () => {}); console.log('deaf'); setInterval(() => {}, 1000)"], { stdio: "inherit" });
  setInterval(() => {}, 1000)`);
const heard = (driver: Parameters<typeof textOf>[0], labels: Parameters<typeof textOf>[1], word: string) =>
  eventually(async () => (await textOf(driver, labels)).includes(word), { what: `"${word}" in the log` });

test("a grandchild that ignores SIGTERM is killed with its group after the timeout", async () => {
  const { driver } = createWorld();
  const labels = labelsFor();
  await startAndWait(driver, labels, specFor(STUBBORN_FAMILY));
  await heard(driver, labels, "deaf");
  expect(living(labels)).toHaveLength(2);
  await driver.stop(labels, 300);
  expect(living(labels)).toEqual([]);
  expect(await observed(driver, labels)).toMatchObject({ state: "stopped" });
});

test("control: a stop that has not reached its timeout waits for the grandchild; a more impatient one shortens it", async () => {
  const { driver, stateDir, again } = createWorld();
  const labels = labelsFor();
  await startAndWait(driver, labels, specFor(STUBBORN_FAMILY));
  await heard(driver, labels, "deaf");
  let stopped = false;
  const patient = driver.stop(labels, 600_000).then(() => (stopped = true));
  await eventually(() => living(labels).length === 1, { what: "the polite one gone" });
  expect(stopped).toBe(false);
  expect(readRun(stateDir, labels).state).toBe("running");
  await again().stop(labels, 0);
  await patient;
  expect(living(labels)).toEqual([]);
});

test("a child that dies and leaves a grandchild behind is cleared away before the next one starts", async () => {
  const { driver } = createWorld();
  const labels = labelsFor();
  const command = node(`
    require("node:child_process").spawn(process.execPath, ["-e", "console.log('left'); setInterval(() => {}, 1000)"], { stdio: "inherit" });
    setTimeout(() => process.exit(3), 300)`);
  await driver.start(labels, specFor(command, { restart: { policy: "on_failure", max: 2 } }), never);
  await expect(driver.wait(labels, specFor(command), never)).resolves.toBeUndefined();
  let most = 0;
  await eventually(async () => {
    most = Math.max(most, living(labels).length);
    return (await observed(driver, labels)).state === "failed";
  }, { what: "given up" });
  expect(most).toBeLessThanOrEqual(2);
  expect(living(labels)).toEqual([]);
});

test("a workload stopped by SIGSTOP still stops, and one in back-off stops at once", async () => {
  const { driver } = createWorld({ timings: { settleMs: 50, backoffBaseMs: 600_000, backoffCapMs: 600_000 } });
  const frozen = labelsFor();
  await startAndWait(driver, frozen, specFor(FOREVER));
  process.kill((await observed(driver, frozen)).pid!, "SIGSTOP");
  await driver.stop(frozen, 600_000);
  expect(living(frozen)).toEqual([]);

  const crashing = labelsFor();
  await driver.start(crashing, specFor(node("process.exit(1)"), { restart: { policy: "always" } }), never);
  await eventually(async () => (await observed(driver, crashing)).state === "backoff", { what: "back-off" });
  await driver.stop(crashing, 600_000);
  expect(await observed(driver, crashing)).toMatchObject({ state: "stopped", exitCode: 1 });
});

test("a runner that is frozen does not block the look, and does not save its component from a stop", async () => {
  const { driver, stateDir } = createWorld({ askTimeoutMs: 100 });
  const labels = labelsFor();
  const other = labelsFor();
  await startAndWait(driver, labels, specFor(FOREVER));
  await startAndWait(driver, other, specFor(FOREVER));
  process.kill(readRun(stateDir, labels).runner.pid, "SIGSTOP");
  expect(await observed(driver, labels)).toMatchObject({ state: "running", error: expect.stringContaining("does not answer") });
  // A tenth of a second may be too short for its good neighbour now and then.
  await eventually(async () => !("error" in (await observed(driver, other))), { what: "the other's answer" });
  process.kill((await observed(driver, labels)).pid!, "SIGKILL");
  // Its frozen parent cannot reap it; a zombie is not a running component.
  expect(await eventually(async () => { const seen = await observed(driver, labels); return seen.state === "failed" && seen; }, { what: "the death seen" })).toMatchObject({ error: expect.stringContaining("is gone") });
  await driver.stop(labels, 500);
  expect(await observed(driver, labels)).toMatchObject({ state: "stopped" });
});

test("a runner told to end by SIGTERM stops its component and says why", async () => {
  const { driver, stateDir } = createWorld();
  const labels = labelsFor();
  await startAndWait(driver, labels, specFor(FOREVER, { restart: { policy: "always" } }));
  process.kill(readRun(stateDir, labels).runner.pid, "SIGTERM");
  const seen = await eventually(async () => { const one = await observed(driver, labels); return one.state === "stopped" && one; }, { what: "stopped" });
  expect(seen.error).toContain("SIGTERM");
  expect(living(labels)).toEqual([]);
  expect(seen.since).toBeLessThanOrEqual(clock.now());
});
