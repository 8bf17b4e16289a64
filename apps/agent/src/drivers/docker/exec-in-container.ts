/**
 * A command in a running container, by the engine's exec API. Invariant: an abort ends the command, not only our talk
 * with the engine. The engine has no call for that, so its processes are found by a variable that only they carry, and
 * killed as the host sees them.
 */
import type { Duplex } from "node:stream";
import { DriverError, RUNTIME_UNAVAILABLE } from "@skep/core";
import type { AbortSignalLike, Clock, ExecEnd, ExecOutput } from "@skep/core";
import { EXEC_LABEL } from "../../runner/proc.ts";
import { findMarked, killProcess } from "./marked-processes.ts";
import type { Marks } from "./marked-processes.ts";
import { asRefused, EngineRefusal, plainWords } from "./engine-error.ts";
import type { Engine } from "./engine.ts";
import { createDemux } from "./frames.ts";

export interface ExecDeps {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly marks: Marks;
}

export interface Command {
  readonly command: readonly string[];
  readonly stdin?: Uint8Array | undefined;
}

/** A silent command is none of our business; whether the engine still answers is asked this often. */
const PULSE_MS = 15_000;
const KILL_PATIENCE_MS = 5_000;
/** Never reached: the pulse notices an engine that is gone. */
const STREAM_IDLE_MS = 86_400_000;

export async function execInContainer({ engine, clock, marks }: ExecDeps, container: string, { command, stdin }: Command, output: (chunk: ExecOutput) => Promise<void> | void, signal: AbortSignalLike): Promise<ExecEnd> {
  if (signal.aborted) throw new DriverError("aborted", "it was called off before it began");
  const mark = marks.next();
  const body = { Cmd: command, Env: [`${EXEC_LABEL}=${mark}`], AttachStdout: true, AttachStderr: true, AttachStdin: stdin !== undefined };
  const id = await engine.createExec(container, body, undefined).catch((error: unknown) => {
    throw asRefused(error, "the command could not be run", "component_not_running", []);
  });
  const cut = new AbortController();
  const over = new AbortController();
  let failure: unknown;
  const fail = (error: unknown): void => {
    failure ??= error;
    cut.abort();
  };
  const onAbort = (): void => void end({ engine, clock }, id, mark, over.signal).catch(fail);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  void pulse(engine, clock, id, over.signal).catch(fail);
  try {
    const spoken = await readFrames(await open(engine, id, stdin, cut.signal), output);
    return await outcome({ engine, clock }, id, command, spoken, signal);
  } catch (error) {
    throw failure ?? (error instanceof EngineRefusal ? notRun(command, error.message) : error);
  } finally {
    signal.removeEventListener("abort", onAbort);
    over.abort();
  }
}

type Source = AsyncIterable<Uint8Array> & { readonly end: () => void };

async function open(engine: Engine, id: string, stdin: Uint8Array | undefined, signal: AbortSignalLike): Promise<Source> {
  if (stdin === undefined) return engine.startExec(id, signal, STREAM_IDLE_MS);
  const socket: Duplex = await engine.hijackExec(id, signal);
  // A program that reads nothing closes its end: that is its right.
  socket.on("error", () => undefined);
  signal.addEventListener("abort", () => void socket.destroy(), { once: true });
  socket.end(Buffer.from(stdin));
  return { [Symbol.asyncIterator]: () => socket[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>, end: () => void socket.destroy() };
}

/** What it said first, for an engine that answers with its refusal where output would be. */
async function readFrames(source: Source, output: (chunk: ExecOutput) => Promise<void> | void): Promise<string> {
  const demux = createDemux();
  let first = "";
  try {
    for await (const chunk of source) {
      for (const frame of demux(chunk)) {
        if (first.length < 512) first += Buffer.from(frame.data.subarray(0, 512)).toString("utf8");
        await output(frame);
      }
    }
  } finally {
    source.end();
  }
  return first;
}

async function outcome({ engine, clock }: Pick<ExecDeps, "engine" | "clock">, id: string, command: readonly string[], spoken: string, signal: AbortSignalLike): Promise<ExecEnd> {
  const untilMs = clock.mono() + KILL_PATIENCE_MS;
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 2, 200)) {
    const { Running, ExitCode } = await engine.inspectExec(id);
    if (Running !== true && typeof ExitCode === "number") {
      if ((ExitCode === 126 || ExitCode === 127) && /OCI runtime exec failed|crun: |runc: /.test(spoken)) throw notRun(command, spoken);
      return signal.aborted ? { exitCode: undefined, signal: "SIGKILL" } : { exitCode: ExitCode };
    }
    // The output's end comes a moment before the engine has reaped it.
    if (clock.mono() >= untilMs) throw new DriverError("unknown_outcome", `how ${JSON.stringify(command[0] ?? "")} ended is not known: the engine calls it running, and its output has ended`);
    await clock.sleep(pauseMs);
  }
}

function notRun(command: readonly string[], words: string): DriverError {
  const code = /executable file not found|no such file or directory/i.test(words) ? "program_not_found" : /permission denied|exec format error/i.test(words) ? "not_executable" : "exec_failed";
  return new DriverError(code, `${JSON.stringify(command[0] ?? "")} could not be run in the container: ${plainWords(words)}`);
}

/** Kills whatever carries the mark until nothing does and the engine agrees. */
async function end({ engine, clock }: Pick<ExecDeps, "engine" | "clock">, id: string, mark: string, over: AbortSignalLike): Promise<void> {
  const untilMs = clock.mono() + KILL_PATIENCE_MS;
  for (let pauseMs = 5; !over.aborted; pauseMs = Math.min(pauseMs * 2, 200)) {
    const { pids, blind } = findMarked((found) => found === mark);
    for (const pid of pids) killProcess(pid);
    const { Running, Pid = 0 } = await engine.inspectExec(id);
    // Nothing marked, and the engine has none either. A command that is only about to begin has no pid yet.
    if (pids.length === 0 && Running !== true && !blind) return;
    if (blind && Pid > 0) killProcess(Pid);
    if (clock.mono() >= untilMs) throw new DriverError("hung", `the command was called off and could not be killed${blind ? ": this agent may not look into the container's processes; run it as root" : ""}`);
    await clock.sleep(pauseMs);
  }
}

async function pulse(engine: Engine, clock: Clock, id: string, over: AbortSignalLike): Promise<void> {
  for (;;) {
    await clock.sleep(PULSE_MS, over);
    if (over.aborted) return;
    try {
      await engine.inspectExec(id);
    } catch (error) {
      if (over.aborted) return;
      throw error instanceof DriverError ? error : new DriverError(RUNTIME_UNAVAILABLE, `the engine does not know the command any more: ${(error as Error).message}`);
    }
  }
}
