/** Seeds that replay. A randomised test without its seed in the output is a rumour. */
import { randomInt } from "node:crypto";

/**
 * The seed of SKEP_SEED, or a fresh one; printed either way.
 * Throws when SKEP_SEED is not an integer below 2^32: a mistyped seed must not silently test something else.
 */
export function seedFromEnv(): number {
  const text = process.env["SKEP_SEED"];
  const seed = text === undefined || text === "" ? randomInt(2 ** 32) : Number(text);
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) throw new Error(`SKEP_SEED must be an integer from 0 to 4294967295, not "${text}"`);
  console.log(`seed ${seed} (replay with SKEP_SEED=${seed})`);
  return seed;
}
