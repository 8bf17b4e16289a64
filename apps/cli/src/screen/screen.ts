/**
 * A full screen that is drawn again and again: the terminal's second screen, without a cursor. Invariant: on every way
 * out, a crash included, the terminal is as it was: first screen, cursor, keys. Only rows that changed are written, so
 * that nothing flickers and a slow line can follow.
 */
import { renderLine, type Line } from "../text/line.ts";
import type { Sink } from "../terminal.ts";
import { CTRL_C, type ScreenDevice, type Size } from "./device.ts";

export const KEYS = ["up", "down", "page_up", "page_down", "home", "end", "quit", "interrupt"] as const;
export type Key = (typeof KEYS)[number] | { readonly char: string };

export interface Screen {
  size(): Size;
  draw(lines: readonly Line[]): void;
  /** Restores the terminal. Further calls, and draws, do nothing. */
  close(): void;
}

export interface ScreenOptions {
  readonly out: Sink;
  readonly device: ScreenDevice;
  readonly color: boolean;
  readonly onKey: (key: Key) => void;
  readonly onResize: () => void;
}

const ENTER = "\u001b[?1049h\u001b[?25l\u001b[H\u001b[2J";
const LEAVE = "\u001b[?25h\u001b[?1049l";

export function openScreen({ out, device, color, onKey, onResize }: ScreenOptions): Screen {
  let shown: readonly string[] = [];
  let open = true;
  const clear = (): void => {
    shown = [];
    out.write("\u001b[H\u001b[2J");
  };
  const close = (): void => {
    if (!open) return;
    open = false;
    for (const undo of undos.reverse()) undo();
    out.write(LEAVE);
  };
  // Before the first byte: whatever fails from here on leaves the terminal as it was.
  const undos = [device.atExit(close)];
  out.write(ENTER);
  undos.push(device.onResize(() => {
    clear();
    onResize();
  }));
  const unread = device.readKeys((text) => {
    for (const key of parseKeys(text)) onKey(key);
  });
  if (unread !== undefined) undos.push(unread);
  return {
    size: () => device.size(),
    draw: (lines) => {
      if (!open) return;
      const { columns, rows } = device.size();
      const next = lines.slice(0, rows).map((line) => renderLine(line, color, columns));
      let data = "";
      for (let at = 0; at < Math.max(next.length, shown.length); at++) {
        // Emptied before it is written: after a full row some terminals would erase its last column.
        if (next[at] !== shown[at]) data += `\u001b[${at + 1};1H\u001b[2K${next[at] ?? ""}`;
      }
      shown = next;
      if (data !== "") out.write(data);
    },
    close,
  };
}

const SEQUENCES: Readonly<Record<string, Key>> = {
  "[A": "up", OA: "up", "[B": "down", OB: "down", "[5~": "page_up", "[6~": "page_down",
  "[H": "home", OH: "home", "[1~": "home", "[F": "end", OF: "end", "[4~": "end",
};
const CHARS: Readonly<Record<string, Key>> = { q: "quit", Q: "quit", k: "up", j: "down", " ": "page_down", [CTRL_C]: "interrupt" };

/** Keys in what was typed. Sequences that mean nothing here are passed over whole, so that no part of one is taken for a key. */
export function parseKeys(text: string): Key[] {
  // oxlint-disable-next-line no-control-regex -- Escape is how a terminal spells its keys
  return [...text.matchAll(/\u001b(\[[0-9;]*[A-Za-z~]|O[A-Za-z])|\u001b|([^\u001b])/gu)].flatMap(([, sequence, char]) => {
    if (sequence !== undefined) return SEQUENCES[sequence] ?? [];
    return char === undefined ? [] : (CHARS[char] ?? { char });
  });
}
