/**
 * The one way anything in Skep happens again and again. `once` takes no input: a wake-up means "look again", so
 * losing one costs latency and nothing else.
 *
 * Invariants: rounds start at a fixed rate (a slow round does not push the next one back, and missed rounds are
 * not made up for in a burst); wake-ups during a round become exactly one more round; a round that throws is
 * logged and the loop goes on; once `signal` aborts no round starts, and `stopped` resolves when the last one ended.
 */
import { jitter } from "@skep/core";
import type { Clock, Logger, Rng } from "@skep/core";

export interface LoopOptions {
  readonly name: string;
  /** The period. A function is asked before every wait, so that a master can change an agent's interval. */
  readonly everyMs: number | (() => number);
  /** Spread of each period, ±share of it. 0 = in step with everybody else who started with us. */
  readonly jitterShare: number;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** One look at the world. `signal` aborts when the loop is to stop; a round that ignores it delays the stop. */
  readonly once: (signal: AbortSignal) => Promise<unknown>;
  readonly signal: AbortSignal;
}

export interface Loop {
  /** Look again soon: now when idle, once more after the present round otherwise. */
  wake(): void;
  /** Resolves (never rejects) when the signal has aborted and no round is running. */
  readonly stopped: Promise<void>;
}

/** Starts at once with a first round. */
export function loop(options: LoopOptions): Loop {
  const { name, clock, rng, logger, signal } = options;
  let woken = false;
  let nap: AbortController | undefined;
  let everyMs = 1_000;

  const wait = async (ms: number): Promise<void> => {
    nap = new AbortController();
    const leave = nap.abort.bind(nap);
    signal.addEventListener("abort", leave, { once: true });
    if (!woken && !signal.aborted) await clock.sleep(ms, nap.signal);
    signal.removeEventListener("abort", leave);
    nap = undefined;
  };

  const round = async (): Promise<void> => {
    try {
      everyMs = typeof options.everyMs === "function" ? options.everyMs() : options.everyMs;
      await options.once(signal);
    } catch (err) {
      if (!signal.aborted) logger.error({ err, loop: name }, "a loop's round failed; the loop goes on");
    }
  };

  const run = async (): Promise<void> => {
    let dueMs = clock.mono();
    while (!signal.aborted) {
      woken = false;
      const onSchedule = clock.mono() >= dueMs;
      await round();
      // Rounds run early by a wake-up keep the schedule; only a round at or after its time moves it on.
      if (onSchedule) dueMs = Math.max(dueMs + jitter(everyMs, options.jitterShare, rng), clock.mono());
      const leftMs = dueMs - clock.mono();
      if (leftMs > 0) await wait(leftMs);
    }
  };

  const wake = (): void => {
    woken = true;
    nap?.abort();
  };
  return { wake, stopped: run() };
}
