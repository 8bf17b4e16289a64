/** Ends, restarts by policy, and what a waiting deploy is told. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { createWorld, FOREVER, labelsFor, living, never, node, observed, specFor, startAndWait, startsOf } from "./world.ts";

const settled = (driver: Parameters<typeof observed>[0], labels: Parameters<typeof observed>[1]) =>
  eventually(async () => { const seen = await observed(driver, labels); return ["exited", "failed"].includes(seen.state) && seen; }, { what: "an end" });

/** Settles never, so that a slow machine cannot turn an early end into a late one. */
const UNSETTLED = { timings: { settleMs: 600_000, backoffBaseMs: 20, backoffCapMs: 100 } };

describe("ends", () => {
  test("never: a failure is told with its last output, control characters escaped, and is not restarted", async () => {
    const { driver, stateDir } = createWorld(UNSETTLED);
    const labels = labelsFor();
    const spec = specFor(node(`console.log("x".repeat(2000)); console.log("boom \\u001b[31mred\\u202e"); process.exit(7)`));
    await driver.start(labels, spec, never);
    const error = await driver.wait(labels, spec, never).catch((caught: Error) => caught) as Error;
    expect(error).toMatchObject({ code: "exited_early", message: expect.stringContaining("exited with code 7") });
    expect(error.message).toContain("boom \\u001b[31mred\\u202e");
    expect(error.message.length).toBeLessThan(650);
    expect(await observed(driver, labels)).toMatchObject({ state: "failed", exitCode: 7, restarts: 0 });
    expect(startsOf(stateDir, labels)).toHaveLength(1);
  });

  test("a run to a good end is what was asked, and the same job does not run it again; another job does", async () => {
    const { driver, stateDir } = createWorld();
    const labels = labelsFor();
    await startAndWait(driver, labels, specFor(node("")));
    expect(await settled(driver, labels)).toMatchObject({ state: "exited", exitCode: 0 });
    await driver.start(labels, specFor(node("")), never);
    expect(startsOf(stateDir, labels)).toHaveLength(1);
    await driver.start({ ...labels, jobId: labelsFor().jobId }, specFor(node("")), never);
    expect(startsOf(stateDir, labels)).toHaveLength(2);
  });

  test("a death by signal is a failure with the signal's name", async () => {
    const { driver } = createWorld();
    const labels = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER));
    process.kill((await observed(driver, labels)).pid!, "SIGKILL");
    expect(await settled(driver, labels)).toMatchObject({ state: "failed", signal: "SIGKILL", error: "was killed by SIGKILL" });
  });
});

describe("restarts", () => {
  test("on_failure restarts up to max and then gives up; wait hears of it", async () => {
    const { driver, stateDir } = createWorld(UNSETTLED);
    const labels = labelsFor();
    const spec = specFor(node("process.exit(1)"), { restart: { policy: "on_failure", max: 3 } });
    await driver.start(labels, spec, never);
    await expect(driver.wait(labels, spec, never)).rejects.toMatchObject({ code: "exited_early", message: expect.stringContaining("gave up after 3 restarts") });
    expect(startsOf(stateDir, labels).map(({ count }) => count)).toEqual([1, 2, 3, 4]);
    expect(await observed(driver, labels)).toMatchObject({ state: "failed", restarts: 3 });
  });

  test("on_failure leaves a good end alone; always does not", async () => {
    const { driver, stateDir } = createWorld();
    const once = labelsFor();
    const again = labelsFor();
    await driver.start(once, specFor(node(""), { restart: { policy: "on_failure" } }), never);
    await driver.start(again, specFor(node(""), { restart: { policy: "always" } }), never);
    expect(await settled(driver, once)).toMatchObject({ state: "exited", restarts: 0 });
    await eventually(() => startsOf(stateDir, again).length >= 3, { what: "restarts" });
    expect(startsOf(stateDir, once)).toHaveLength(1);
  });

  test("a killed process comes back with another pid and its own ports, and the change is announced", async () => {
    const { driver } = createWorld();
    const labels = labelsFor();
    let wakes = 0;
    driver.onChange(() => wakes++);
    await startAndWait(driver, labels, specFor(FOREVER, { restart: { policy: "always" }, ports: [{ name: "http", protocol: "tcp" }] }));
    const before = await observed(driver, labels);
    const wakesBefore = wakes;
    process.kill(before.pid!, "SIGKILL");
    const after = await eventually(async () => { const seen = await observed(driver, labels); return seen.state === "running" && seen.pid !== before.pid && seen; }, { what: "the restart" });
    expect(after).toMatchObject({ restarts: 1, ports: before.ports });
    await eventually(() => wakes > wakesBefore, { what: "the announcement" });
    expect(living(labels)).toHaveLength(1);
  });

  test("a program that vanishes between restarts is named, not given an exit code it never had", async () => {
    const { driver, stateDir } = createWorld();
    const labels = labelsFor();
    const working = join(stateDir, "w");
    mkdirSync(working);
    await startAndWait(driver, labels, specFor(FOREVER, { working_dir: working, restart: { policy: "always", max: 1 } }));
    const { pid } = await observed(driver, labels);
    rmSync(working, { recursive: true });
    process.kill(pid!, "SIGKILL");
    const seen = await settled(driver, labels);
    expect(seen.error).toContain("working directory");
    expect(seen).not.toHaveProperty("exitCode");
  });
});

test("wait ends with its signal and says what it was waiting for", async () => {
  const { driver } = createWorld(UNSETTLED);
  const labels = labelsFor();
  await driver.start(labels, specFor(FOREVER), never);
  const abort = new AbortController();
  const waiting = driver.wait(labels, specFor(FOREVER), abort.signal);
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ code: "aborted", message: expect.stringContaining("starting") });
  await expect(driver.start(labelsFor(), specFor(FOREVER), abort.signal)).rejects.toMatchObject({ code: "aborted" });
  const stopped = expect(driver.wait(labels, specFor(FOREVER), never)).rejects.toMatchObject({ code: "stopped" });
  await driver.stop(labels, 5_000);
  await stopped;
});
