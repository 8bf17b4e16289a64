/**
 * Waiting for a condition instead of sleeping. The predicate is a level, not an edge: it must stay true once it is,
 * or a poll may miss it. A timeout says what was awaited and what was seen last.
 */
import { systemClock } from "@skep/runtime";

export interface EventuallyOptions {
  /** What is awaited, for the error: "the row is terminal". */
  readonly what: string;
  /** Default 30 000. Only a bound for failure: nothing may depend on how long it took. */
  readonly timeoutMs?: number;
}

/** Anything but `false`, `null` and `undefined` ends the wait and is returned. */
export type Seen<T> = Exclude<T, false | null | undefined | void>;

/**
 * Polls `look` until it returns something. A throw counts as "not yet" and is the error's cause at the end, so
 * assertions can be polled. `status` keeps a sentence about what was seen for the timeout's message.
 */
export async function eventually<T>(
  look: (status: (text: string) => void) => T | Promise<T>,
  options: EventuallyOptions,
): Promise<Seen<T>> {
  const clock = systemClock();
  const { timeoutMs = 30_000 } = options;
  const startMs = clock.mono();
  let seen = "nothing";
  let cause: unknown;
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 100)) {
    try {
      const value = await look((text) => (seen = text));
      if (value !== false && value !== null && value !== undefined) return value as Seen<T>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (clock.mono() - startMs >= timeoutMs) break;
    await clock.sleep(pauseMs);
  }
  const why = cause instanceof Error ? `; it threw: ${cause.message}` : "";
  throw new Error(`not within ${timeoutMs} ms: ${options.what} (last seen: ${seen}${why})`, { cause });
}
