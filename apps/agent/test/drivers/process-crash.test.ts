/** `kill -9` of the agent at any instant of a start: either its runner is found under the labels, or nothing runs. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { below, seededRng } from "@skep/core";
import type { ComponentSpec, WorkloadLabels } from "@skep/core";
import { eventually, seedFromEnv, tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { isAlive } from "../../src/runner/proc.ts";
import { compileProgram } from "./compile.ts";
import { clock, componentDir, createWorld, FOREVER, labelsFor, living, observed, readRun, specFor, startAndWait, startsOf, testRunner } from "./world.ts";

/** Long enough to fall on both sides of every step of a start; a kill after "done" is the control. */
const LATEST_KILL_MS = 150;
const ROUNDS = 12;

/** Runs one start in a process of its own and kills that `afterMs` after it began. Says how far it got. */
async function startAndKill(program: string, stateDir: string, labels: WorkloadLabels, spec: ComponentSpec, afterMs: number): Promise<string> {
  const child = spawn(process.execPath, [program, stateDir, testRunner(), JSON.stringify(labels), JSON.stringify(spec)], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  const gone = new Promise((resolve) => child.once("exit", resolve));
  await eventually(() => said.includes("go"), { what: "the start's beginning", timeoutMs: 20_000 });
  await clock.sleep(afterMs); // the fault itself, not a wait for anything
  child.kill("SIGKILL");
  await gone;
  return said;
}

test("twelve random instants, with and without the runner dying too: never two copies, one start per job", { timeout: 120_000 }, async () => {
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
      const { runner } = readRun(stateDir, labels);
      if (isAlive(runner)) process.kill(runner.pid, "SIGKILL");
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

test("an agent killed before it said go leaves a runner that leaves, and the next start is the first", async () => {
  const { driver, again, stateDir } = createWorld();
  const labels = labelsFor();
  const program = compileProgram("start-and-stay", tempDir("program"));
  let cut = 0;
  for (let afterMs = 0; cut === 0 && afterMs < 60; afterMs += 3) {
    const one = labelsFor();
    await startAndKill(program, stateDir, one, specFor(FOREVER), afterMs);
    if (!existsSync(join(componentDir(stateDir, one), "state.json"))) cut++;
    const seen = (await driver.observe()).find((found) => found.labels.placementId === one.placementId);
    // Whatever was seen is one of these, and never "running" without a process.
    if (seen?.state === "running") expect(living(one)).toHaveLength(1);
  }
  await startAndWait(again(), labels, specFor(FOREVER));
  expect(startsOf(stateDir, labels)).toHaveLength(1);
});
