/** One row of the benchmark: samples in, median and verdict out. No clock, no process: arithmetic only. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Half of the range, as a share of the median: how much of a difference is noise. */
  readonly noise: number;
}

export type Goal =
  /** value ≤ limit × reference, plus `plus` in the value's unit where the target grants it. */
  | { readonly kind: "ratio_at_most"; readonly limit: number; readonly plus?: number }
  | { readonly kind: "ratio_at_least"; readonly limit: number }
  | { readonly kind: "at_most"; readonly limit: number };

export interface Row {
  readonly name: string;
  readonly unit: string;
  /** Null when it could not be measured; the note says why. */
  readonly value: Spread | null;
  readonly reference: Spread | null;
  readonly ratio: number | null;
  readonly target: string;
  readonly met: boolean;
  readonly note: string;
}

/** Throws when there are no samples: a median of nothing would be an invented figure. */
export function spreadOf(samples: readonly number[]): Spread {
  if (samples.length === 0) throw new Error("no samples");
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  const min = sorted[0]!;
  const max = sorted.at(-1)!;
  return { median, min, max, noise: median === 0 ? 0 : (max - min) / 2 / Math.abs(median) };
}

export interface Measured {
  readonly name: string;
  readonly unit: string;
  readonly goal: Goal;
  readonly value: readonly number[];
  /** Absent where the target is a figure of its own. */
  readonly reference?: readonly number[];
  readonly note: string;
}

export function judge({ name, unit, goal, value, reference, note }: Measured): Row {
  const mine = spreadOf(value);
  const base = reference === undefined ? null : spreadOf(reference);
  const ratio = base === null || base.median === 0 ? null : mine.median / base.median;
  return { name, unit, value: mine, reference: base, ratio, target: targetText(goal, unit), met: isMet(goal, mine.median, base?.median), note };
}

/** A row that could not be measured is never met. */
export const broken = (name: string, target: string, why: string): Row => ({ name, unit: "", value: null, reference: null, ratio: null, target, met: false, note: `not measured: ${why}` });

function isMet(goal: Goal, value: number, reference: number | undefined): boolean {
  switch (goal.kind) {
    case "at_most":
      return value <= goal.limit;
    case "ratio_at_most":
      return reference !== undefined && value <= goal.limit * reference + (goal.plus ?? 0);
    case "ratio_at_least":
      return reference !== undefined && value >= goal.limit * reference;
  }
}

function targetText(goal: Goal, unit: string): string {
  switch (goal.kind) {
    case "at_most":
      return `≤ ${goal.limit} ${unit}`;
    case "ratio_at_most":
      return `≤ ${goal.limit}×${goal.plus === undefined ? "" : ` + ${goal.plus} ${unit}`}`;
    case "ratio_at_least":
      return `≥ ${goal.limit}×`;
  }
}
