/** Reachability: what each probe means, and over any sequence of them the promises of the whole against a reference that keeps all history. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  FLAP_TRANSITIONS, FLAP_WINDOW_PERIODS, PROBE_THRESHOLDS, REACHABILITY_STATES, addMs, decideReachability, instant,
  type Instant, type ProbeOutcome, type Reachability, type ReachabilityNews, type ReachabilityRules, type ReachabilityState,
} from "../src/index.ts";

const PERIOD_MS = 30_000;
const NOW = instant(10_000_000);
const RULES: ReachabilityRules = { ...PROBE_THRESHOLDS, periodMs: PERIOD_MS, warmingUp: false };
const record = (patch: Partial<Reachability> = {}): Reachability => ({
  hostId: "h" as Reachability["hostId"], state: "reachable", consecutiveFailures: 0, consecutiveSuccesses: 1, changedAt: undefined, lastProbeAt: undefined, lastOkAt: undefined, lastError: undefined,
  transitions: [], flapping: false, dueAt: NOW, version: 4, ...patch,
});
const OK: ProbeOutcome = { kind: "ok" };
const FAILED: ProbeOutcome = { kind: "failed", error: "no answer within 5000 ms" };
const withheld = (patch: Partial<Extract<ProbeOutcome, { kind: "withheld" }>> = {}): ProbeOutcome => ({ kind: "withheld", error: "the circuit is open", consecutiveFailures: 5, failedAt: addMs(NOW, -1_000), stranger: false, ...patch });
const decide = (was: Partial<Reachability>, outcome: ProbeOutcome, rules: Partial<ReachabilityRules> = {}) => {
  const { next, news } = decideReachability(record(was), outcome, NOW, { ...RULES, ...rules });
  return { next, state: next.state, kinds: news.map((one) => one.kind), news };
};

test.each<[string, Partial<Reachability>, ProbeOutcome, Partial<ReachabilityRules>, ReachabilityState, string[]]>([
  ["the first answer of a new host is no news", { state: "unknown" }, OK, {}, "reachable", []],
  ["one failure says little", {}, FAILED, {}, "reachable", []],
  ["two in a row neither", { consecutiveFailures: 1 }, FAILED, {}, "reachable", []],
  ["three in a row are told", { consecutiveFailures: 2 }, FAILED, {}, "unreachable", ["host.network_unreachable"]],
  ["of a host that never answered as well", { state: "unknown", consecutiveFailures: 2 }, FAILED, {}, "unreachable", ["host.network_unreachable"]],
  ["the fourth is no news any more", { state: "unreachable", consecutiveFailures: 3 }, FAILED, {}, "unreachable", []],
  ["one answer brings it back", { state: "unreachable", consecutiveFailures: 9 }, OK, {}, "reachable", ["host.network_reachable"]],
  ["unless more are asked for", { state: "unreachable", consecutiveSuccesses: 0 }, OK, { successes: 2 }, "unreachable", []],
  ["and with the second", { state: "unreachable", consecutiveSuccesses: 1 }, OK, { successes: 2 }, "reachable", ["host.network_reachable"]],
  ["a threshold of one", {}, FAILED, { failures: 1 }, "unreachable", ["host.network_unreachable"]],
  ["warming up: failures are counted and nothing follows", { consecutiveFailures: 8 }, FAILED, { warmingUp: true }, "reachable", []],
  ["warming up: a new host may be called reachable", { state: "unknown" }, OK, { warmingUp: true }, "reachable", []],
  ["warming up: a return waits as well, so that it is told", { state: "unreachable" }, OK, { warmingUp: true }, "unreachable", []],
  ["the first probe after the warm-up decides", { consecutiveFailures: 9 }, FAILED, {}, "unreachable", ["host.network_unreachable"]],
  ["withheld: real failures in a row are evidence", {}, withheld({ consecutiveFailures: 3 }), {}, "unreachable", ["host.network_unreachable"]],
  ["withheld: fewer are none", {}, withheld({ consecutiveFailures: 2 }), {}, "reachable", []],
  ["withheld: and none without a time", {}, withheld({ failedAt: undefined }), {}, "reachable", []],
  ["withheld: somebody's later answer outweighs them", { lastOkAt: NOW }, withheld(), {}, "reachable", []],
  ["withheld: an earlier answer does not", { lastOkAt: addMs(NOW, -2_000) }, withheld(), {}, "unreachable", ["host.network_unreachable"]],
  ["withheld: a stranger at its address is enough", {}, withheld({ stranger: true, consecutiveFailures: 1 }), {}, "unreachable", ["host.network_unreachable"]],
  ["withheld: told once", { state: "unreachable" }, withheld(), {}, "unreachable", []],
  ["withheld: not during the warm-up", {}, withheld(), { warmingUp: true }, "reachable", []],
])("%s", (_name, was, outcome, rules, state, kinds) => {
  expect(decide(was, outcome, rules)).toMatchObject({ state, kinds });
});

test("a record says when, how often and why", () => {
  expect(decide({ consecutiveFailures: 2, consecutiveSuccesses: 0 }, FAILED).next).toMatchObject({ consecutiveFailures: 3, consecutiveSuccesses: 0, changedAt: NOW, lastProbeAt: NOW, lastError: "no answer within 5000 ms", transitions: [NOW] });
  expect(decide({ state: "unreachable", consecutiveFailures: 3, lastError: "x" }, OK).next).toMatchObject({ consecutiveFailures: 0, consecutiveSuccesses: 2, changedAt: NOW, lastOkAt: NOW, lastError: undefined });
});

test("a withheld probe that changes nothing is the very same record; one that does names the calls and counts nothing", () => {
  const was = record({ consecutiveFailures: 1, lastError: "x" });
  expect(decideReachability(was, withheld({ consecutiveFailures: 1 }), NOW, RULES).next).toBe(was);
  const { next } = decideReachability(was, withheld(), NOW, RULES);
  expect(next).toMatchObject({ state: "unreachable", consecutiveFailures: 1, lastProbeAt: undefined, lastError: "not asked: 5 calls of a master in a row failed: the circuit is open" });
});

test("what alarms says what to do next", () => {
  expect(decide({ consecutiveFailures: 2 }, FAILED).news[0]!.says).toContain("check the way from the master to its agent's port");
  expect(decide({ state: "unreachable", transitions: [NOW, NOW] }, OK).news[1]!.says).toContain("look for a link");
});

describe("flapping", () => {
  const ago = (intervals: number): Instant => addMs(NOW, -intervals * PERIOD_MS);
  test("the third change within the window is told, one that is just out of it does not count", () => {
    expect(decide({ state: "unreachable", transitions: [ago(19), ago(2)] }, OK)).toMatchObject({ kinds: ["host.network_reachable", "host.flapping"], next: { flapping: true } });
    expect(decide({ state: "unreachable", transitions: [ago(20), ago(2)] }, OK)).toMatchObject({ kinds: ["host.network_reachable"], next: { flapping: false, transitions: [ago(2), NOW] } });
  });
  test("it ends by itself when the window has fewer, whatever the probe brings", () => {
    for (const outcome of [OK, withheld({ consecutiveFailures: 0 })]) {
      expect(decide({ flapping: true, transitions: [ago(20), ago(3), ago(2)] }, outcome)).toMatchObject({ kinds: ["host.settled"], next: { flapping: false, transitions: [ago(3), ago(2)] } });
    }
    expect(decide({ flapping: true, transitions: [ago(20), ago(3), ago(2)] }, OK, { warmingUp: true })).toMatchObject({ kinds: [], next: { flapping: true } });
  });
  test("leaving `unknown` is no change of anything", () => {
    expect(decide({ state: "unknown" }, OK).next.transitions).toEqual([]);
    expect(decide({ state: "unknown", consecutiveFailures: 2 }, FAILED).next.transitions).toEqual([]);
  });
});

/** Keeps everything that ever happened and counts it anew each time. */
class Reference {
  state: ReachabilityState = "unknown";
  readonly answers: boolean[] = [];
  readonly turns: number[] = [];
  readonly told: string[] = [];
  flapping = false;

