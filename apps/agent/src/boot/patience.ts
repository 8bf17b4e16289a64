/** Waiting for work that may never end: a hung driver must cost its own member its deadline, and nobody anything else. */
import { DriverError, type AbortSignalLike, type Clock } from "@skep/core";

/** After the deadline, for the words of the work itself ("never became healthy: …"). Longer keeps the next stage waiting; shorter loses the reason. */
const LAST_WORDS_MS = 1_000;

/** As `work`; rejects when it is still going on shortly after `signal`. What it does later is nobody's outcome any more. */
export function outlasting<T>(clock: Clock, what: string, signal: AbortSignalLike, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  work.catch(() => undefined);
  const late = new Promise<never>((_, reject) => {
    const giveUp = (): void => {
      void clock.sleep(LAST_WORDS_MS, over.signal).then(() => {
        if (!over.signal.aborted) reject(new DriverError("hung", `${what} was still going on at the stage's deadline`));
      });
    };
    if (signal.aborted) giveUp();
    else signal.addEventListener("abort", giveUp, { once: true });
    over.signal.addEventListener("abort", () => signal.removeEventListener("abort", giveUp), { once: true });
  });
  return Promise.race([work, late]).finally(() => over.abort());
}
