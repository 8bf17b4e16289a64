/**
 * Tables: aligned with two spaces between columns, no borders, the header always there. On a terminal the columns
 * that may give way are cut, and then left out, so that no row wraps; into a pipe everything is written in full.
 */
import { truncate, widthOf } from "./clean.ts";
import { textOf, toned, type Bit, type Line } from "./line.ts";

export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => Bit;
  readonly align?: "right";
  /** May be cut, down to its title's width, where the terminal is narrow. */
  readonly gives?: true;
  /** Left out where the cut rows still do not fit; the smallest number first. */
  readonly drops?: number;
  /** Narrower than this it says nothing: it is then left out rather than cut further. */
  readonly leastColumns?: number;
}

const GAP = 2;
const MIN_GIVING_COLUMNS = 8;

/** `terminalColumns`: its width, or undefined for no limit. An empty cell is a dash, so that fields can be counted. */
export function renderTable<T>(rows: readonly T[], allColumns: readonly Column<T>[], terminalColumns: number | undefined): Line[] {
  const measured = allColumns.map((column) => measure(column, rows));
  const kept = terminalColumns === undefined ? measured : fit(measured, terminalColumns);
  const line = (bits: readonly Bit[]): Line =>
    bits.flatMap((bit, index): Bit[] => {
      const { width, column } = kept[index]!;
      const text = truncate(textOf(bit), width);
      const pad = " ".repeat(width - widthOf(text));
      const shown: Bit = typeof bit === "string" ? text : { text, tone: bit.tone };
      const gap = index === bits.length - 1 ? "" : " ".repeat(GAP);
      return column.align === "right" ? [pad, shown, gap] : [shown, index === bits.length - 1 ? "" : pad + gap];
    });
  return [line(kept.map(({ column }) => toned(column.title, "dim"))), ...rows.map((_, index) => line(kept.map(({ cells }) => cells[index]!)))];
}

interface Measured<T> {
  readonly column: Column<T>;
  readonly cells: readonly Bit[];
  readonly width: number;
}

function measure<T>(column: Column<T>, rows: readonly T[]): Measured<T> {
  const cells = rows.map((row) => nonEmpty(column.cell(row)));
  // Not as arguments of one call: there may be more rows than a call takes.
  const width = cells.reduce((widest, cell) => Math.max(widest, widthOf(textOf(cell))), widthOf(column.title));
  return { column, cells, width };
}

const nonEmpty = (bit: Bit): Bit => (textOf(bit) === "" ? "-" : bit);

const totalOf = (widths: readonly number[]): number => widths.reduce((sum, width) => sum + width, 0) + GAP * (widths.length - 1);
const leastOf = <T>({ column, width }: Measured<T>): number => (column.gives === true ? Math.min(width, Math.max(widthOf(column.title), column.leastColumns ?? MIN_GIVING_COLUMNS)) : width);

/** Leaves out columns until the rest can fit, then takes from the widest that gives, again and again, until it does or nothing more can be given. */
function fit<T>(columns: readonly Measured<T>[], limit: number): readonly Measured<T>[] {
  let kept = columns;
  while (totalOf(kept.map(leastOf)) > limit) {
    const first = kept.reduce<Measured<T> | undefined>((found, one) => (one.column.drops !== undefined && (found === undefined || one.column.drops < found.column.drops!) ? one : found), undefined);
    if (first === undefined) break;
    kept = kept.filter((one) => one !== first);
  }
  const widths = kept.map(({ width }) => width);
  while (totalOf(widths) > limit) {
    const widest = kept.reduce((found, one, at) => (widths[at]! > leastOf(one) && (found < 0 || widths[at]! > widths[found]!) ? at : found), -1);
    if (widest < 0) break;
    widths[widest]! -= 1;
  }
  return kept.map((one, at) => ({ ...one, width: widths[at]! }));
}
