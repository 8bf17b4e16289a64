/**
 * `npm run demo`: the tour on a state directory of its own. Exit 0 when every claim was proved, 1 with the step, what was
 * expected, what was seen and the ends of the logs otherwise; never later than the limit, and nothing stays behind.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "@skep/core";
import { onShutdownSignals, processStartTime, systemClock } from "@skep/runtime";
import { demoEnv } from "../config.ts";
import { tailOf } from "../files.ts";
import { layoutOf } from "../layout.ts";
import { findProcessesIn, killLeftovers } from "../leftovers.ts";
import { DemoFailure, expectThat } from "./check.ts";
import { HEARTBEAT_INTERVAL_MS, openStage } from "./stage.ts";
import type { Stage } from "./stage.ts";
import { TOUR } from "./tour.ts";

/** The promise is 90 s; the rest is for stopping and saying why. */
const LIMIT_MS = 80_000;

export async function main(): Promise<void> {
  const clock = systemClock();
  const startMs = clock.mono();
  // Ours to look at afterwards, and nobody else's: mkdtemp makes it 0700.
  const stateDir = mkdtempSync(join(tmpdir(), "skep-demo-"));
  let stage: Stage | undefined;
  let current = "start";
  process.on("exit", () => stage?.killNow());
  onShutdownSignals(() => process.exit(130));

  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const proved = (name: string, text: string): void => print(`✓ ${name.padEnd(15)} ${((clock.mono() - startMs) / 1_000).toFixed(1).padStart(5)} s  ${text}`);

  const tour = async (): Promise<void> => {
    stage = await openStage(stateDir, demoEnv(), clock);
    proved("start", "an embedded PostgreSQL, a master and two agents, each a process of its own");
    await Promise.race([steps(stage), gone(stage)]);
    current = "stop";
    proved("stop", await stopAll(stage));
  };
  const steps = async (on: Stage): Promise<void> => {
    for (const step of TOUR) {
      current = step.name;
      proved(step.name, await step.run(on, clock));
    }
  };

  print(`Skep's tour: it does things to a real fleet of two and checks what is said against what is so.`);
  print(`Heartbeat interval ${HEARTBEAT_INTERVAL_MS} ms (30 000 outside the tour), state in ${stateDir}\n`);
  try {
    await withLimit(clock, tour(), () => current);
    print(`\nEvery claim was proved, in ${((clock.mono() - startMs) / 1_000).toFixed(1)} s.`);
    rmSync(stateDir, { recursive: true, force: true });
    process.exit(0);
  } catch (error) {
    explainFailure(current, error, stateDir);
    await stage?.stop().catch(() => undefined);
    // Should the supervisor be what failed, nobody else will stop what it started.
    killLeftovers(layoutOf(stateDir));
    process.stderr.write(`\nThe state directory is kept: ${stateDir}\n`);
    process.exit(1);
  }
}

/** SIGTERM to the supervisor, and then nobody may be left: no agent, no master, no database, no workload. */
async function stopAll(stage: Stage): Promise<string> {
  const facts = stage.facts();
  const pids = [facts.up_pid, facts.pid, ...facts.hosts.map((host) => host.pid)].filter((pid): pid is number => pid !== null);
  const code = await stage.stop();
  expectThat(code === 0, "skep up to end with 0", `${code}`);
  const left = [...pids.filter((pid) => processStartTime(pid) !== null), ...findProcessesIn(stage.layout)];
  expectThat(left.length === 0, "no process to be left", left);
  return "one SIGTERM ended all of it, exit code 0, no process left";
}

/** Without its supervisor no step can come to its end: no use in waiting for what it expects. */
async function gone(stage: Stage): Promise<never> {
  const how = await stage.ended;
  throw new DemoFailure("skep up to run on", how);
}

async function withLimit(clock: Clock, work: Promise<void>, current: () => string): Promise<void> {
  const timer = new AbortController();
  const limit = clock.sleep(LIMIT_MS, timer.signal).then(() => {
    if (!timer.signal.aborted) throw new DemoFailure(`the tour to end within ${LIMIT_MS / 1_000} s`, `it was at step "${current()}"`);
  });
  await Promise.race([work, limit]).finally(() => timer.abort());
}

function explainFailure(step: string, error: unknown, stateDir: string): void {
  const lines = [`\n✗ ${step} failed`];
  if (error instanceof DemoFailure) lines.push(`  expected  ${error.expected}`, `  saw       ${error.seen}`);
  else lines.push(`  ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  const logs = join(stateDir, "logs");
  for (const name of safeNames(logs)) lines.push(`\n--- the end of ${join(logs, name)}`, tailOf(join(logs, name)));
  process.stderr.write(`${lines.join("\n")}\n`);
}

function safeNames(dir: string): string[] {
  try {
    return readdirSync(dir).filter((name) => name.endsWith(".log"));
  } catch {
    return [];
  }
}
