/**
 * A clock that moves only when a test says so. Tests shake hands with the code under test: wait until somebody
 * sleeps, then advance. Invariant: sleepers wake in the order of their due times, each seeing its own due time.
 */
import { instant } from "@skep/core";
import type { AbortSignalLike, Clock, Instant } from "@skep/core";
import { eventually } from "./eventually.ts";

interface Sleeper {
  readonly dueMs: number;
  readonly wake: () => void;
}

export class ManualClock implements Clock {
  #monoMs = 0;
  #wallMs: number;
  readonly #sleepers = new Set<Sleeper>();

  /** `startMs`: the wall clock's first reading, Unix milliseconds. */
  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#wallMs = startMs;
  }

  now(): Instant {
    return instant(this.#wallMs);
  }

  mono(): number {
    return this.#monoMs;
  }

  sleep(ms: number, signal?: AbortSignalLike): Promise<void> {
    if (signal?.aborted === true || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const sleeper: Sleeper = { dueMs: this.#monoMs + ms, wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }

  /** How many sleep right now. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Resolves once at least `count` sleep; fails with the number there were. */
  async sleepers(count: number, timeoutMs = 30_000): Promise<void> {
    await eventually(
      (status) => {
        status(`${this.#sleepers.size} sleeping`);
        return this.#sleepers.size >= count;
      },
      { what: `${count} sleepers on the manual clock`, timeoutMs },
    );
  }

  /** Moves time and wakes whoever is due. Their continuations run after this call returns: shake hands again. */
  advance(ms: number): void {
    const target = this.#monoMs + ms;
    for (let next = this.#next(target); next !== undefined; next = this.#next(target)) {
      this.#move(next.dueMs);
      next.wake();
    }
    this.#move(target);
  }

  /**
   * Moves time in steps from sleeper to sleeper and lets each one's continuation run before the next step, so that
   * a loop keeps its rhythm within one call. For code that awaits nothing but this clock and promises.
   */
  async run(ms: number): Promise<void> {
    const target = this.#monoMs + ms;
    await settle();
    for (let next = this.#next(target); next !== undefined; next = this.#next(target)) {
      this.#move(next.dueMs);
      next.wake();
      await settle();
    }
    this.#move(target);
  }

  /** Steps the wall clock alone, as NTP or an operator would; durations and sleepers do not notice. */
  stepWall(ms: number): void {
    this.#wallMs += ms;
  }

  #next(targetMs: number): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (sleeper.dueMs <= targetMs && (first === undefined || sleeper.dueMs < first.dueMs)) first = sleeper;
    }
    return first;
  }

  #move(toMs: number): void {
    const step = Math.max(0, toMs - this.#monoMs);
    this.#monoMs += step;
    this.#wallMs += step;
  }
}

/** Lets every promise that can go on go on. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
