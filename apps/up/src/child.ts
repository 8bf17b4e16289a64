/**
 * One supervised process: started with a pipe as stdin, whose end tells it that we are gone (kill -9 included), and
 * started again one second after it died.
 *
 * Invariants: its stderr is a file of its own, not a pipe of ours, so it can still write when we are dead; it leads a
 * session of its own, so that Ctrl-C in a terminal reaches us alone and the order of stopping is ours; a process is
 * counted as running only from its ready line, and never after its exit.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Clock, Logger } from "@skep/core";
import { tailOf } from "./files.ts";

/** Rulings 23. Shorter makes a crash loop a busy loop; longer is downtime. */
const RESTART_DELAY_MS = 1_000;

export interface ChildOptions<Ready> {
  readonly name: string;
  readonly program: string;
  /** Asked before every start: a restarted process gets the ports its predecessor had. */
  readonly args: () => readonly string[];
  readonly env: () => Readonly<Record<string, string>>;
  readonly logPath: string;
  /** Of the one JSON line on its stdout. Throws when that is not what the program promises. */
  readonly parseReady: (line: unknown) => Ready;
  readonly readyTimeoutMs: number;
  readonly stopTimeoutMs: number;
  readonly restart: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** At every start, ready line and exit. */
  readonly onChange: () => void;
}

export interface Child<Ready> {
  readonly name: string;
  /** Resolves with the first ready line. Rejects with `ChildFailure` when the process ends first or takes too long. */
  start(): Promise<Ready>;
  /** Of the process that is there now; undefined while there is none. */
  pid(): number | undefined;
  /** Of the latest process that became ready. */
  ready(): Ready | undefined;
  /**
   * `term`: SIGTERM. `pipe`: the end of its stdin, which is what it would see were we killed. SIGKILL after the stop
   * timeout. Idempotent; also ends restarting. Resolves with whether it went by itself.
   */
  stop(how: StopManner): Promise<boolean>;
  /** SIGKILL, synchronously. */
  killNow(): void;
}

export type StopManner = "term" | "pipe";

export class ChildFailure extends Error {
  override readonly name = "ChildFailure";
}

interface Run<Ready> {
  readonly process: ChildProcess;
  readonly ready: Promise<Ready>;
  readonly exited: Promise<string>;
}

export function createChild<Ready>(options: ChildOptions<Ready>): Child<Ready> {
  const { name, clock, logger, onChange } = options;
  const stopping = new AbortController();
  let run: Run<Ready> | undefined;
  let latest: Ready | undefined;

  const launch = (): Run<Ready> => {
    const made = spawnRun(options);
    run = made;
    made.ready.then(
      (ready) => {
        latest = ready;
        logger.info({ child: name, pid: made.process.pid }, "a child is ready");
        onChange();
      },
      () => undefined,
    );
    void made.exited.then((how) => {
      run = undefined;
      if (!stopping.signal.aborted) logger.warn({ child: name, pid: made.process.pid, how }, "a child ended by itself");
      onChange();
    });
    onChange();
    return made;
  };

  const keepRunning = async (first: Run<Ready>): Promise<void> => {
    for (let current = first; ; current = launch()) {
      await current.exited;
      if (stopping.signal.aborted || !options.restart) return;
      await clock.sleep(RESTART_DELAY_MS, stopping.signal);
      if (stopping.signal.aborted) return;
    }
  };

  const start = async (): Promise<Ready> => {
    if (stopping.signal.aborted) throw new ChildFailure(`${name} was told to stop before it was started`);
    const first = launch();
    const timer = new AbortController();
    const late = clock.sleep(options.readyTimeoutMs, timer.signal).then(() => "late" as const);
    const outcome = await Promise.race([first.ready, late]).finally(() => timer.abort());
    if (outcome === "late") throw new ChildFailure(`${name} did not become ready within ${options.readyTimeoutMs / 1_000} s\n${tailOf(options.logPath)}`);
    void keepRunning(first);
    return outcome as Ready;
  };

  const stop = async (how: StopManner): Promise<boolean> => {
    stopping.abort();
    const current = run;
    if (current === undefined) return true;
    if (how === "term") current.process.kill("SIGTERM");
    else current.process.stdin!.end();
    const timer = new AbortController();
    const late = clock.sleep(options.stopTimeoutMs, timer.signal).then(() => "late" as const);
    const outcome = await Promise.race([current.exited, late]);
    timer.abort();
    if (outcome !== "late") return true;
    logger.warn({ child: name, pid: current.process.pid }, "a child did not stop in time and is killed");
    current.process.kill("SIGKILL");
    await current.exited;
    return false;
  };

  return {
    name,
    start,
    pid: () => run?.process.pid,
    ready: () => latest,
    stop,
    killNow: () => {
      stopping.abort();
      run?.process.kill("SIGKILL");
    },
  };
}

function spawnRun<Ready>(options: ChildOptions<Ready>): Run<Ready> {
  const log = openSync(options.logPath, "a", 0o600);
  const child = spawn(process.execPath, [options.program, ...options.args()], { cwd: "/", detached: true, stdio: ["pipe", "pipe", log], env: { ...options.env() } });
  closeSync(log);
  // Its end is told by "exit"; a write to a dead child must not become our end too.
  child.stdin!.on("error", () => undefined);
  const exited = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`could not be started: ${error.message}`));
    child.once("exit", (code, signal) => resolve(signal === null ? `exited with code ${code}` : `was killed by ${signal}`));
  });
  const ready = new Promise<Ready>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once("line", (line) => {
      try {
        resolve(options.parseReady(JSON.parse(line)));
      } catch (error) {
        reject(new ChildFailure(`${options.name} announced itself with ${JSON.stringify(line.slice(0, 200))}: ${(error as Error).message}`));
      }
    });
    void exited.then((how) => reject(new ChildFailure(`${options.name} ${how} before it was ready\n${tailOf(options.logPath)}`)));
  });
  // Nobody may be waiting when a restarted process fails; that it did is in `exited`.
  ready.catch(() => undefined);
  return { process: child, ready, exited };
}
