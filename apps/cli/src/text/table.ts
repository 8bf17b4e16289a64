/**
 * Tables: aligned with two spaces between columns, no borders, the header always there. On a terminal the columns
 * that may give way are cut so that no row wraps; into a pipe everything is written in full.
 */
import { truncate, widthOf } from "./clean.ts";
import { textOf, toned, type Bit, type Line } from "./line.ts";

export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => Bit;
  readonly align?: "right";
  /** May be cut, down to its title's width, where the terminal is narrow. */
  readonly gives?: true;
}

const GAP = 2;
const MIN_GIVING_COLUMNS = 8;

/** `columns`: the terminal's width, or undefined for no limit. An empty cell is a dash, so that fields can be counted. */
export function renderTable<T>(rows: readonly T[], columns: readonly Column<T>[], terminalColumns: number | undefined): Line[] {
  const cells = rows.map((row) => columns.map((column): Bit => nonEmpty(column.cell(row))));
  const widths = columns.map((column, index) => Math.max(widthOf(column.title), ...cells.map((row) => widthOf(textOf(row[index]!)))));
  if (terminalColumns !== undefined) shrink(widths, columns, terminalColumns);
  const line = (bits: readonly Bit[]): Line =>
    bits.flatMap((bit, index): Bit[] => {
      const width = widths[index]!;
      const text = truncate(textOf(bit), width);
      const pad = " ".repeat(width - widthOf(text));
      const shown: Bit = typeof bit === "string" ? text : { text, tone: bit.tone };
      const gap = index === bits.length - 1 ? "" : " ".repeat(GAP);
      return columns[index]!.align === "right" ? [pad, shown, gap] : [shown, index === bits.length - 1 ? "" : pad + gap];
    });
  return [line(columns.map((column) => toned(column.title, "dim"))), ...cells.map(line)];
}

const nonEmpty = (bit: Bit): Bit => (textOf(bit) === "" ? "-" : bit);

/** Takes from the widest giving column, again and again, until the row fits or nothing more can be given. */
function shrink<T>(widths: number[], columns: readonly Column<T>[], limit: number): void {
  for (;;) {
    const total = widths.reduce((sum, width) => sum + width, 0) + GAP * (widths.length - 1);
    if (total <= limit) return;
    let widest = -1;
    columns.forEach((column, index) => {
      const least = Math.max(widthOf(column.title), MIN_GIVING_COLUMNS);
      if (column.gives === true && widths[index]! > least && (widest < 0 || widths[index]! > widths[widest]!)) widest = index;
    });
    if (widest < 0) return;
    widths[widest]! -= 1;
  }
}
