/** The whole CLI in this process, with what it wrote. */
import { seededRng, type Clock } from "@skep/core";
import { systemClock } from "@skep/runtime";
import { tempDir } from "@skep/testkit";
import { join } from "node:path";
import { runCli } from "../src/run-cli.ts";
import type { Environment } from "../src/config.ts";
import type { ScreenDevice } from "../src/screen/device.ts";
import { TOKEN } from "./fake-api.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}
export interface Around {
  readonly url?: string;
  readonly env?: Partial<Environment>;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  readonly stdin?: string | Uint8Array;
  readonly tty?: boolean;
  readonly columns?: number;
  readonly color?: boolean;
  /** With it and `tty` the terminal can be redrawn. */
  readonly device?: ScreenDevice;
  readonly onErr?: (all: string) => void;
  readonly onOut?: (all: string) => void;
}

const NO_DEVICE: ScreenDevice = { size: () => ({ columns: 80, rows: 24 }), onResize: () => () => undefined, readKeys: () => undefined, atExit: () => () => undefined };

export async function skep(argv: readonly string[], around: Around = {}): Promise<Ran> {
  const { tty = false, columns = 80 } = around;
  let out = "";
  let err = "";
  const sink = (write: (text: string) => void) => {
    const decoder = new TextDecoder();
    return { write: (data: string | Uint8Array) => write(typeof data === "string" ? data : decoder.decode(data, { stream: true })), isTty: tty, columns };
  };
  const code = await runCli(argv, {
    env: { url: around.url, token: TOKEN, ca: undefined, contextFile: join(tempDir("home"), "config.json"), color: around.color ?? false, screen: around.device !== undefined, supervised: false, inherited: {}, ...around.env },
    out: sink((text) => {
      out += text;
      around.onOut?.(out);
    }),
    err: sink((text) => {
      err += text;
      around.onErr?.(err);
    }),
    device: around.device ?? NO_DEVICE,
    clock: around.clock ?? systemClock(),
    rng: seededRng(1),
    signal: around.signal ?? new AbortController().signal,
    gone: new AbortController().signal,
    readStdin: () => Promise.resolve(Buffer.from(around.stdin ?? "").toString()),
    readStdinBytes: (limit) => Promise.resolve(Buffer.from(around.stdin ?? "").subarray(0, limit + 1)),
  });
  return { code, out, err };
}

/** A clock whose sleeps are over at once and whose monotonic time moves by them. */
export function hastyClock(): Clock {
  let mono = 0;
  return {
    now: () => systemClock().now(),
    mono: () => mono,
    sleep: async (ms) => {
      mono += ms;
      await new Promise<void>((resolve) => setImmediate(resolve));
    },
  };
}
