/**
 * A terminal as a test: what it was sent is played on a small grid of characters, so that a test reads what a person
 * would see. Knows the sequences that we send and fails at any other.
 */
import type { ScreenDevice } from "../src/screen/device.ts";

export interface FakeScreen {
  readonly device: ScreenDevice;
  /** For `onOut`: everything that was written so far. */
  receive(all: string): void;
  /** The rows as they stand, without trailing blanks. */
  rows(): string[];
  text(): string;
  /** The second screen is shown. */
  readonly alternate: boolean;
  readonly cursor: boolean;
  /** Keys are read one by one. */
  readonly raw: boolean;
  type(text: string): void;
  resize(columns: number, rows: number): void;
  /** What the end of the process does, in whatever way it comes. */
  exit(): void;
}

// oxlint-disable-next-line no-control-regex -- escape sequences are what it plays
const TOKEN = /\u001b\[(\??)([0-9;]*)([A-Za-z])|\r|\n|[^\u001b\r\n]+|\u001b/gu;

export function fakeScreen(columns = 80, rows = 24): FakeScreen {
  let size = { columns, rows };
  let grid: string[] = [];
  let at = { row: 0, column: 0 };
  let played = 0;
  let typed: ((text: string) => void) | undefined;
  const resizers = new Set<() => void>();
  const exits = new Set<() => void>();
  const screen = { alternate: false, cursor: true };

  const put = (text: string): void => {
    if (!screen.alternate) return;
    const before = (grid[at.row] ?? "").padEnd(at.column);
    grid[at.row] = before.slice(0, at.column) + text + before.slice(at.column + text.length);
    at.column += text.length;
    if (grid[at.row]!.length > size.columns) throw new Error(`row ${at.row + 1} wraps at ${size.columns} columns: ${grid[at.row]}`);
  };
  const obey = (isPrivate: boolean, args: string, final: string): void => {
    if (isPrivate) {
      if (args === "1049") screen.alternate = final === "h";
      else if (args === "25") screen.cursor = final === "h";
      else throw new Error(`unknown mode ?${args}${final}`);
    } else if (final === "H") {
      const [row = 1, column = 1] = args === "" ? [] : args.split(";").map(Number);
      if (row > size.rows) throw new Error(`row ${row} is below a screen of ${size.rows}`);
      at = { row: row - 1, column: column - 1 };
    } else if (final === "J" && args === "2") grid = [];
    else if (final === "K" && args === "2") grid[at.row] = "";
    else if (final !== "m") throw new Error(`unknown sequence ${args}${final}`);
  };
  const lines = (): string[] => Array.from({ length: Math.max(...Object.keys(grid).map((key) => Number(key) + 1), 0) }, (_, row) => (grid[row] ?? "").trimEnd());
  return {
    device: {
      size: () => size,
      onResize: (listener) => {
        resizers.add(listener);
        return () => resizers.delete(listener);
      },
      readKeys: (onText) => {
        typed = onText;
        return () => {
          typed = undefined;
        };
      },
      atExit: (restore) => {
        exits.add(restore);
        return () => exits.delete(restore);
      },
    },
    receive: (all) => {
      for (const [token, isPrivate, args = "", final] of all.slice(played).matchAll(TOKEN)) {
        if (final !== undefined) obey(isPrivate === "?", args, final);
        else if (token === "\u001b") throw new Error("an escape that begins nothing");
        else if (token !== "\r" && token !== "\n") put(token);
      }
      played = all.length;
    },
    rows: lines,
    text: () => lines().join("\n").trimEnd(),
    get alternate() {
      return screen.alternate;
    },
    get cursor() {
      return screen.cursor;
    },
    get raw() {
      return typed !== undefined;
    },
    type: (text) => typed?.(text),
    resize: (newColumns, newRows) => {
      size = { columns: newColumns, rows: newRows };
      for (const listener of resizers) listener();
    },
    exit: () => {
      for (const restore of exits) restore();
    },
  };
}
