/**
 * Where output goes: results on stdout, everything else on stderr. Every line for a person passes `renderLine`, the
 * one place that cleans and colours; JSON passes `safeJson`. The region is the few lines that are redrawn in place.
 */
import { cleanOutput, safeJson } from "./text/clean.ts";
import { renderLine, type Line } from "./text/line.ts";

export interface Sink {
  write(data: string | Uint8Array): void;
  readonly isTty: boolean;
  readonly columns: number;
}

export interface Terminal {
  /** What a program wrote: byte for byte into a pipe or file; made harmless for a terminal, as all text from elsewhere is. */
  pass(stream: "stdout" | "stderr", data: Uint8Array): void;
  /** A line of the result. */
  show(...lines: readonly Line[]): void;
  /** A machine's result: one JSON document, on one line. */
  json(value: unknown): void;
  /** A line beside the result. */
  say(...lines: readonly Line[]): void;
  /** Replaces the lines of the last call; `[]` takes them away. Only on a terminal. */
  redraw(lines: readonly Line[]): void;
  /** Wide enough for stdout's tables; undefined: a pipe, which has no width. */
  readonly columns: number | undefined;
  /** Whether somebody watches stderr. */
  readonly watched: boolean;
  /** Aborts when nobody reads stdout any more (`| head`). */
  readonly gone: AbortSignal;
}

const MIN_COLUMNS = 40;

export function createTerminal(options: { readonly out: Sink; readonly err: Sink; readonly color: boolean; readonly gone: AbortSignal }): Terminal {
  const { out, err } = options;
  let drawn = 0;
  const erase = (): void => {
    if (drawn > 0) err.write(`\u001b[${drawn}A\r\u001b[J`);
    drawn = 0;
  };
  const decoders = { stdout: new TextDecoder("utf-8"), stderr: new TextDecoder("utf-8") };
  const writeTo = (sink: Sink, lines: readonly Line[]): void => {
    const color = options.color && sink.isTty;
    for (const line of lines) sink.write(`${renderLine(line, color)}\n`);
  };
  return {
    show: (...lines) => writeTo(out, lines),
    pass: (stream, data) => {
      const sink = stream === "stdout" ? out : err;
      // A character may come in two pieces: the decoder keeps the first until the second is there.
      sink.write(sink.isTty ? cleanOutput(decoders[stream].decode(data, { stream: true })) : data);
    },
    json: (value) => out.write(`${safeJson(value)}\n`),
    say: (...lines) => {
      erase();
      writeTo(err, lines);
    },
    redraw: (lines) => {
      erase();
      // One column is left free: a full last column makes some terminals wrap.
      for (const line of lines) err.write(`${renderLine(line, options.color, Math.max(MIN_COLUMNS, err.columns) - 1)}\n`);
      drawn = lines.length;
    },
    get columns() {
      return out.isTty ? Math.max(MIN_COLUMNS, out.columns) : undefined;
    },
    get watched() {
      return err.isTty;
    },
    gone: options.gone,
  };
}
