/** What a full screen shows, row by row: a head that stays, a body that is scrolled, a foot. Pure. */
import { toned, type Bit, type Line } from "../text/line.ts";
import { formatDuration } from "../text/time.ts";
import type { Key } from "./screen.ts";

export interface FrameParts {
  readonly head: readonly Line[];
  readonly body: readonly Line[];
  readonly foot: readonly Line[];
}

/** How many lines of the body there is room for. The head gives way last: a screen of three rows still says how fresh it is. */
export const bodyRows = ({ head, foot }: FrameParts, rows: number): number => Math.max(0, rows - head.length - foot.length);

export const clampScroll = (scroll: number, parts: FrameParts, rows: number): number => Math.max(0, Math.min(scroll, parts.body.length - bodyRows(parts, rows)));

/** At most `rows` lines. */
export function composeFrame(parts: FrameParts, scroll: number, rows: number): Line[] {
  const room = bodyRows(parts, rows);
  const from = clampScroll(scroll, parts, rows);
  const body = parts.body.slice(from, from + room);
  const blank = Array.from({ length: room - body.length }, (): Line => "");
  return [...parts.head, ...body, ...blank, ...parts.foot].slice(0, rows);
}

/** Where a key scrolls to; undefined: it is no key of scrolling. */
export function scrolled(key: Key, scroll: number, parts: FrameParts, rows: number): number | undefined {
  const page = Math.max(1, bodyRows(parts, rows) - 1);
  const to = (wanted: number): number => clampScroll(wanted, parts, rows);
  switch (key) {
    case "up":
      return to(scroll - 1);
    case "down":
      return to(scroll + 1);
    case "page_up":
      return to(scroll - page);
    case "page_down":
      return to(scroll + page);
    case "home":
      return 0;
    case "end":
      return to(parts.body.length);
    default:
      return undefined;
  }
}

export interface Freshness {
  readonly url: string;
  /** The master's own time of the last answer, as text; undefined = none yet. */
  readonly knownAt: string | undefined;
  /** Since the last answer, or since the first question. */
  readonly sinceMs: number;
  /** The answer is overdue or was refused. */
  readonly stale: boolean;
  /** Why, in a word, where the master did answer. */
  readonly because: string | undefined;
}

/** The first line of every screen and block: how fresh what stands below it is. */
export function freshnessLine(title: string, { url, knownAt, sinceMs, stale, because }: Freshness): Line {
  if (!stale) return [toned(title, "bold"), knownAt === undefined ? `  asking ${url}` : `  ${knownAt}`];
  const silence = because === undefined ? "no answer" : `only ${because}`;
  // The address last: the time of what is shown must be readable on the narrowest screen.
  return toned(`${silence} for ${formatDuration(Math.max(1_000, sinceMs))}; ${knownAt === undefined ? "asking again" : `showing what was known at ${knownAt}`}; ${url}`, "bad");
}

/** Keys first: on a narrow screen the rest is cut away. */
export function footLine(words: { readonly keys: readonly string[]; readonly range: string; readonly intervalMs: number; readonly url: string }): Line {
  const bits = [...words.keys, words.range, `every ${formatDuration(words.intervalMs)}`, words.url].filter((word) => word !== "");
  return toned(bits.join("  "), "dim") satisfies Bit;
}

/** "1-18 of 2,000", where not all is seen. */
export function rangeOf(parts: FrameParts, scroll: number, rows: number): string {
  const room = bodyRows(parts, rows);
  const from = clampScroll(scroll, parts, rows);
  return parts.body.length <= room ? "" : `${from + 1}-${Math.min(parts.body.length, from + room)} of ${parts.body.length}`;
}
