/**
 * Text as it may reach a terminal. Everything that came over the network is treated as hostile: a control character
 * in an error message could move the cursor, hide a line or forge one. They are shown as what they are instead.
 */

/** C0, DEL and C1 controls, the marks that reorder or hide text, and halves of characters. */
// oxlint-disable-next-line no-control-regex -- the point of the pattern is to name the control characters
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\p{Cs}]/gu;
const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

const escapeOne = (char: string): string => {
  const code = char.charCodeAt(0);
  return NAMED[char] ?? (code <= 0xff ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`);
};

/** One line's worth: newlines are escaped too. */
export const clean = (text: string): string => text.replace(UNSAFE, escapeOne);

/** Many lines' worth: what shapes lines is kept. */
export const cleanOutput = (text: string): string => text.replace(UNSAFE, (char) => (char === "\n" || char === "\t" || char === "\r" ? char : escapeOne(char)));

/** The same JSON with the controls that JSON allows and terminals obey written as \uXXXX. */
export const safeJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(UNSAFE, (char) => (char === "\n" ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`));

/** Columns of a terminal, near enough: one per character, two for the wide scripts and emoji. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += isWide(char.codePointAt(0)!) ? 2 : 1;
  return width;
}

const isWide = (code: number): boolean =>
  code >= 0x1100 && (code <= 0x115f || (code >= 0x2e80 && code <= 0xa4cf) || (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) || (code >= 0xffe0 && code <= 0xffe6) || (code >= 0x1f300 && code <= 0x1faff) || (code >= 0x20000 && code <= 0x3fffd));

/** Cut to `columns` with an ellipsis, so that a redrawn line never wraps. */
export function truncate(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let out = "";
  let width = 0;
  for (const char of text) {
    const next = width + (isWide(char.codePointAt(0)!) ? 2 : 1);
    if (next > columns - 1) break;
    out += char;
    width = next;
  }
  return `${out}…`;
}
