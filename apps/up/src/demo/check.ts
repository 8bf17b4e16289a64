/** How the tour looks and judges: a failure always says what was expected and what was seen. */
import type { Clock } from "@skep/core";

export class DemoFailure extends Error {
  override readonly name = "DemoFailure";
  readonly expected: string;
  readonly seen: string;
  constructor(expected: string, seen: string) {
    super(`expected ${expected}; saw ${seen}`);
    this.expected = expected;
    this.seen = seen;
  }
}

export function expectThat(condition: boolean, expected: string, seen: unknown): void {
  if (!condition) throw new DemoFailure(expected, typeof seen === "string" ? seen : JSON.stringify(seen));
}

export interface Look<T> {
  /** Completes "expected …". */
  readonly expected: string;
  readonly timeoutMs: number;
  /** undefined: not yet; `saw` keeps what there was instead, for the failure. */
  readonly look: (saw: (text: string) => void) => Promise<T | undefined> | T | undefined;
}

const POLL_MS = 50;

/** Looks until there is something to see. A look that throws (a master that was just killed) counts as "not yet". */
export async function awaitSight<T>(clock: Clock, { expected, timeoutMs, look }: Look<T>): Promise<T> {
  const deadlineMs = clock.mono() + timeoutMs;
  let seen = "nothing";
  for (;;) {
    try {
      const found = await look((text) => void (seen = text));
      if (found !== undefined) return found;
    } catch (error) {
      if (error instanceof DemoFailure) throw error;
      seen = (error as Error).message;
    }
    if (clock.mono() > deadlineMs) throw new DemoFailure(`${expected} within ${timeoutMs / 1_000} s`, seen);
    await clock.sleep(POLL_MS);
  }
}
