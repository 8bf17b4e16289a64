/** One component's output as lines with their offsets. A tail begins at a line's beginning, where there is one. */
import { SkepError, type HostRecord } from "@skep/core";
import type { AgentClient } from "../ports.ts";

export interface LogSource {
  readonly host: HostRecord;
  readonly placementId: string;
  readonly component: string;
}

export interface Line {
  /** Byte offset of its first byte, counted from the first byte ever written. */
  readonly offset: number;
  readonly text: string;
}

/** Longer lines are cut here, at a character's boundary; the rest follows as lines of its own. */
const MAX_LINE_BYTES = 8_192;
const CHUNK_BYTES = 65_536;
const NEWLINE = 0x0a;

export interface LineSplitter {
  /** Whole lines that are complete now. */
  push(data: Uint8Array): Line[];
  /** What is left without its newline. */
  flush(): Line[];
}

/** Bytes to lines. Characters that straddle two chunks are put together before they are decoded. */
export function createLineSplitter(startOffset: number): LineSplitter {
  const decoder = new TextDecoder("utf-8");
  let rest = Buffer.alloc(0);
  let offset = startOffset;
  const take = (length: number, skip: number): Line => {
    const line = { offset, text: decoder.decode(rest.subarray(0, length)).replace(/\r$/, "") };
    rest = rest.subarray(length + skip);
    offset += length + skip;
    return line;
  };
  return {
    push: (data) => {
      rest = Buffer.concat([rest, data]);
      const lines: Line[] = [];
      for (;;) {
        const end = rest.indexOf(NEWLINE);
        if (end >= 0 && end <= MAX_LINE_BYTES) lines.push(take(end, 1));
        else if (rest.length > MAX_LINE_BYTES) lines.push(take(boundaryBefore(rest, MAX_LINE_BYTES), 0));
        else return lines;
      }
    },
    flush: () => (rest.length === 0 ? [] : [take(rest.length, 0)]),
  };
}

/** The last position at or before `at` where a UTF-8 character begins. */
export function boundaryBefore(bytes: Uint8Array, at: number): number {
  let end = at;
  // Continuation bytes are 10xxxxxx, at most three in a row; more is not UTF-8 and may be cut anywhere.
  for (let back = 0; back < 3 && end > 0 && (bytes[end]! & 0xc0) === 0x80; back++) end -= 1;
  return (bytes[end]! & 0xc0) === 0x80 ? at : end;
}

/** Where a tail that begins in the middle of the output should begin instead: after the next newline. */
export function skipPartialLine(data: Uint8Array): number {
  const end = data.indexOf(NEWLINE);
  return end < 0 ? 0 : end + 1;
}

/** What an agent would not give, in words that say which code it was. */
export const whyNot = (error: unknown): string => {
  if (error instanceof SkepError) return `${error.code}: ${error.detail}`;
  throw error;
};

/** The last `tailBytes`, or `tailBytes` from `offset`. An agent's refusal is a result and not an exception. */
export async function readTail(agents: Pick<AgentClient, "logs">, { host, placementId, component }: LogSource, tailBytes: number, offset: number | undefined): Promise<{ lines: Line[]; bytes: number; error?: string }> {
  const lines: Line[] = [];
  let bytes = 0;
  let at = offset ?? -tailBytes;
  let splitter: LineSplitter | undefined;
  try {
    while (bytes < tailBytes) {
      const chunk = await agents.logs(host, placementId, component, at, Math.min(CHUNK_BYTES, tailBytes - bytes));
      if (chunk.data.length === 0) break;
      bytes += chunk.data.length;
      const start = chunk.nextOffset - chunk.data.length;
      const skip = splitter === undefined && offset === undefined && start > 0 ? skipPartialLine(chunk.data) : 0;
      splitter ??= createLineSplitter(start + skip);
      lines.push(...splitter.push(chunk.data.subarray(skip)));
      at = chunk.nextOffset;
    }
    lines.push(...(splitter?.flush() ?? []));
    return { lines, bytes };
  } catch (error) {
    lines.push(...(splitter?.flush() ?? []));
    return { lines, bytes, error: whyNot(error) };
  }
}
