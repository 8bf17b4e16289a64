/**
 * Driver verbs with an end. A driver that hangs must cost its own job and nothing else, so no verb is ever awaited
 * longer than its signal plus a grace, or its own limit. What hung may still happen later: the error says so.
 */
import { DriverError, type AbortSignalLike, type Clock } from "@skep/core";

/** How long a verb may go on after its signal. Too short: a driver cannot tidy up; too long: a cancel takes that long. */
const GRACE_MS = 5_000;

/** Rejects with DriverError("hung") when `work` is still going `GRACE_MS` after `signal` aborted. */
export function untilSignal<T>(clock: Clock, what: string, signal: AbortSignalLike, work: () => Promise<T>): Promise<T> {
  const settled = new AbortController();
  const overdue = new Promise<never>((_, reject) => {
    const arm = (): void => {
      void clock.sleep(GRACE_MS, settled.signal).then(() => {
        if (!settled.signal.aborted) reject(new DriverError("hung", `${what} did not end ${GRACE_MS} ms after it was told to; it may still happen`));
      });
    };
    if (signal.aborted) arm();
    else signal.addEventListener("abort", arm, { once: true });
    settled.signal.addEventListener("abort", () => signal.removeEventListener("abort", arm), { once: true });
  });
  return Promise.race([work(), overdue]).finally(() => settled.abort());
}

/** Rejects with DriverError("hung") when `work` takes longer than `limitMs`. */
export function withinMs<T>(clock: Clock, what: string, limitMs: number, work: () => Promise<T>): Promise<T> {
  const settled = new AbortController();
  const overdue = new Promise<never>((_, reject) => {
    void clock.sleep(limitMs, settled.signal).then(() => {
      if (!settled.signal.aborted) reject(new DriverError("hung", `${what} did not end within ${limitMs} ms; it may still happen`));
    });
  });
  return Promise.race([work(), overdue]).finally(() => settled.abort());
}
