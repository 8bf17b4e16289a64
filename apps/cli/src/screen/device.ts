/** The terminal as a device: its size, its keys, and a word with it at the end of the process. */
import { constants } from "node:os";
import type { ReadStream, WriteStream } from "node:tty";

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface ScreenDevice {
  size(): Size;
  /** Returns how to stop listening; so do the others. */
  onResize(listener: () => void): () => void;
  /** What is typed, as it is typed: neither held until Enter nor echoed. undefined: nobody can type here. */
  readKeys(onText: (text: string) => void): (() => void) | undefined;
  /** Calls at the end of the process, in whatever way that still runs code: a crash and the second Ctrl-C included. */
  atExit(restore: () => void): () => void;
}

/** What Ctrl-C types while keys are read one by one. */
export const CTRL_C = "\u0003";

/** Left alone, these end the process without a word with anybody. As exits, they pass by whoever has to restore something. */
const ABRUPT = (["SIGHUP", "SIGQUIT"] as const).map((signal) => ({ signal, leave: (): void => process.exit(128 + constants.signals[signal]) }));

export function processDevice(input: ReadStream, output: WriteStream): ScreenDevice {
  return {
    size: () => ({ columns: output.columns ?? 80, rows: output.rows ?? 24 }),
    onResize: (listener) => {
      output.on("resize", listener);
      return () => output.off("resize", listener);
    },
    readKeys: (onText) => {
      if (input.isTTY !== true) return undefined;
      const receive = (data: Buffer): void => onText(data.toString("utf8"));
      // A terminal that has gone away types nothing more.
      const gone = (): void => onText(CTRL_C);
      input.setRawMode(true);
      input.on("data", receive).on("end", gone).on("error", gone).resume();
      return () => {
        input.off("data", receive).off("end", gone).off("error", gone).pause();
        // Without a listener a late error would be an uncaught one.
        input.on("error", () => undefined);
        input.setRawMode(false);
      };
    },
    atExit: (restore) => {
      process.on("exit", restore);
      for (const { signal, leave } of ABRUPT) process.on(signal, leave);
      return () => {
        process.off("exit", restore);
        for (const { signal, leave } of ABRUPT) process.off(signal, leave);
      };
    },
  };
}