  see(step: Step, now: number, failures: number, successes: number): void {
    if (step.kind !== "withheld") this.answers.push(step.kind === "ok");
    const inARow = (ok: boolean): number => this.answers.length - 1 - this.answers.lastIndexOf(!ok);
    let wanted = this.state;
    if (step.kind === "ok" && inARow(true) >= successes) wanted = "reachable";
    if (step.kind === "failed" && inARow(false) >= failures) wanted = "unreachable";
    if (step.kind === "withheld" && step.proven && step.fresh) wanted = "unreachable";
    if (step.warmingUp) {
      if (this.state === "unknown" && wanted === "reachable") this.state = wanted;
      return;
    }
    if (wanted !== this.state) {
      if (this.state !== "unknown") this.turns.push(now);
      if (this.state !== "unknown" || wanted === "unreachable") this.told.push(`host.network_${wanted}`);
      this.state = wanted;
    }
    const flapping = this.turns.filter((at) => at > now - FLAP_WINDOW_PERIODS * PERIOD_MS).length >= FLAP_TRANSITIONS;
    if (flapping !== this.flapping) this.told.push(flapping ? "host.flapping" : "host.settled");
    this.flapping = flapping;
  }
}

interface Step {
  readonly kind: ProbeOutcome["kind"];
  readonly warmingUp: boolean;
  readonly afterMs: number;
  readonly proven: boolean;
  readonly fresh: boolean;
}

