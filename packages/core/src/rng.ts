/** Chance as an argument. Core and every shell take an `Rng`; only `packages/runtime` owns a real one. */
export interface Rng {
  /** Uniform in [0, 1). */
  float(): number;
  bytes(length: number): Uint8Array;
}

/** A uniform integer in [0, bound). */
export const below = (rng: Rng, bound: number): number => Math.floor(rng.float() * bound);

/** `value` spread by ±`share`, so that a fleet never beats in step. */
export const jitter = (value: number, share: number, rng: Rng): number =>
  value * (1 - share + 2 * share * rng.float());

/** A small seeded generator (mulberry32): the same seed replays the same run on every machine. Never for secrets. */
export function seededRng(seed: number): Rng {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  return {
    float: () => next() / 4_294_967_296,
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
  };
}
