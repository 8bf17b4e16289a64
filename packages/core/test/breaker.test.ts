/**
 * The breaker under thousands of random interleavings: against a tiny reference model, and against what can be seen from
 * outside alone. The same watcher is set on the seed's breaker as a control, and must see through it (defects 0-1 … 0-4).
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  BREAKER_COOLDOWN_MS, BREAKER_FAILURES, BREAKER_TOKEN_MS, CLOSED_BREAKER, admitCall, resetBreaker, settleCall, viewBreaker,
  type Breaker, type CallOutcome, type CallPass, type CircuitState,
} from "../src/breaker/breaker.ts";

interface Machine<P> {
  admit(now: number): P | undefined;
  settle(pass: P, outcome: CallOutcome, now: number): void;
  reset(): void;
  state(): CircuitState;
}

function ours(): Machine<CallPass> & { readonly breaker: () => Breaker } {
  let breaker: Breaker = CLOSED_BREAKER;
  return {
    admit: (now) => {
      const admission = admitCall(breaker, now);
      if (admission.kind === "refused") return undefined;
      breaker = admission.breaker;
      return admission.pass;
    },
    settle: (pass, outcome, now) => {
      breaker = settleCall(breaker, pass, outcome, now, outcome);
    },
    reset: () => {
      breaker = resetBreaker(breaker);
    },
    state: () => breaker.state,
    breaker: () => breaker,
  };
}

/** A call belongs to the phase that let it out; of any other phase it is not news. Phases are told apart by identity, not by a number. */
type Phase = { kind: "closed"; failures: number } | { kind: "open"; at: number; forGood: boolean } | { kind: "half_open"; since: number | undefined };
function reference(): Machine<Phase> {
  let phase: Phase = { kind: "closed", failures: 0 };
  const trial = (now: number): Phase => (phase = { kind: "half_open", since: now });
  return {
    admit: (now) => {
      if (phase.kind === "closed") return phase;
      if (phase.kind === "open") return phase.forGood || now < phase.at + BREAKER_COOLDOWN_MS ? undefined : trial(now);
      return phase.since !== undefined && now < phase.since + BREAKER_TOKEN_MS ? undefined : trial(now);
    },
    settle: (of, outcome, now) => {
      if (of !== phase || phase.kind === "open") return;
      const failures = phase.kind === "closed" ? phase.failures + 1 : BREAKER_FAILURES;
      if (outcome === "success") {
        if (phase.kind === "closed") phase.failures = 0;
        else phase = { kind: "closed", failures: 0 };
      } else if (outcome === "identity") phase = { kind: "open", at: now, forGood: true };
      else if (outcome === "aborted") {
        if (phase.kind === "half_open") phase = { kind: "half_open", since: undefined };
      } else if (failures >= BREAKER_FAILURES) phase = { kind: "open", at: now, forGood: false };
      else if (phase.kind === "closed") phase.failures = failures;
    },
    reset: () => {
      phase = { kind: "closed", failures: 0 };
    },
    state: () => phase.kind,
  };
}

/** The seed's class: a wall clock, no token, every outcome counts whenever it comes. */
function seeds(): Machine<object> {
  let state: CircuitState = "closed";
  let failures = 0;
  let lastFailureAt = 0;
  return {
    admit: (now) => {
      if (state === "open" && now - lastFailureAt > BREAKER_COOLDOWN_MS) state = "half_open";
      return state === "open" ? undefined : {};
    },
    settle: (_pass, outcome, now) => {
      if (outcome === "aborted") return;
      if (outcome === "success") {
        failures = 0;
        state = "closed";
        return;
      }
      failures += 1;
      lastFailureAt = now;
      if (failures >= BREAKER_FAILURES) state = "open";
    },
    reset: () => {
      failures = 0;
      state = "closed";
    },
    state: () => state,
  };
}

