/**
 * The real clock. The only module of Skep that may read time or set a timer, so that everything else can be
 * driven by a manual one. Invariant: an aborted or finished sleep leaves neither a timer nor a listener behind;
 * a leaked listener on a long-lived stop signal would grow with every round of a loop.
 */
import { instant } from "@skep/core";
import type { AbortSignalLike, Clock } from "@skep/core";

/** Node turns a longer delay into 1 ms, which would make a month-long sleep a busy loop. */
const MAX_TIMER_MS = 2_147_483_647;

/** The machine's clock. `sleep` resolves early when its signal aborts and never rejects. */
export function systemClock(): Clock {
  const sleep = async (ms: number, signal?: AbortSignalLike): Promise<void> => {
    const until = performance.now() + ms;
    let left = ms;
    do {
      await sleepOnce(Math.min(Math.max(left, 0), MAX_TIMER_MS), signal);
      left = until - performance.now();
    } while (left > 0 && signal?.aborted !== true);
  };
  return { now: () => instant(Date.now()), mono: () => performance.now(), sleep };
}

function sleepOnce(ms: number, signal: AbortSignalLike | undefined): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, ms);
    signal?.addEventListener("abort", finish, { once: true });
  });
}
