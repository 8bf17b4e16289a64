/**
 * A process that can be killed at any await. Everything it does to the outside goes through `port`; once it is dead
 * none of its calls returns and none of its sleeps ends, which is all that `kill -9` means to a program.
 */
import { instant, type AbortSignalLike, type Clock } from "@skep/core";
import type { World } from "./world.ts";

/** The wall clock at the beginning of every run. */
export const EPOCH_MS = Date.UTC(2026, 0, 1);

/** Thrown where a process dies in the middle of synchronous code; nothing it does afterwards reaches anybody. */
export class ProcessKilled extends Error {
  override readonly name = "ProcessKilled";
}

export interface SimProcess {
  readonly name: string;
  readonly clock: Clock;
  alive(): boolean;
  kill(because: string): void;
  onKill(listener: () => void): void;
  /** A call to the outside: the process may die before it, or after it without learning the result. */
  port<T>(what: string, work: () => Promise<T>): Promise<T>;
  /** A named instant in synchronous code. Throws `ProcessKilled` when the process dies here. */
  failpoint(name: string): void;
  /** Waits for the promise as long as the process lives. */
  guard<T>(promise: Promise<T>): Promise<T>;
}

export interface ProcessOptions {
  /** How far its wall clock is off, ms. */
  readonly skewMs: number;
  /** Asked at every port call and failpoint. */
  readonly diesHere: () => boolean;
}

const never = <T>(): Promise<T> => new Promise(() => {});

export function createProcess(world: World, name: string, { skewMs, diesHere }: ProcessOptions): SimProcess {
  const bornMs = world.nowMs();
  const listeners: (() => void)[] = [];
  let alive = true;

  const kill = (because: string): void => {
    if (!alive) return;
    alive = false;
    world.trace(`${name} killed: ${because}`);
    for (const listener of listeners) listener();
  };
  const guard = <T>(promise: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      promise.then(
        (value) => alive && resolve(value),
        (error: unknown) => alive && reject(error),
      );
    });

  return {
    name,
    alive: () => alive,
    kill,
    guard,
    onKill: (listener) => void listeners.push(listener),
    clock: {
      now: () => instant(EPOCH_MS + world.nowMs() + skewMs),
      mono: () => world.nowMs() - bornMs,
      sleep: (ms, signal) => (alive ? sleep(world, ms, signal, () => alive) : never()),
    },
    port: async (what, work) => {
      if (!alive) return never();
      if (diesHere()) {
        kill(`before ${what}`);
        return never();
      }
      try {
        return await guard(work());
      } finally {
        if (diesHere()) {
          kill(`after ${what}`);
          await never();
        }
      }
    },
    failpoint: (point) => {
      if (!alive) throw new ProcessKilled();
      if (!diesHere()) return;
      kill(`at ${point}`);
      throw new ProcessKilled();
    },
  };
}

function sleep(world: World, ms: number, signal: AbortSignalLike | undefined, alive: () => boolean): Promise<void> {
  if (signal?.aborted === true || ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const wake = (): void => {
      cancel();
      signal?.removeEventListener("abort", wake);
      if (alive()) resolve();
    };
    const cancel = world.after(ms, wake);
    signal?.addEventListener("abort", wake, { once: true });
  });
}
