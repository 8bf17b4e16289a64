/**
 * A home for work that nobody awaits. Invariants: a tracked promise never becomes an unhandled rejection; nothing is
 * forgotten at a stop, what did not finish is named.
 */
import type { Clock, Logger } from "@skep/core";

export interface BackgroundTasks {
  /** Takes over the promise: its failure is logged under `name`. */
  track(name: string, task: Promise<unknown>): void;
  /** How many are unfinished. */
  readonly size: number;
  /** Waits for all, also for those tracked meanwhile. Returns the names of those unfinished after `timeoutMs`. */
  drain(timeoutMs: number): Promise<string[]>;
}

export function createBackgroundTasks(deps: { readonly clock: Clock; readonly logger: Logger }): BackgroundTasks {
  const { clock, logger } = deps;
  const running = new Map<Promise<void>, string>();
  const track = (name: string, task: Promise<unknown>): void => {
    const settled: Promise<void> = task.then(
      () => void running.delete(settled),
      (err: unknown) => {
        running.delete(settled);
        logger.error({ err, task: name }, "a background task failed");
      },
    );
    running.set(settled, name);
  };
  const drain = async (timeoutMs: number): Promise<string[]> => {
    const timer = new AbortController();
    let late = false;
    const timeout = clock.sleep(timeoutMs, timer.signal).then(() => void (late = true));
    while (running.size > 0 && !late) await Promise.race([timeout, Promise.all(running.keys())]);
    timer.abort();
    const left = [...running.values()];
    if (left.length > 0) logger.warn({ tasks: left }, "background tasks did not finish in time");
    return left;
  };
  return {
    track,
    drain,
    get size() {
      return running.size;
    },
  };
}
