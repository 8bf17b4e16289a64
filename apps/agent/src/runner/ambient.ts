/**
 * The runner's own clock and chance. It cannot take `packages/runtime`'s: that module loads a logger, and a runner
 * loads nothing but Node, because it is paid once per component. Nothing else under runner/ may touch time.
 */
import type { AbortSignalLike, Clock, Instant, Rng } from "@skep/core";

export const ambientClock: Clock = {
  now: () => Date.now() as Instant,
  mono: () => performance.now(),
  sleep: (ms, signal) => new Promise((resolve) => sleepInto(resolve, ms, signal)),
};

function sleepInto(resolve: () => void, ms: number, signal: AbortSignalLike | undefined): void {
  if (signal?.aborted) return resolve();
  const finish = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", finish);
    resolve();
  };
  const timer = setTimeout(finish, Math.min(Math.max(0, ms), 2_147_483_647));
  signal?.addEventListener("abort", finish, { once: true });
}

/** For jitter only; never for secrets. */
export const ambientRng: Rng = {
  float: () => Math.random(),
  bytes: (length) => Uint8Array.from({ length }, () => Math.floor(Math.random() * 256)),
};
