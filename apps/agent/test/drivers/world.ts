/** A scratch host for driver tests: real processes, a compiled runner, and nothing left behind at the end. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ComponentSpec, Logger, ObservedComponent, WorkloadLabels } from "@skep/core";
import { seededRng, uuidv7 } from "@skep/core";
import { systemClock, systemRng } from "@skep/runtime";
import { tempDir } from "@skep/testkit";
import { afterAll, afterEach } from "vitest";
import { createProcessDriver } from "../../src/drivers/index.ts";
import type { ProcessDriver, ProcessDriverOptions } from "../../src/drivers/index.ts";
import { groupMembers, isAlive, scanLabelled } from "../../src/runner/proc.ts";
import type { ProcessId, RunState } from "../../src/runner/run-state.ts";
import { compileRunner } from "./compile.ts";

export const clock = systemClock();
export const never = new AbortController().signal;
export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

let runnerPath: string | undefined;
export const testRunner = (): string => (runnerPath ??= compileRunner(tempDir("runner")));

export const labelsFor = (component = "web", patch: Partial<WorkloadLabels> = {}): WorkloadLabels => ({
  placementId: uuidv7(clock.now(), systemRng()), deployment: "shop", component, jobId: uuidv7(clock.now(), systemRng()),
  generation: 1, epoch: 1, componentHash: "a".repeat(64), ...patch,
});

export const specFor = (command: readonly string[], patch: Partial<ComponentSpec> = {}): ComponentSpec => ({
  name: "web", command, env: {}, ports: [], restart: { policy: "never" }, depends_on: [], stop_timeout_s: 5, ...patch,
});

/** A program in JavaScript, so that tests need no shell. */
export const node = (script: string, ...args: readonly string[]): string[] => [process.execPath, "-e", script, ...args];
export const FOREVER = node("setInterval(() => {}, 1000)");

export interface World {
  readonly stateDir: string;
  readonly driver: ProcessDriver;
  /** Another driver on the same state, as after an agent's restart. */
  again(patch?: Partial<ProcessDriverOptions>): ProcessDriver;
}

const worlds: { stateDir: string; drivers: ProcessDriver[] }[] = [];

export function createWorld(patch: Partial<ProcessDriverOptions> = {}): World {
  const stateDir = patch.stateDir ?? tempDir("state");
  const record = { stateDir, drivers: [] as ProcessDriver[] };
  worlds.push(record);
  const again = (more: Partial<ProcessDriverOptions> = {}): ProcessDriver => {
    const driver = createProcessDriver({ clock, rng: systemRng(), logger: silent, runnerPath: testRunner(), timings: { settleMs: 50, backoffBaseMs: 20, backoffCapMs: 100 }, ...patch, ...more, stateDir });
    record.drivers.push(driver);
    return driver;
  };
  return { stateDir, driver: again(), again };
}

export const componentDir = (stateDir: string, labels: WorkloadLabels): string => join(stateDir, "placements", labels.placementId, labels.component);
export const readRun = (stateDir: string, labels: WorkloadLabels): RunState => JSON.parse(readFileSync(join(componentDir(stateDir, labels), "state.json"), "utf8")) as RunState;

export interface StartRecord {
  readonly job: string;
  readonly count: number;
  readonly pid: number;
}

export function startsOf(stateDir: string, labels: WorkloadLabels): StartRecord[] {
  const path = join(stateDir, "placements", labels.placementId, "starts.log");
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8").trim().split("\n").map((line) => JSON.parse(line) as StartRecord);
}

/** Everything alive that carries the component's labels. */
export const living = (labels: WorkloadLabels): ProcessId[] => scanLabelled().get(`${labels.placementId}/${labels.component}`) ?? [];

export async function observed(driver: ProcessDriver, labels: WorkloadLabels): Promise<ObservedComponent> {
  const found = (await driver.observe()).find((one) => one.labels.placementId === labels.placementId && one.labels.component === labels.component);
  if (found === undefined) throw new Error(`${labels.component} is not observed`);
  return found;
}

export async function textOf(driver: ProcessDriver, labels: WorkloadLabels): Promise<string> {
  return Buffer.from((await driver.logs(labels.placementId, labels.component, 0, 1_000_000)).data).toString("utf8");
}

export async function startAndWait(driver: ProcessDriver, labels: WorkloadLabels, spec: ComponentSpec): Promise<void> {
  await driver.prepare(labels, spec, never);
  await driver.start(labels, spec, never);
  await driver.wait(labels, spec, never);
}

/** What is dying of an earlier signal may be gone between the look and this one. */
export function killIfAlive(found: ProcessId): void {
  try {
    if (isAlive(found)) process.kill(found.pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
const killAll = (processes: readonly ProcessId[]): void => processes.forEach(killIfAlive);

/** By identity, never by name: other tests run on this machine. */
async function endWorld({ drivers, stateDir }: (typeof worlds)[number]): Promise<void> {
  for (const driver of drivers) driver.close();
  const seen = await createProcessDriver({ stateDir, clock, rng: seededRng(1), logger: silent, runnerPath: testRunner() }).observe().catch(() => []);
  for (const { labels } of seen) {
    const path = join(componentDir(stateDir, labels), "state.json");
    if (!existsSync(path)) continue;
    try {
      const run = readRun(stateDir, labels);
      killAll([run.runner]);
      if (run.child !== null && isAlive(run.child)) killAll(groupMembers(run.child.pid));
    } catch {
      // a state file a test damaged on purpose
    }
    killAll(living(labels));
  }
}

afterEach(async () => {
  for (const world of worlds.splice(0)) await endWorld(world);
});
afterAll(() => (runnerPath = undefined));
