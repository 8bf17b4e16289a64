/** The boot sequence's decisions by themselves. */
import { describe, expect, test } from "vitest";
import { bootAlerts, bootReportOf, decideBootEvent, decideStage, nextStage, seededRng, type BootReport, type BootStage, type MemberOutcome, type StageResult } from "../src/index.ts";

const well = (name: string): MemberOutcome => ({ name, healthy: true });
const ill = (name: string, patch: Partial<MemberOutcome> = {}): MemberOutcome => ({ name, healthy: false, error: "down", ...patch });

describe("a round's end", () => {
  const rng = seededRng(3);
  test("healthy when all are, whatever it is; no member at all is healthy", () => {
    for (const foundation of [true, false]) for (const members of [[], [well("a")]]) expect(decideStage({ foundation }, members, 0, rng)).toEqual({ kind: "healthy" });
  });
  test("a foundation blocks, everything else goes on, and both name the ill", () => {
    expect(decideStage({ foundation: true }, [well("a"), ill("b")], 0, rng)).toMatchObject({ kind: "blocked", because: "b: down" });
    expect(decideStage({ foundation: false }, [ill("a"), ill("b", { error: undefined })], 0, rng)).toEqual({ kind: "proceeded_degraded", because: "a: down; b: not healthy" });
  });
  test("a foundation does not hold back the way out: only what the master must mend is left", () => {
    expect(decideStage({ foundation: true }, [ill("a", { awaitsMaster: true })], 0, rng).kind).toBe("proceeded_degraded");
    expect(decideStage({ foundation: true }, [ill("a", { awaitsMaster: true }), ill("b")], 0, rng).kind).toBe("blocked");
  });
  test("the pause doubles from ten seconds to sixty, with jitter", () => {
    const pauses = (round: number): number[] => Array.from({ length: 50 }, () => {
      const verdict = decideStage({ foundation: true }, [ill("a")], round, rng);
      return verdict.kind === "blocked" ? verdict.retryInMs : Number.NaN;
    });
    for (const [round, most] of [[0, 10_000], [1, 20_000], [2, 40_000], [3, 60_000], [1_000, 60_000]] as const) {
      const seen = pauses(round);
      expect(Math.min(...seen)).toBeGreaterThanOrEqual(0.8 * most);
      expect(Math.max(...seen)).toBeLessThanOrEqual(most);
      expect(new Set(seen).size).toBeGreaterThan(10);
    }
  });
});

test("alerts: one at once, then one every ten minutes", () => {
  expect([undefined, 0, 599_999, 600_000, 1_300_000].map((ms) => bootAlerts(ms))).toEqual([0, 1, 1, 2, 3]);
});

test("the next stage is the first not gone through, by name: a configuration may change in between", () => {
  const stages = ["a", "b", "c"].map((name): BootStage => ({ name, members: [], timeoutMs: 1, health: { kind: "own" }, foundation: false }));
  expect(nextStage(stages, [])?.name).toBe("a");
  expect(nextStage(stages, [{ name: "b" }, { name: "a" }])?.name).toBe("c");
  expect(nextStage(stages, [{ name: "a" }, { name: "b" }, { name: "c" }])).toBeUndefined();
});

test("a report of many names the ill first, and fits the wire", () => {
  const members = [...Array.from({ length: 150 }, (_, index) => well(`w${index}`)), ill("sick", { error: "x".repeat(1_000) })];
  const results: StageResult[] = [{ name: "one", outcome: "proceeded_degraded", members, rounds: 1, ms: 1 }];
  const report = bootReportOf({ current: undefined, results, alerts: 0 });
  expect(report).toMatchObject({ stage: null, state: "degraded", alerts: 0 });
  expect(report.members).toHaveLength(100);
  expect(report.members[0]).toEqual({ name: "sick", healthy: false, error: "x".repeat(500) });
});

describe("news", () => {
  const report = (patch: Partial<BootReport>): BootReport => ({ stage: "base", state: "blocked", members: [{ name: "dns", healthy: false, error: "down" }, { name: "ca", healthy: true }], alerts: 1, ...patch });
  test("the same again is none; another state, another stage and another alert are", () => {
    expect(decideBootEvent(undefined, report({}))).toEqual({ kind: "boot.blocked", message: "its boot waits at stage base, a foundation: dns (down)" });
    expect(decideBootEvent(report({}), report({ members: [] }))).toBeUndefined();
    expect(decideBootEvent(report({}), report({ alerts: 2 }))?.kind).toBe("boot.blocked");
    expect(decideBootEvent(report({}), report({ stage: "next" }))?.kind).toBe("boot.blocked");
    const degraded = report({ stage: null, state: "degraded" });
    expect(decideBootEvent(report({}), degraded)).toEqual({ kind: "boot.degraded", message: "its boot went on without dns (down)" });
    expect(decideBootEvent(degraded, degraded)).toBeUndefined();
    const complete = report({ stage: null, state: "complete", members: [] });
    expect(decideBootEvent(degraded, complete)?.kind).toBe("boot.complete");
    expect(decideBootEvent(complete, complete)).toBeUndefined();
    for (const state of ["waiting", "starting"] as const) expect(decideBootEvent(complete, report({ state }))).toBeUndefined();
    expect(decideBootEvent(complete, undefined)).toBeUndefined();
  });
});
