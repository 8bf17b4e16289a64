/**
 * One component's output, read on and on. Pure: chunks in, news out. Invariants: every byte from the position on is in
 * exactly one line or inside one gap that is told; a line is of whole characters; the position never runs ahead of the
 * news, so whoever kept it loses nothing and sees nothing twice.
 */
import { createLineSplitter, skipPartialCharacter, skipPartialLine, type Line, type LineSplitter } from "./log-lines.ts";

export type LogNews =
  | { readonly kind: "line"; readonly line: Line }
  | { readonly kind: "gap"; readonly why: "rotated" | "restarted"; readonly bytes: number; readonly from: number; readonly to: number }
  /** Where it now is, when no line says so. */
  | { readonly kind: "position"; readonly offset: number };

export interface Chunk {
  readonly data: Uint8Array;
  readonly nextOffset: number;
}

/** `offset` is anybody's number and may lie inside a character; `position` is one that was told before. */
export type CursorStart =
  | { readonly kind: "position"; readonly at: number }
  | { readonly kind: "offset"; readonly at: number }
  | { readonly kind: "tail"; readonly bytes: number; readonly lines?: number | undefined };

export interface LogCursor {
  /** What to ask for next; negative: from the end. */
  readonly at: number;
  /** Whether something waits for its newline. */
  readonly pending: boolean;
  /** `full`: there may be more at once. */
  take(chunk: Chunk, full: boolean): LogNews[];
  /** What waits for its newline, as far as its characters are whole. */
  flush(): LogNews[];
  /** There is no output at all: whatever was there before, the first byte to come is the first one. */
  beginAtZero(): LogNews[];
}

export function createLogCursor(start: CursorStart): LogCursor {
  // A tail of nothing is "from now on": the last byte is asked for, because its answer says where the end is.
  let at = start.kind === "tail" ? -Math.max(1, start.bytes) : start.at;
  let splitter: LineSplitter | undefined;
  const keep = start.kind === "tail" ? start.lines : undefined;
  /** The lines of a tail whose end is not reached yet; the last `keep` of them are wanted. */
  let held: Line[] | undefined = keep === undefined ? undefined : [];

  const begin = (offset: number): LineSplitter => (splitter = createLineSplitter(offset));
  const newsOf = (lines: readonly Line[]): LogNews[] => lines.map((line) => ({ kind: "line", line }));

  const takeTail = (bytes: number, { data, nextOffset }: Chunk): LogNews[] => {
    const first = nextOffset - data.length;
    at = nextOffset;
    const skip = bytes === 0 ? data.length : first > 0 ? skipPartialLine(data) : 0;
    const lines = begin(first + skip).push(data.subarray(skip));
    return [{ kind: "position", offset: first + skip }, ...newsOf(lines)];
  };

  const takeOn = ({ data, nextOffset }: Chunk): LogNews[] => {
    const first = nextOffset - data.length;
    if (first === at) {
      at = nextOffset;
      const skip = splitter === undefined && start.kind === "offset" && first > 0 ? skipPartialCharacter(data) : 0;
      return newsOf((splitter ?? begin(first + skip)).push(data.subarray(skip)));
    }
    // What waited for its newline will not get it any more.
    const left = newsOf(splitter?.flush() ?? []);
    const from = splitter?.position ?? at;
    if (first < at) {
      // Shorter than it was: another output under the same name, of which nobody has seen anything.
      at = 0;
      begin(0);
      return [...left, { kind: "gap", why: "restarted", bytes: 0, from, to: 0 }];
    }
    const skip = skipPartialLine(data);
    const to = first + skip;
    at = nextOffset;
    return [...left, { kind: "gap", why: "rotated", bytes: to - from, from, to }, ...newsOf(begin(to).push(data.subarray(skip)))];
  };

  /** Keeps a tail's lines back until its end is there; only then is it known which ones are the last. */
  const hold = (news: readonly LogNews[], full: boolean): LogNews[] => {
    if (held === undefined || keep === undefined) return [...news];
    held = [...held, ...news.flatMap((one) => (one.kind === "line" ? [one.line] : []))];
    held = held.slice(Math.max(0, held.length - keep));
    const gaps = news.filter((one) => one.kind === "gap");
    if (full) return gaps;
    const lines = held;
    held = undefined;
    return [...gaps, { kind: "position", offset: lines[0]?.offset ?? splitter?.position ?? at }, ...newsOf(lines)];
  };

  return {
    get at() {
      return at;
    },
    get pending() {
      return splitter?.pending ?? false;
    },
    take: (chunk, full) => hold(at < 0 && start.kind === "tail" ? takeTail(start.bytes, chunk) : takeOn(chunk), full),
    flush: () => newsOf(splitter?.flush() ?? []),
    beginAtZero: () => {
      if (at === 0) return [];
      const from = splitter?.position ?? at;
      at = 0;
      held = undefined;
      begin(0);
      return from < 0 ? [{ kind: "position", offset: 0 }] : [{ kind: "gap", why: "restarted", bytes: 0, from, to: 0 }];
    },
  };
}
