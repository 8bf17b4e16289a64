/** The ablation gate: a rule that can be removed without any invariant breaking is either untested or not needed. */
import { PRODUCTION_POLICY, type Policy, type PolicyRule } from "@skep/core";
import { runSeed } from "./run-seed.ts";
import type { Violation } from "./truth.ts";

/** Production's rules but one. */
export const without = (rule: PolicyRule | undefined): Policy => (rule === undefined ? PRODUCTION_POLICY : { ...PRODUCTION_POLICY, [rule]: false });

/** What each rule is there for: its removal must break one of these, not just anything. */
export const GUARDS: Readonly<Record<PolicyRule, readonly string[]>> = {
  idempotency: ["I1"],
  dispatcherLoop: ["I6"],
  jobDedupe: ["I3"],
  journal: ["I3", "I5", "I6"],
  generationCheck: ["I4"],
  compareAndSet: ["I2", "I13"],
  lostIsNotFailed: ["I5"],
  lateSuccess: ["I6"],
  outboxAndInventory: ["I6"],
  sentBeforeFailed: ["I5"],
  rolloutGate: ["R1"],
};

export interface GateResult {
  readonly rule: PolicyRule;
  /** The first seed that showed it; undefined = none did. */
  readonly seed: number | undefined;
  readonly violation: Violation | undefined;
}

/** Plays seeds without the rule until one shows that it is missed. */
export async function runUntilViolation(rule: PolicyRule, seeds: readonly number[]): Promise<GateResult> {
  for (const seed of seeds) {
    const wanted = (one: Violation): boolean => GUARDS[rule].includes(one.invariant);
    const { violations } = await runSeed(seed, { policy: without(rule), wanted });
    const violation = violations.find(wanted);
    if (violation !== undefined) return { rule, seed, violation };
  }
  return { rule, seed: undefined, violation: undefined };
}
