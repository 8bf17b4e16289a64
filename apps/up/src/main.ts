/** The process of `skep up`: reads what is asked, holds the lock, starts the stack, minds signals. */
import { existsSync, mkdirSync } from "node:fs";
import { SkepError } from "@skep/core";
import { closeOnParentExit, createLogger, lockStateDir, onShutdownSignals, systemClock } from "@skep/runtime";
import { parseConfig, USAGE } from "./config.ts";
import type { UpConfig } from "./config.ts";
import { createStack } from "./create-stack.ts";
import { openLogFile, rotateLog } from "./files.ts";
import { layoutOf, PROGRAMS } from "./layout.ts";
import { announceReady } from "./report.ts";
import { writeContexts } from "./cli-context.ts";

const EXIT_FAILED = 1;
/** Usage, configuration, or a state directory that somebody else works in. */
const EXIT_REFUSED = 2;

export async function main(argv: readonly string[]): Promise<void> {
  let config: UpConfig | "help";
  try {
    config = parseConfig(argv);
  } catch (error) {
    return refuse(error);
  }
  if (config === "help") return void process.stdout.write(USAGE);
  await run(config);
}

async function run(config: UpConfig): Promise<void> {
  const layout = layoutOf(config.stateDir);
  let lock;
  try {
    lock = lockStateDir(layout.dir);
    mkdirSync(layout.logs, { recursive: true, mode: 0o700 });
  } catch (error) {
    return refuse(error instanceof SkepError ? error : new SkepError("invalid_request", `${layout.dir} cannot be used (${(error as Error).message}); give another with --state-dir`));
  }
  rotateLog(layout.log("up"));
  const logger = createLogger({ name: "skep-up", level: config.logLevel, destination: openLogFile(layout.log("up")) });
  // With --json stdout carries one line for a program; a person reads stderr.
  const say = (line: string): void => void (config.json ? process.stderr : process.stdout).write(`${line}\n`);
  const resuming = existsSync(layout.startedMark);
  logger.info({ stateDir: layout.dir, resuming }, "starting");
  const stack = createStack({ config, layout, programs: PROGRAMS, clock: systemClock(), logger, say });

  let leaving = false;
  let workloadsToo = false;
  const leave = async (why: string, exitCode: number, workloads = true): Promise<void> => {
    if (leaving) return;
    leaving = true;
    workloadsToo = workloads;
    logger.info({ why }, "stopping");
    try {
      await stack.stop({ workloads });
      lock.release();
      process.exit(exitCode);
    } catch (err) {
      logger.error({ err }, "the stop failed");
      process.stderr.write(`skep up: the stop failed, see ${layout.log("up")}\n`);
      process.exit(EXIT_FAILED);
    }
  };
  // A second Ctrl-C in the middle of a stop must leave nothing running. A crash of ours is another matter: then
  // workloads stay, as after kill -9, and the next start adopts them.
  process.on("exit", () => workloadsToo && stack.killNow());
  // Whoever read our output may have gone; that is no reason to end.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  onShutdownSignals((signal) => {
    say("stopping agents, workloads, master and database …");
    void leave(signal, 0);
  });
  // Killed with -9 it could ask for nothing: as if we had been killed ourselves, workloads stay for the next start.
  if (config.supervised) closeOnParentExit(() => void leave("the program that started us is gone", 0, false));

  try {
    const started = await stack.start();
    const context = await writeContexts(layout, config.contextFile, started.facts);
    announceReady(say, { layout, config, started, context });
    if (config.json) process.stdout.write(`${JSON.stringify(started.facts)}\n`);
  } catch (error) {
    if (leaving) return;
    logger.error({ err: error }, "the start failed");
    tell(error);
    process.stderr.write(`  logs: ${layout.logs}\n`);
    // What an earlier start has running is not this one's to stop.
    await leave("the start failed", error instanceof SkepError ? EXIT_REFUSED : EXIT_FAILED, !resuming);
  }
}

const tell = (error: unknown): void => {
  const what = error instanceof SkepError ? `[${error.code}] ${error.detail}` : error instanceof Error ? error.message : String(error);
  process.stderr.write(`skep up: ${what}\n`);
};

function refuse(error: unknown): void {
  tell(error);
  process.exitCode = error instanceof SkepError ? EXIT_REFUSED : EXIT_FAILED;
}