type Step = { readonly kind: "wait"; readonly ms: number } | { readonly kind: "call" } | { readonly kind: "end"; readonly nth: number; readonly outcome: CallOutcome } | { readonly kind: "reset" };
const OUTCOMES: readonly CallOutcome[] = ["success", "failure", "failure", "failure", "aborted", "identity"];
// A burst of calls and failures is what opens it; one call at a time would hardly ever get there.
const steps = (outcomes: readonly CallOutcome[]) => fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant<Step>({ kind: "call" }) },
    { weight: 9, arbitrary: fc.record({ kind: fc.constant("end" as const), nth: fc.nat(7), outcome: fc.constantFrom(...outcomes) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(0, 1, 100, BREAKER_TOKEN_MS - 1, BREAKER_TOKEN_MS, BREAKER_COOLDOWN_MS - 1, BREAKER_COOLDOWN_MS, 200_000) }) },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: "reset" }) },
  ),
  { minLength: 10, maxLength: 120 },
);

interface OpenCall<P> {
  readonly pass: P;
  readonly begunAt: number;
  /** How many changes of state there had been. */
  readonly era: number;
  /** Let out while it was not closed: the token. */
  readonly token: boolean;
}

/** Plays the steps and says what no breaker may do, seen from outside. Calls that no step ends are lost for ever. */
function watch<P>(machine: Machine<P>, played: readonly Step[]): string | undefined {
  let now = 1_000;
  let era = 0;
  let openedAt: number | undefined;
  let forGood = false;
  const open: OpenCall<P>[] = [];
  const moved = (was: CircuitState): void => {
    const is = machine.state();
    if (is === was) return;
    era += 1;
    openedAt = is === "open" ? now : is === "half_open" ? openedAt : undefined;
  };
  const tokensOut = (): number => open.filter((call) => call.token && call.era === era && now < call.begunAt + BREAKER_TOKEN_MS && machine.state() === "half_open").length;
  for (const step of played) {
    const was = machine.state();
    switch (step.kind) {
      case "wait":
        now += step.ms;
        break;
      case "call": {
        const pass = machine.admit(now);
        if (pass !== undefined && was === "open" && openedAt !== undefined && now < openedAt + BREAKER_COOLDOWN_MS) return "a call was let out before the cool-down was over";
        if (pass === undefined && was === "open" && !forGood && openedAt !== undefined && now >= openedAt + BREAKER_COOLDOWN_MS) return "the cool-down was longer than it may be";
        moved(was);
        if (pass !== undefined) open.push({ pass, begunAt: now, era, token: was !== "closed" });
        if (tokensOut() > 1) return "two calls are out while it is half open";
        break;
      }
      case "end": {
        const [call] = open.splice(step.nth % Math.max(1, open.length), 1);
        if (call === undefined) break;
        machine.settle(call.pass, step.outcome, now);
        if (machine.state() !== was && call.era !== era) return `the ${step.outcome} of a call from before moved it from ${was} to ${machine.state()}`;
        if (machine.state() === "open" && was !== "open") forGood = step.outcome === "identity";
        moved(was);
        break;
      }
      case "reset":
        machine.reset();
        moved(was);
        if (machine.state() !== "closed") return "a reset did not close it";
        break;
    }
  }
  // Whatever is still out never comes back; the host is not given up for it.
  now += BREAKER_COOLDOWN_MS + BREAKER_TOKEN_MS;
  const last = machine.admit(now);
  if (last === undefined && !(machine.state() === "open" && forGood)) return "a token was lost for ever";
  return undefined;
}

const RUNS = 5_000;

