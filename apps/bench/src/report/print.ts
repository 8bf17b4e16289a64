/** The report in its three forms. JSON has the contract's fields and no others; the spreads are in the tables. */
import type { Row, Spread } from "./row.ts";

export interface JsonRow {
  readonly name: string;
  readonly value: number | null;
  readonly reference: number | null;
  readonly ratio: number | null;
  readonly target: string;
  readonly met: boolean;
  readonly unit: string;
  readonly note: string;
}

export function toJson(rows: readonly Row[]): { readonly rows: readonly JsonRow[] } {
  return {
    rows: rows.map(({ name, value, reference, ratio, target, met, unit, note }) => ({
      name, value: value === null ? null : round(value.median), reference: reference === null ? null : round(reference.median), ratio: ratio === null ? null : round(ratio), target, met, unit, note,
    })),
  };
}

export function toText(rows: readonly Row[], facts: readonly string[]): string {
  const cells = rows.map((row) => [row.name, withSpread(row.value), row.unit, withSpread(row.reference), ratioText(row), row.target, verdict(row)]);
  const head = ["row", "value (min–max)", "unit", "reference (min–max)", "ratio", "target", "met"];
  const widths = head.map((title, at) => Math.max(title.length, ...cells.map((line) => line[at]!.length)));
  const line = (parts: readonly string[]): string => parts.map((part, at) => part.padEnd(widths[at]!)).join("  ").trimEnd();
  return [...facts, "", line(head), ...rows.flatMap((row, at) => [line(cells[at]!), `    ${row.note}`]), ""].join("\n");
}

export function toMarkdown(rows: readonly Row[], facts: readonly string[]): string {
  const line = (parts: readonly string[]): string => `| ${parts.map((part) => part.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    ...facts.map((fact) => `- ${fact}`), "",
    line(["row", "value", "unit", "reference", "ratio", "target", "met", "noise"]), line(Array<string>(8).fill("---")),
    ...rows.map((row) => line([row.name, withSpread(row.value), row.unit, withSpread(row.reference), ratioText(row), row.target, verdict(row), noiseText(row)])),
    "", ...rows.map((row) => `- **${row.name}**: ${row.note}`), "",
  ].join("\n");
}

const verdict = (row: Row): string => (row.value === null ? "not measured" : row.met ? "yes" : "NO");
const ratioText = (row: Row): string => (row.ratio === null ? "–" : `${number(row.ratio)}×`);
const withSpread = (spread: Spread | null): string => (spread === null ? "–" : spread.min === spread.max ? number(spread.median) : `${number(spread.median)} (${number(spread.min)}–${number(spread.max)})`);
const noiseText = (row: Row): string => [row.value, row.reference].map((spread) => (spread === null ? "–" : `±${Math.round(spread.noise * 100)} %`)).join(" / ");

/** Three digits that count; more would claim a precision that no run has. */
const round = (value: number): number => Number(value.toPrecision(4));
const number = (value: number): string => (Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3))));
