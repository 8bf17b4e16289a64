/**
 * Driver verbs with an end. A driver that hangs must cost its own job and nothing else, so no verb is ever awaited
 * longer than its lease and a grace. A lease runs from the last progress, not from the beginning: what moves is never
 * killed. What hung may still happen later: the error says so.
 */
import { DriverError, type AbortSignalLike, type Clock, type Progress } from "@skep/core";
import { GRACE_MS } from "./limits.ts";

export interface Lease {
  readonly what: string;
  /** Longest time without progress; undefined = as long as `signal` allows. */
  readonly limitMs: number | undefined;
  /** Its abort is passed on to the verb; undefined = nothing but the limit ends it. */
  readonly signal: AbortSignalLike | undefined;
  /** How long the verb may go on once it was told to end. Default `GRACE_MS`. */
  readonly graceMs?: number | undefined;
  readonly moved?: Progress | undefined;
}

/** Rejects with DriverError("stalled") when nothing moved for `limitMs`, with "hung" when it did not end when told to. */
export async function leased<T>(clock: Clock, lease: Lease, work: (signal: AbortSignalLike, progress: Progress) => Promise<T>): Promise<T> {
  const { what, limitMs, signal, graceMs = GRACE_MS } = lease;
  const told = new AbortController();
  const settled = new AbortController();
  let lastMs = clock.mono();
  let stalled = false;
  const end = (): void => told.abort();
  if (signal?.aborted === true) end();
  signal?.addEventListener("abort", end, { once: true });
  const progress: Progress = () => {
    if (settled.signal.aborted) return;
    lastMs = clock.mono();
    lease.moved?.();
  };
  const overdue = new Promise<never>((_, reject) => {
    const refuse = (): void => {
      const why = graceMs === 0 ? `it did not end within ${seconds(limitMs ?? 0)}` : stalled ? `nothing moved for ${seconds(limitMs ?? 0)}` : `it did not end ${seconds(graceMs)} after it was told to`;
      if (!settled.signal.aborted) reject(new DriverError("hung", `${what}: ${why}; it may still happen`));
    };
    const arm = (): void => void clock.sleep(graceMs, settled.signal).then(refuse);
    if (told.signal.aborted) arm();
    else told.signal.addEventListener("abort", arm, { once: true });
  });
  const watch = async (limit: number): Promise<void> => {
    while (!settled.signal.aborted && !told.signal.aborted) {
      const leftMs = lastMs + limit - clock.mono();
      if (leftMs <= 0) {
        stalled = true;
        end();
      } else await clock.sleep(leftMs, settled.signal);
    }
  };
  if (limitMs !== undefined) void watch(limitMs);
  try {
    return await Promise.race([work(told.signal, progress), overdue]);
  } catch (error) {
    // A driver that gave up because it was told to says so in general words; that it stood still is the news.
    if (stalled && error instanceof DriverError && error.code === "aborted") throw new DriverError("stalled", `${what}: nothing moved for ${seconds(limitMs ?? 0)} (${error.message})`);
    throw error;
  } finally {
    settled.abort();
    signal?.removeEventListener("abort", end);
  }
}

/** For verbs that cannot be told to end: rejects with DriverError("hung") when `work` takes longer than `limitMs`. */
export const withinMs = <T>(clock: Clock, what: string, limitMs: number, work: () => Promise<T>): Promise<T> =>
  leased(clock, { what, limitMs, signal: undefined, graceMs: 0 }, work);

const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;