test("ours does what the reference does, step by step", () => {
  let opened = 0;
  fc.assert(fc.property(steps(OUTCOMES), (played) => {
    const [mine, model] = [ours(), reference()];
    const open: { mine: CallPass; model: Phase }[] = [];
    let now = 1_000;
    for (const step of played) {
      if (step.kind === "wait") now += step.ms;
      else if (step.kind === "reset") {
        mine.reset();
        model.reset();
      } else if (step.kind === "call") {
        const [a, b] = [mine.admit(now), model.admit(now)];
        expect(a !== undefined).toBe(b !== undefined);
        if (a !== undefined && b !== undefined) open.push({ mine: a, model: b });
      } else {
        const [call] = open.splice(step.nth % Math.max(1, open.length), 1);
        if (call === undefined) continue;
        mine.settle(call.mine, step.outcome, now);
        model.settle(call.model, step.outcome, now);
      }
      expect(mine.state()).toBe(model.state());
      if (mine.state() === "open") opened += 1;
      // What people see follows from what is decided.
      const view = viewBreaker(mine.breaker(), now);
      expect(view.retryInMs === 0).toBe(admitCall(mine.breaker(), now).kind === "admitted");
    }
  }), { numRuns: RUNS });
  // A generator that never opens it would prove nothing.
  expect(opened).toBeGreaterThan(RUNS / 10);
});

test("seen from outside, ours never lets two out, never loses a token, never lengthens a cool-down, never heeds the past", () => {
  fc.assert(fc.property(steps(OUTCOMES), (played) => {
    expect(watch(ours(), played)).toBeUndefined();
  }), { numRuns: RUNS });
});

test("control: the watcher agrees with the reference, and sees through the seed's breaker in every way it is wrong", () => {
  fc.assert(fc.property(steps(OUTCOMES), (played) => {
    expect(watch(reference(), played)).toBeUndefined();
  }), { numRuns: RUNS });
  expect(fc.check(fc.property(steps(["success", "failure"]), (played) => watch(seeds(), played) === undefined), { numRuns: RUNS }).failed).toBe(true);
  const call: Step = { kind: "call" };
  const wait = (ms: number): Step => ({ kind: "wait", ms });
  const end = (outcome: CallOutcome): Step => ({ kind: "end", nth: 0, outcome });
  const opened: readonly Step[] = Array.from({ length: BREAKER_FAILURES }, () => [call, end("failure")]).flat();
  // Defects 0-1, 0-2 and 0-3.
  expect(watch(seeds(), [...opened, wait(200_000), call, call])).toBe("two calls are out while it is half open");
  expect(watch(seeds(), [call, ...Array.from({ length: BREAKER_FAILURES }, (): Step[] => [call, { kind: "end", nth: 1, outcome: "failure" }]).flat(), end("success")])).toContain("the success of a call from before");
  expect(watch(seeds(), [call, ...Array.from({ length: BREAKER_FAILURES }, (): Step[] => [call, { kind: "end", nth: 1, outcome: "failure" }]).flat(), wait(BREAKER_COOLDOWN_MS - 1), end("failure"), wait(100), call])).toBe("the cool-down was longer than it may be");
});

test("five failures in a row open it, for exactly 60 s from the fifth, and say so", () => {
  const machine = ours();
  const fail = (now: number): void => machine.settle(machine.admit(now)!, "failure", now);
  for (let at = 1; at <= 4; at += 1) fail(at);
  // Consecutive means consecutive (0-8): one answer and the count begins anew.
  machine.settle(machine.admit(5)!, "success", 5);
  for (let at = 6; at <= 9; at += 1) fail(at);
  expect(machine.state()).toBe("closed");
  fail(10);
  expect(viewBreaker(machine.breaker(), 1_010)).toEqual({ state: "open", consecutiveFailures: 5, openedForMs: 1_000, retryInMs: 59_000, cause: "failures", because: "failure" });
  expect(machine.admit(10 + BREAKER_COOLDOWN_MS - 1)).toBeUndefined();
  expect(machine.admit(10 + BREAKER_COOLDOWN_MS)).toBeDefined();
});

test("a stranger opens it at once and for good; a reset lets the next call out, and the old calls' ends are void", () => {
  const machine = ours();
  const before = machine.admit(1)!;
  machine.settle(machine.admit(1)!, "identity", 2);
  expect(viewBreaker(machine.breaker(), 1e9)).toMatchObject({ state: "open", cause: "identity", retryInMs: undefined });
  expect(machine.admit(1e9)).toBeUndefined();
  machine.reset();
  machine.settle(before, "identity", 3);
  expect(machine.state()).toBe("closed");
  expect(machine.admit(4)).toBeDefined();
});
