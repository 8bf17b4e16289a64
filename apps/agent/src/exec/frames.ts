/**
 * The reply to a command as lines of JSON. Invariants: at most MAX_OUTPUT_BYTES of output, the rest counted; a reader
 * that is slow slows the command down and fills no memory; a line at least every EXEC_BEAT_MS, which is also how a
 * connection that died in silence is found out.
 */
import { PassThrough, type Readable } from "node:stream";
import type { Clock, ExecOutput } from "@skep/core";
import { EXEC_BEAT_MS, MAX_FRAME_BYTES, MAX_OUTPUT_BYTES, type ExecEndFrame, type ExecFrame } from "@skep/protocol";

/** What is on its way to a reader. Larger only piles up; smaller makes a fast command wait for the network's every turn. */
const BUFFER_BYTES = 262_144;
/** How long the end waits for a reader that has stopped reading. */
const LAST_WORD_MS = 60_000;

export interface Frames {
  readonly body: Readable;
  /** Resolves when there is room for more; at once when nobody reads any more. */
  output(chunk: ExecOutput): Promise<void>;
  end(frame: Omit<ExecEndFrame, "truncated_bytes">): void;
}

export function createFrames(clock: Clock, onUnheard: () => void): Frames {
  const body = new PassThrough({ highWaterMark: BUFFER_BYTES });
  const closed = new AbortController();
  let passed = 0;
  let dropped = 0;
  let sentMs = clock.mono();
  body.on("error", () => undefined);
  body.once("close", () => {
    closed.abort();
    if (!body.writableEnded) onUnheard();
  });

  const drained = (): Promise<void> => new Promise((resolve) => {
    const go = (): void => {
      body.off("drain", go);
      closed.signal.removeEventListener("abort", go);
      resolve();
    };
    body.on("drain", go);
    closed.signal.addEventListener("abort", go, { once: true });
  });
  const write = async (text: string): Promise<void> => {
    if (closed.signal.aborted || body.writableEnded) return;
    sentMs = clock.mono();
    if (!body.write(text)) await drained();
  };
  const beat = async (): Promise<void> => {
    while (!closed.signal.aborted && !body.writableEnded) {
      await clock.sleep(EXEC_BEAT_MS, closed.signal);
      if (clock.mono() - sentMs >= EXEC_BEAT_MS && !body.writableNeedDrain) await write("\n");
    }
  };
  // The status leaves with the first byte: the master must know that it was taken even if the command says nothing.
  body.write("\n");
  void beat();

  return {
    body,
    output: async ({ stream, data }) => {
      const kept = data.subarray(0, Math.max(0, MAX_OUTPUT_BYTES - passed));
      passed += kept.length;
      dropped += data.length - kept.length;
      for (let at = 0; at < kept.length; at += MAX_FRAME_BYTES) {
        await write(line({ stream, data: Buffer.from(kept.subarray(at, at + MAX_FRAME_BYTES)).toString("base64") }));
      }
    },
    end: (frame) => {
      if (closed.signal.aborted) return;
      body.end(line({ ...frame, truncated_bytes: dropped }));
      void clock.sleep(LAST_WORD_MS, closed.signal).then(() => body.destroy());
    },
  };
}

const line = (frame: ExecFrame): string => `${JSON.stringify(frame)}\n`;
