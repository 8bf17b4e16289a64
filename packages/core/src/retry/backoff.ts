/** Delays between tries. Full jitter, so that what failed together does not come back together. */
import type { Rng } from "../rng.ts";

/** Full-jitter exponential back-off: uniform in (0, min(cap, base·2^attempt)], never below `floorMs`. */
export function backoffMs(attempt: number, options: { baseMs: number; capMs: number; floorMs?: number }, rng: Rng): number {
  const ceiling = Math.min(options.capMs, options.baseMs * 2 ** Math.min(attempt, 30));
  return Math.max(options.floorMs ?? 0, ceiling * (1 - rng.float()));
}

/** Reconcile: 10 s · 2^n, at most 10 min, then it is a crash loop. Too short hammers a broken host; too long hides a cure. */
export const RECONCILE_BASE_MS = 10_000;
export const RECONCILE_CAP_MS = 600_000;
export const RECONCILE_MAX_ATTEMPTS = 5;
export const reconcileDelayMs = (attempt: number): number => Math.min(RECONCILE_CAP_MS, RECONCILE_BASE_MS * 2 ** attempt);
