/** Bytes to lines with their positions. Characters that straddle two reads are put together before they are decoded. */

export interface Line {
  /** Byte offset of its first byte, counted from the first byte ever written. */
  readonly offset: number;
  /** Where what follows it begins. */
  readonly next: number;
  readonly text: string;
}

/** Longer lines are cut here, at a character's boundary; the rest follows as lines of its own. */
const MAX_LINE_BYTES = 8_192;
const NEWLINE = 0x0a;

export interface LineSplitter {
  /** Whole lines that are complete now. */
  push(data: Uint8Array): Line[];
  /** What is left without its newline, as far as its characters are whole. */
  flush(): Line[];
  /** Of the first byte that no line has had yet. */
  readonly position: number;
  /** Whether something waits for its newline. */
  readonly pending: boolean;
}

export function createLineSplitter(startOffset: number): LineSplitter {
  const decoder = new TextDecoder("utf-8");
  let rest: Buffer = Buffer.alloc(0);
  let offset = startOffset;
  const take = (length: number, skip: number): Line => {
    const text = decoder.decode(rest.subarray(0, length)).replace(/\r$/, "");
    const line = { offset, next: offset + length + skip, text };
    rest = rest.subarray(length + skip);
    offset = line.next;
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
    flush: () => {
      const whole = wholeCharacters(rest);
      return whole === 0 ? [] : [take(whole, 0)];
    },
    get position() {
      return offset;
    },
    get pending() {
      return rest.length > 0;
    },
  };
}

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** The last position at or before `at` where a UTF-8 character begins. */
export function boundaryBefore(bytes: Uint8Array, at: number): number {
  let end = at;
  // Continuation bytes are 10xxxxxx, at most three in a row; more is not UTF-8 and may be cut anywhere.
  for (let back = 0; back < 3 && end > 0 && isContinuation(bytes[end]); back++) end -= 1;
  return isContinuation(bytes[end]) ? at : end;
}

/** How many bytes there are up to the last character that is all there. What is not UTF-8 counts as it is. */
export function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (isContinuation(byte)) continue;
    const needs = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 ? (byte < 0xf0 ? 3 : 1) : byte >= 0xc0 ? 2 : 1;
    return needs > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/** Where output that begins in the middle should begin instead: after the next newline, else at the next character. */
export function skipPartialLine(data: Uint8Array): number {
  const end = data.indexOf(NEWLINE);
  return end < 0 ? skipPartialCharacter(data) : end + 1;
}

export function skipPartialCharacter(data: Uint8Array): number {
  let start = 0;
  while (start < 3 && start < data.length && isContinuation(data[start])) start += 1;
  return isContinuation(data[start]) ? 0 : start;
}
