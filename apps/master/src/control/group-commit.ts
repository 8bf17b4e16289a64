/**
 * Group commit: what arrives while a transaction is under way shares the next one. One transaction per heartbeat
 * would cost four times the CPU; a batch that fails for one bad item is retried item by item, so that no host
 * pays for another's.
 */
import type { Clock } from "@skep/core";
import { SkepError } from "@skep/core";

export interface GroupCommit<I, O> {
  /** Resolves after the item's transaction has committed. */
  add(item: I, urgent: boolean): Promise<O>;
  /** Resolves when nothing is waiting or under way. */
  drain(): Promise<void>;
}

interface Waiting<I, O> {
  readonly item: I;
  readonly resolve: (value: O) => void;
  readonly reject: (error: unknown) => void;
}

export function createGroupCommit<I, O>(options: {
  readonly clock: Clock;
  /** Writes the items in one transaction and answers in their order. */
  readonly flush: (items: readonly I[]) => Promise<readonly O[]>;
  readonly maxItems: number;
  /** How long a batch without an urgent item waits for company, ms. Too long delays acknowledgements, too short wastes commits. */
  readonly windowMs: number;
  /** Batches under way at once. */
  readonly lanes: number;
}): GroupCommit<I, O> {
  let queue: Waiting<I, O>[] = [];
  let busy = 0;
  let timer: AbortController | undefined;
  let idle: (() => void)[] = [];

  const start = (): void => {
    timer?.abort();
    timer = undefined;
    while (busy < options.lanes && queue.length > 0) {
      const batch = queue.slice(0, options.maxItems);
      queue = queue.slice(options.maxItems);
      busy += 1;
      void run(batch);
    }
  };

  const run = async (batch: readonly Waiting<I, O>[]): Promise<void> => {
    try {
      const results = await options.flush(batch.map((waiting) => waiting.item));
      batch.forEach((waiting, index) => waiting.resolve(results[index]!));
    } catch (error) {
      // A database that is away is away for all of them; anything else may be one item's fault.
      if (batch.length === 1 || (error instanceof SkepError && error.retryable)) for (const waiting of batch) waiting.reject(error);
      else await singly(batch);
    } finally {
      busy -= 1;
      if (queue.length > 0) start();
      else if (busy === 0) {
        for (const resolve of idle) resolve();
        idle = [];
      }
    }
  };

  const singly = async (batch: readonly Waiting<I, O>[]): Promise<void> => {
    for (const waiting of batch) {
      try {
        const [result] = await options.flush([waiting.item]);
        waiting.resolve(result!);
      } catch (error) {
        waiting.reject(error);
      }
    }
  };

  return {
    add: (item, urgent) =>
      new Promise<O>((resolve, reject) => {
        queue.push({ item, resolve, reject });
        if (busy >= options.lanes) return;
        if (urgent || options.windowMs === 0 || queue.length >= options.maxItems) start();
        else if (timer === undefined) {
          const waiting = new AbortController();
          timer = waiting;
          void options.clock.sleep(options.windowMs, waiting.signal).then(() => {
            if (!waiting.signal.aborted) start();
          });
        }
      }),
    drain: () => (busy === 0 && queue.length === 0 ? Promise.resolve() : new Promise((resolve) => idle.push(resolve))),
  };
}
