/** The two clocks a shell may own. Required everywhere it is used: a defaulted clock is how a test ends up sleeping. */
import type { Instant } from "../time.ts";

export interface Clock {
  /** Wall clock of this machine. For display and for tokens of our own only: decisions use the database's. */
  now(): Instant;
  /** Milliseconds of a clock that never steps back. For durations. */
  mono(): number;
  /** Resolves after `ms`, or at once when `signal` aborts (it never rejects: the caller looks at the signal). */
  sleep(ms: number, signal?: AbortSignalLike): Promise<void>;
}

/** The part of AbortSignal core needs, declared here because core has no DOM and no Node types. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}
