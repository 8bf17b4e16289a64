/** `kill -9` of the agent at any instant of a start: either its runner is found under the labels, or nothing runs. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { below, seededRng } from "@skep/core";
import type { ComponentSpec, WorkloadLabels } from "@skep/core";
import { eventually, seedFromEnv, tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { identify, isAlive } from "../../src/runner/proc.ts";
import type { RunState } from "../../src/runner/run-state.ts";
import { compileProgram } from "./compile.ts";
import { clock, componentDir, createWorld, FOREVER, killIfAlive, labelsFor, living, never, observed, readRun, specFor, startAndWait, startsOf, testRunner } from "./world.ts";

/** Long enough to fall on both sides of every step of a start; a kill after "done" is the control. */
const LATEST_KILL_MS = 150;
const ROUNDS = 12;

/** Runs one start in a process of its own and kills that `afterMs` after it began. Says how far it got. */
async function startAndKill(program: string, stateDir: string, labels: WorkloadLabels, spec: ComponentSpec, afterMs: number): Promise<string> {
  const child = spawn(process.execPath, [program, stateDir, testRunner(), JSON.stringify(labels), JSON.stringify(spec)], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  const gone = new Promise((resolve) => child.once("exit", resolve));
  await eventually(() => said.includes("go"), { what: "the start's beginning", timeoutMs: 60_000 });
  await clock.sleep(afterMs); // the fault itself, not a wait for anything
  child.kill("SIGKILL");
  await gone;
  return said;
}

test("twelve random instants, with and without the runner dying too: never two copies, one start per job", { timeout: 240_000 }, async () => {
  const rng = seededRng(seedFromEnv());
  const program = compileProgram("start-and-stay", tempDir("program"));
  const { stateDir, again } = createWorld();
  const finished: boolean[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const labels = labelsFor();
    const spec = specFor(FOREVER);
    const afterMs = below(rng, LATEST_KILL_MS);
    const alsoRunner = round % 3 === 2;
    const said = await startAndKill(program, stateDir, labels, spec, afterMs);
    finished.push(said.includes("done"));
    if (alsoRunner && existsSync(join(componentDir(stateDir, labels), "state.json"))) {
      // One that nobody told to go is leaving by itself.
      killIfAlive(readRun(stateDir, labels).runner);
    }
    expect(living(labels).length).toBeLessThanOrEqual(1);
    const next = again();
    await startAndWait(next, labels, spec);
    expect(living(labels), `round ${round}, killed after ${afterMs} ms`).toHaveLength(1);
    expect(await observed(next, labels)).toMatchObject({ state: "running" });
    // Where the runner lived on, the second start must have found the first one's.
    if (!alsoRunner) expect(startsOf(stateDir, labels)).toHaveLength(1);
    await next.stop(labels, 5_000);
    next.close();
  }
  console.log(`starts that had finished before the kill: ${finished.filter(Boolean).length} of ${ROUNDS}`);
});

/** A real runner whose agent has written the state file and not yet said go. */
async function halfLaunched(stateDir: string, labels: WorkloadLabels): Promise<ChildProcess> {
  const path = componentDir(stateDir, labels);
  mkdirSync(join(path, "logs"), { recursive: true });
  const runner = spawn(process.execPath, [testRunner(), labels.placementId, labels.component], { cwd: path, env: {}, detached: true, stdio: ["pipe", "ignore", "inherit"] });
  const id = await eventually(() => identify(runner.pid!), { what: "the runner" });
  const state: RunState = {
    version: 1, runId: "0a", hostBootId: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(), runner: id, child: null,
    labels, spec: specFor(FOREVER), ports: {}, state: "starting", since: clock.now(), restarts: 0, starts: 0,
  };
  writeFileSync(join(path, "state.json"), JSON.stringify(state));
  return runner;
}

test("killed before it said go: the runner leaves, the next start waits for that and is the first", async () => {
  const { driver, stateDir } = createWorld();
  const labels = labelsFor();
  const runner = await halfLaunched(stateDir, labels);
  expect(await observed(driver, labels)).toMatchObject({ state: "starting" });
  let done = false;
  const starting = driver.start(labels, specFor(FOREVER), never).then(() => (done = true));
  await observed(driver, labels);
  expect(done).toBe(false); // a runner that has started nothing is not taken for a start
  runner.stdin?.destroy(); // what the kernel does for a killed agent
  await starting;
  await driver.wait(labels, specFor(FOREVER), never);
  expect(startsOf(stateDir, labels)).toHaveLength(1);
  expect(living(labels)).toHaveLength(1);
});

test("killed before it said go, and nobody starts it again: reported as not started; a stop ends a runner that hangs there", async () => {
  const { driver, stateDir } = createWorld();
  const left = labelsFor();
  const gone = await halfLaunched(stateDir, left);
  gone.stdin?.destroy();
  expect(await eventually(async () => { const seen = await observed(driver, left); return seen.state === "failed" && seen; }, { what: "the truth" })).toMatchObject({ error: expect.stringContaining("not started") });
  const hanging = labelsFor();
  const runner = await halfLaunched(stateDir, hanging);
  await driver.stop(hanging, 1_000);
  expect(await observed(driver, hanging)).toMatchObject({ state: "stopped" });
  expect(identify(runner.pid!)).toBeUndefined();
});

test("a runner that cannot run or never answers is a failed start with nothing left; control: the same start with a good one", async () => {
  const stuck = join(tempDir("stuck"), "stuck.js");
  writeFileSync(stuck, "setInterval(() => {}, 1000)");
  const { again, stateDir } = createWorld();
  const labels = labelsFor();
  await expect(again({ runnerPath: "/no/runner.js" }).start(labels, specFor(FOREVER), never)).rejects.toMatchObject({ code: "start_failed", message: expect.stringContaining("Cannot find module") });
  const hung = again({ runnerPath: stuck, launchTimeoutMs: 200 });
  await expect(hung.start(labels, specFor(FOREVER), never)).rejects.toMatchObject({ code: "start_failed", message: expect.stringContaining("in time") });
  expect(await observed(hung, labels)).toMatchObject({ state: "failed" });
  expect(isAlive(readRun(stateDir, labels).runner)).toBe(false);
  await startAndWait(again(), labels, specFor(FOREVER));
});
