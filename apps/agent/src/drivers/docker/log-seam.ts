/**
 * Where the copying of a container's output stands, and how a re-read is joined to what was copied before. The engine
 * gives output in one fixed order, and `since` cuts by stamps that step back a little, because two streams are stamped
 * before they are written. So a re-read begins a little earlier than the last stamp, and as many pieces as were copied
 * from there are skipped; what was copied after the position was written down is known by its bytes. Pure.
 */
import type { Frame } from "./frames.ts";

export interface LogPosition {
  /** The latest stamp that was copied, Unix ms. */
  readonly latestMs: number;
  /** How many pieces were copied, per BUCKET_MS of stamps, oldest first; only the last ones. */
  readonly buckets: readonly (readonly [bucket: number, pieces: number])[];
  /** Where the captured output ended when this was written down. */
  readonly offset: number;
}

export interface Piece {
  /** Unix ms. */
  readonly atMs: number | undefined;
  readonly data: Uint8Array;
}

const BUCKET_MS = 100;
/** How far stamps may step back: a second. Less could lose a line on a starved engine; more re-reads more. */
const BUCKETS = 10;
const STAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d) /;

/** A frame as the engine's `timestamps=1` writes it; without a stamp it is all data. */
export function pieceOf({ data }: Frame): Piece {
  const stamp = STAMP.exec(Buffer.from(data.subarray(0, 40)).toString("latin1"));
  return stamp === null ? { atMs: undefined, data } : { atMs: Date.parse(stamp[0].trimEnd()), data: data.subarray(stamp[0].length) };
}

/** As the engine's `since` wants it: seconds and nanoseconds. */
export function sinceOf(position: LogPosition | undefined): string | undefined {
  if (position === undefined) return undefined;
  const ms = Math.max(0, oldestOf(position.latestMs) * BUCKET_MS);
  return `${Math.floor(ms / 1_000)}.${String(ms % 1_000).padStart(3, "0")}000000`;
}

/** `skipped` is in the position already; `copied` is in the output, and not in the position; `new` is in neither. */
export type Verdict = "skipped" | "copied" | "new";

/** `tail`: what was captured beyond the position's offset. Ask in the order of the re-read. */
export function createSeam(position: LogPosition | undefined, tail: Uint8Array): (piece: Piece) => Verdict {
  let toSkip = (position?.buckets ?? []).reduce((sum, [, pieces]) => sum + pieces, 0);
  let copied = Buffer.from(tail);
  return ({ atMs, data }) => {
    // An engine that has thrown away its oldest lines gives fewer to skip: what is later than everything copied is new.
    if (toSkip > 0 && position !== undefined && atMs !== undefined && atMs <= position.latestMs) {
      toSkip--;
      return "skipped";
    }
    toSkip = 0;
    if (copied.length === 0) return "new";
    if (data.length <= copied.length && copied.subarray(0, data.length).equals(data)) {
      copied = copied.subarray(data.length);
      return "copied";
    }
    // Something else wrote in between; from here on everything counts as new.
    copied = Buffer.alloc(0);
    return "new";
  };
}

const oldestOf = (latestMs: number): number => Math.floor(latestMs / BUCKET_MS) - BUCKETS;

export function advance(position: LogPosition | undefined, { atMs }: Piece, offset: number): LogPosition | undefined {
  if (atMs === undefined) return position;
  const latestMs = Math.max(position?.latestMs ?? atMs, atMs);
  const oldest = oldestOf(latestMs);
  const counts = new Map(position?.buckets);
  const bucket = Math.floor(atMs / BUCKET_MS);
  counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
  const buckets = [...counts].filter(([number]) => number >= oldest).sort(([a], [b]) => a - b);
  return { latestMs, buckets, offset };
}