test("any sequence of probes: the state of the reference, told by turns, each once, never while warming up", () => {
  const step = fc.record({
    kind: fc.constantFrom("ok", "ok", "failed", "failed", "failed", "withheld"), warmingUp: fc.integer({ min: 0, max: 9 }).map((n) => n === 0), afterMs: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 2 * PERIOD_MS }) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 15 * PERIOD_MS }) }), proven: fc.boolean(), fresh: fc.boolean(),
  }) as fc.Arbitrary<Step>;
  const seen = new Set<string>();
  fc.assert(fc.property(fc.array(step, { maxLength: 120, size: "max" }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 }), (steps, failures, successes) => {
    const reference = new Reference();
    let now = NOW;
    let is = record({ state: "unknown", consecutiveSuccesses: 0 });
    const told: ReachabilityNews[] = [];
    for (const one of steps) {
      now = addMs(now, one.afterMs);
      // `fresh`: nobody has had an answer since the calls failed.
      const failedAt = one.fresh ? now : addMs(is.lastOkAt ?? now, -1);
      const fresh = one.fresh || is.lastOkAt === undefined;
      const outcome: ProbeOutcome = one.kind === "withheld" ? withheld({ consecutiveFailures: one.proven ? failures : failures - 1, failedAt }) : one.kind === "ok" ? OK : FAILED;
      reference.see({ ...one, fresh }, now, failures, successes);
      const { next, news } = decideReachability(is, outcome, now, { ...RULES, failures, successes, warmingUp: one.warmingUp });
      if (one.warmingUp) expect(news).toEqual([]);
      expect([next.state, next.flapping]).toEqual([reference.state, reference.flapping]);
      expect([next.dueAt, next.version, next.hostId]).toEqual([is.dueAt, is.version, is.hostId]);
      told.push(...news);
      is = next;
    }
    const kinds = told.map((one) => one.kind as string);
    expect(kinds).toEqual(reference.told);
    for (const pair of [["host.network_unreachable", "host.network_reachable"], ["host.flapping", "host.settled"]]) {
      kinds.filter((kind) => pair.includes(kind)).forEach((kind, index) => expect(kind).toBe(pair[index % 2]));
    }
    for (const kind of [...kinds, is.state]) seen.add(kind);
  }), { numRuns: 2_000 });
  // The control: everything there is to see was seen.
  expect([...seen].sort()).toEqual(["host.flapping", "host.network_reachable", "host.network_unreachable", "host.settled", ...REACHABILITY_STATES].sort());
});
