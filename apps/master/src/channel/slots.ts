/**
 * A few at a time, the rest in line: for work that costs a transaction each. A fleet that registers at once would
 * otherwise fill the database's queue and be shed, beats and all (faults F22). Invariant: first come, first served; the
 * line is bounded.
 */
import { SkepError } from "@skep/core";

export type Slots = <T>(work: () => Promise<T>) => Promise<T>;

/** Throws `overloaded` when `maxWaiting` are in line already. */
export function createSlots(maxRunning: number, maxWaiting: number): Slots {
  let running = 0;
  const line: (() => void)[] = [];
  return async (work) => {
    if (running >= maxRunning) {
      if (line.length >= maxWaiting) throw new SkepError("overloaded", "too many of these wait already", { retryAfterMs: 2_000 });
      // Whoever leaves hands its slot over, so that nobody slips in between.
      await new Promise<void>((resolve) => line.push(resolve));
    } else running += 1;
    try {
      return await work();
    } finally {
      const next = line.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
