/**
 * One line of output: bits of text, some with a tone. Colour is added here and nowhere else, after everything was
 * cleaned, so that no text from outside can carry an escape sequence of its own.
 */
import { clean, truncate, widthOf } from "./clean.ts";

export const TONES = ["good", "warn", "bad", "dim", "bold"] as const;
export type Tone = (typeof TONES)[number];
export interface Toned {
  readonly text: string;
  readonly tone: Tone;
}
export type Bit = string | Toned;
export type Line = Bit | readonly Bit[];

const SGR: Readonly<Record<Tone, string>> = { good: "32", warn: "33", bad: "31", dim: "2", bold: "1" };

export const toned = (text: string, tone: Tone): Toned => ({ text, tone });
export const textOf = (bit: Bit): string => clean(typeof bit === "string" ? bit : bit.text);

export function renderBit(bit: Bit, color: boolean): string {
  const text = textOf(bit);
  return color && typeof bit !== "string" && text !== "" ? `\u001b[${SGR[bit.tone]}m${text}\u001b[0m` : text;
}

const bitsOf = (line: Line): readonly Bit[] => (Array.isArray(line) ? (line as readonly Bit[]) : [line as Bit]);

/** `columns`: cut there. Without it the line is as long as it is. */
export function renderLine(line: Line, color: boolean, columns?: number): string {
  let left = columns ?? Number.POSITIVE_INFINITY;
  let out = "";
  for (const bit of bitsOf(line)) {
    if (left <= 0) break;
    const text = truncate(textOf(bit), left);
    left -= widthOf(text);
    out += renderBit(typeof bit === "string" ? text : { text, tone: bit.tone }, color);
  }
  return out.trimEnd();
}
