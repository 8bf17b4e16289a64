/** The ablation gate: a rule that can be removed without any invariant breaking is either untested or not needed. */
import { PRODUCTION_POLICY, type Policy, type PolicyRule } from "@skep/core";
import { runSeed } from "./run-seed.ts";
import type { Violation } from "./truth.ts";

/** Production's rules but one. */
export const without = (rule: PolicyRule | undefined): Policy => (rule === undefined ? PRODUCTION_POLICY : { ...PRODUCTION_POLICY, [rule]: false });

export interface GateResult {
  readonly rule: PolicyRule;
  /** The first seed that showed it; undefined = none did. */
  readonly seed: number | undefined;
  readonly violation: Violation | undefined;
}

/** Plays seeds without the rule until one shows that it is missed. */
export async function runUntilViolation(rule: PolicyRule, seeds: readonly number[]): Promise<GateResult> {
  for (const seed of seeds) {
    const { violations } = await runSeed(seed, { policy: without(rule) });
    if (violations[0] !== undefined) return { rule, seed, violation: violations[0] };
  }
  return { rule, seed: undefined, violation: undefined };
}
