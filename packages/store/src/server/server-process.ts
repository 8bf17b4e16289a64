/** One postmaster process: its argv, its log lines, its end. Knows nothing of data directories' histories. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Clock, Logger } from "@skep/core";
import { KERNEL_PREFIX, startWatchdog } from "./death-watch.ts";
import type { DeathWatchMode } from "./death-watch.ts";
import type { Privileges } from "./privileges.ts";
import { BARE_ENV } from "./run-command.ts";

/** A fast shutdown writes a checkpoint: too small a time here turns it into recovery at the next start, too large hangs Ctrl-C. */
const FAST_STOP_MS = 20_000;
const QUIT_STOP_MS = 5_000;
const KEPT_LINES = 30;

export interface ServerExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface ServerProcess {
  readonly pid: number;
  readonly exited: Promise<ServerExit>;
  hasExited(): boolean;
  /** The last lines it wrote, for an error's detail. */
  lastLines(): string;
  /** SIGINT, then SIGQUIT, then SIGKILL. Idempotent. */
  stop(): Promise<void>;
}

export interface ServerProcessOptions {
  readonly postgres: string;
  readonly dataDir: string;
  readonly config: Readonly<Record<string, string>>;
  readonly privileges: Privileges;
  readonly deathWatch: DeathWatchMode;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** undefined when the program could not be started at all. */
export function startServerProcess(options: ServerProcessOptions): ServerProcess | undefined {
  const { privileges, deathWatch, clock, logger } = options;
  const settings = Object.entries(options.config).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const argv = [...privileges.prefix, ...(deathWatch === "kernel" ? KERNEL_PREFIX : []), options.postgres, "-D", options.dataDir, ...settings];
  // Its own session: Ctrl-C in a terminal must not end the database before the master has drained.
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ["ignore", "pipe", "pipe"], detached: true, env: BARE_ENV, cwd: "/", ...privileges.as });
  let exit: ServerExit | undefined;
  const exited = new Promise<ServerExit>((resolve) => {
    const end = (code: number | null, signal: string | null): void => resolve((exit ??= { code, signal }));
    child.once("error", () => end(null, null));
    child.once("exit", end);
  });
  const lines: string[] = [];
  const read = (line: string): void => {
    if (lines.push(line) > KEPT_LINES) lines.shift();
    logLine(line, logger);
  };
  createInterface({ input: child.stdout }).on("line", read);
  createInterface({ input: child.stderr }).on("line", read);
  if (child.pid === undefined) return undefined;

  const watchdog = deathWatch === "watchdog" ? startWatchdog(child.pid) : undefined;
  void exited.then(() => watchdog?.kill("SIGKILL"));

  const leftWithin = async (ms: number): Promise<boolean> => {
    const timer = new AbortController();
    await Promise.race([exited, clock.sleep(ms, timer.signal)]);
    timer.abort();
    return exit !== undefined;
  };
  const stopOnce = async (): Promise<void> => {
    if (exit !== undefined) return;
    child.kill("SIGINT");
    if (await leftWithin(FAST_STOP_MS)) return;
    logger.warn({ pid: child.pid }, "the database did not stop in time; ending it without a checkpoint");
    child.kill("SIGQUIT");
    if (await leftWithin(QUIT_STOP_MS)) return;
    child.kill("SIGKILL");
    await exited;
  };
  let stopping: Promise<void> | undefined;
  return {
    pid: child.pid,
    exited,
    hasExited: () => exit !== undefined,
    lastLines: () => lines.join("\n"),
    stop: () => (stopping ??= stopOnce()),
  };
}

/** Clients see their own errors; only what concerns the server itself is worth more than debug. */
function logLine(line: string, logger: Logger): void {
  if (line.includes("PANIC:")) logger.error({ line }, "database");
  else if (line.includes("FATAL:") || line.includes("WARNING:")) logger.warn({ line }, "database");
  else logger.debug({ line }, "database");
}
