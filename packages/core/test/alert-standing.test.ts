/** Whether what an alert is about is over, by what is the case: for each rule that can be told, one state that goes on and one that is over. */
import { describe, expect, test } from "vitest";
import { decideOver, instant, type AlertRecord, type AlertSubjects } from "../src/index.ts";

const alert = (rule: string, patch: Partial<AlertRecord> = {}): AlertRecord => ({ rule, lastAt: instant(0), hostId: "h1", deploymentId: "d1", placementId: "p1", lifecycleId: "l1", ...patch }) as AlertRecord;

interface Wish {
  readonly host?: string;
  readonly boot?: string;
  /** When it last answered a probe. */
  readonly answered?: number;
  readonly reached?: string;
  readonly flapping?: boolean;
  readonly deployment?: string;
  readonly deleted?: boolean;
  readonly state?: string;
  readonly generation?: number;
  readonly open?: boolean;
  readonly removed?: boolean;
  readonly row?: string;
  readonly rollout?: string;
}
/** Everything is bad unless the wish says otherwise. */
const subjects = (wish: Wish = {}): AlertSubjects => ({
  host: { host: { status: wish.host ?? "unreachable" }, reachability: { state: wish.reached ?? "unreachable", lastOkAt: wish.answered, flapping: wish.flapping ?? true }, report: wish.boot === undefined ? undefined : { boot: { state: wish.boot } } },
  deployment: { status: wish.deployment ?? "deploying", deletedAt: wish.deleted === true ? 1 : undefined },
  placement: {
    placement: { desired: "running", generation: 2, removedAt: wish.removed === true ? 1 : undefined }, hostStatus: wish.host ?? "active",
    observed: { state: wish.state ?? "failed", generation: wish.generation ?? 2 }, openRow: wish.open === true ? { operation: "deploy", status: "running", phase: "working" } : undefined,
  },
  row: wish.row === undefined ? undefined : { status: wish.row },
  rollout: wish.rollout === undefined ? undefined : { status: wish.rollout },
}) as unknown as AlertSubjects;

const CASES: readonly (readonly [rule: string, goesOn: readonly Wish[], over: readonly Wish[]])[] = [
  ["host_unreachable", [{}], [{ host: "active" }, { host: "suspect" }]],
  ["host_suspect", [{ host: "suspect" }], [{ host: "active" }, { host: "unreachable" }]],
  ["boot_blocked", [{ boot: "blocked" }, { boot: "starting" }], [{ boot: "complete" }, { boot: "degraded" }, {}]],
  ["boot_degraded", [{ boot: "degraded" }, { boot: "waiting" }], [{ boot: "complete" }, { boot: "blocked" }, {}]],
  ["breaker_open", [{}, { answered: 119_999 }], [{ answered: 120_000 }]],
  ["identity_mismatch", [{}, { answered: 1 }], [{ answered: 120_000 }]],
  ["host_network_unreachable", [{}, { reached: "unknown" }], [{ reached: "reachable" }]],
  ["operation_lost", [{ row: "lost" }], [{ row: "running" }, { row: "failed" }, {}]],
  ["operation_needs_decision", [{ row: "lost" }], [{ row: "succeeded" }, {}]],
  ["deployment_failed", [{ deployment: "failed" }, { deployment: "deploying" }, { deployment: "tearing_down" }], [{ deployment: "active" }, { deployment: "degraded" }]],
  ["deployment_degraded", [{ deployment: "degraded" }, { deployment: "deploying" }], [{ deployment: "active" }, { deployment: "failed" }]],
  ...["operation_failed", "crash_loop", "drift"].map((rule): [string, Wish[], Wish[]] => [
    rule, [{}, { state: "running", generation: 1 }, { state: "running", open: true }, { state: "running", host: "unreachable" }], [{ state: "running" , host: "active" }, { deployment: "active" }],
  ]),
  ["rollout_rolling_back", [{ rollout: "rolling_back" }, {}], [{ rollout: "rolled_back" }, { rollout: "running" }]],
  ["rollout_failed", [{ rollout: "failed" }, {}], [{ rollout: "running" }, { rollout: "succeeded" }]],
  ["rollout_paused", [{ rollout: "paused" }, {}], [{ rollout: "running" }]],
  ["host_flapping", [{}, { host: "active" }], [{ flapping: false }, { host: "decommissioned" }]],
];

describe.each(CASES)("%s", (rule, goesOn, over) => {
  test.each(goesOn.map((wish) => [JSON.stringify(wish), wish] as const))("goes on while %s", (_words, wish) => {
    expect(decideOver(alert(rule), subjects(wish))).toBeUndefined();
  });
  test.each(over.map((wish) => [JSON.stringify(wish), wish] as const))("is over when %s", (_words, wish) => {
    expect(decideOver(alert(rule), subjects(wish))).toMatch(/./);
  });
});

test("whatever it is about: with its subject it ends; of a rule of another Skep nothing else can be told", () => {
  for (const rule of ["breaker_open", "of_another_skep"]) {
    expect(decideOver(alert(rule), subjects())).toBeUndefined();
    expect(decideOver(alert(rule), subjects({ host: "decommissioned" }))).toBe("its host was decommissioned");
    expect(decideOver(alert(rule), { ...subjects(), host: undefined })).toBe("its host was decommissioned");
    expect(decideOver(alert(rule), subjects({ deleted: true }))).toBe("its deployment was torn down");
    expect(decideOver(alert(rule), subjects({ removed: true }))).toBe("its placement is gone");
    expect(decideOver(alert(rule, { hostId: undefined, deploymentId: undefined, placementId: undefined }), subjects({ host: "decommissioned", deleted: true, removed: true }))).toBeUndefined();
  }
});
