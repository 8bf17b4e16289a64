/** The process: real streams, signals and clock around `runCli`. */
import { text } from "node:stream/consumers";
import { onShutdownSignals, systemClock, systemRng } from "@skep/runtime";
import { readEnvironment } from "./config.ts";
import { CliError, errorLines } from "./cli-error.ts";
import { decidePassthrough, runPassthrough } from "./passthrough.ts";
import { runCli } from "./run-cli.ts";
import { processDevice } from "./screen/device.ts";
import type { Sink } from "./terminal.ts";
import { renderLine } from "./text/line.ts";

/** Ends the process with the command's exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const env = readEnvironment();
  const passthrough = decidePassthrough(argv);
  if (passthrough !== undefined) return leave(await runPassthrough(passthrough, env).catch(tell));
  const interrupted = new AbortController();
  onShutdownSignals(() => interrupted.abort());
  const gone = new AbortController();
  const sink = (stream: NodeJS.WriteStream, onGone: () => void): Sink => {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // `| head` has seen enough. Whatever else the command is for goes on, and its exit code stays true.
      // EIO: the terminal itself has gone away.
      if (error.code === "EPIPE" || error.code === "EIO") onGone();
      else throw error;
    });
    return {
      write: (data) => {
        if (stream.writable) stream.write(data);
      },
      isTty: stream.isTTY === true,
      get columns() {
        return stream.columns ?? 80;
      },
    };
  };
  const code = await runCli(argv, {
    env,
    out: sink(process.stdout, () => gone.abort()),
    err: sink(process.stderr, () => undefined),
    device: processDevice(process.stdin, process.stdout),
    clock: systemClock(),
    rng: systemRng(),
    signal: interrupted.signal,
    gone: gone.signal,
    readStdin: () => text(process.stdin),
    readStdinBytes,
  });
  await leave(code);
}

async function readStdinBytes(limit: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > limit) break;
  }
  return Buffer.concat(chunks);
}

function tell(error: unknown): number {
  if (!(error instanceof CliError)) throw error;
  process.stderr.write(errorLines(error).map((line) => `${renderLine(line, false)}\n`).join(""));
  return error.exit;
}

/** Not before everything was written: stdout may be a pipe that is read slowly. */
async function leave(code: number): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => (stream.writable ? stream.write("", () => resolve()) : resolve()));
  }
  process.exit(code);
}
