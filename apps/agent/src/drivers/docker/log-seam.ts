/**
 * Where the copying of a container's output stands, and how a re-read is joined to what was copied before: by the
 * engine's timestamps, and, for what was copied after the position was last written down, by the bytes themselves. Pure.
 */
import type { Frame } from "./frames.ts";

export interface LogPosition {
  /** The latest timestamp that was copied, as the engine writes it. */
  readonly at: string;
  /** How many pieces with exactly that timestamp. */
  readonly count: number;
  /** Where the captured output ended when this was written down. */
  readonly offset: number;
}

export interface Piece {
  readonly at: string | undefined;
  readonly data: Uint8Array;
}

const STAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d) /;

/** A frame as the engine's `timestamps=1` writes it; without a stamp it is all data. */
export function pieceOf({ data }: Frame): Piece {
  const stamp = STAMP.exec(Buffer.from(data.subarray(0, 40)).toString("latin1"));
  return stamp === null ? { at: undefined, data } : { at: stamp[0].trimEnd(), data: data.subarray(stamp[0].length) };
}

/** As the engine's `since` wants it: seconds and nanoseconds. */
export function sinceOf(position: LogPosition | undefined): string | undefined {
  const stamp = position === undefined ? null : STAMP.exec(`${position.at} `);
  if (stamp === null) return undefined;
  return `${Date.parse(`${stamp[1]}${stamp[3]}`) / 1_000}.${(stamp[2] ?? ".").slice(1).padEnd(9, "0")}`;
}

export interface Seam {
  /** Whether this piece was not copied yet. Ask in the order of the re-read. */
  isNew(piece: Piece): boolean;
}

/** `tail`: what was captured beyond the position's offset. */
export function createSeam(position: LogPosition | undefined, tail: Uint8Array): Seam {
  let toSkip = position?.count ?? 0;
  let copied = Buffer.from(tail);
  return {
    isNew: ({ at, data }) => {
      if (toSkip > 0 && at === position?.at) {
        toSkip--;
        return false;
      }
      toSkip = 0;
      if (copied.length === 0) return true;
      if (data.length <= copied.length && copied.subarray(0, data.length).equals(data)) {
        copied = copied.subarray(data.length);
        return false;
      }
      // Something else wrote in between; from here on everything counts as new.
      copied = Buffer.alloc(0);
      return true;
    },
  };
}

/** Two streams are stamped before they are written, so a piece may be a little older than the last one: the latest stamp counts. */
export function advance(position: LogPosition | undefined, { at }: Piece, offset: number): LogPosition | undefined {
  if (at === undefined) return position;
  if (position === undefined || at > position.at) return { at, count: 1, offset };
  return { at: position.at, count: at === position.at ? position.count + 1 : position.count, offset };
}
