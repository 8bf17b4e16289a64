/** Drift: what differs, in words; whether it is repaired; and that it is told of once. */
import { describe, expect, test } from "vitest";
import {
  RECONCILE_MAX_ATTEMPTS, assessDrift, decideNotice, decideReconcile, differenceWords, differencesOf, explainLifecycle, explainPlacement, instant, progressWords,
  type LifecycleRow, type ObservedRecord, type PlacementRecord, type PlacementView, type ReconcileCase, type ReportedComponent,
} from "../src/index.ts";
import { aRow } from "./rows.ts";

const NOW = instant(10_000);
const component = (name: string, patch: Partial<ReportedComponent> = {}): ReportedComponent => ({ name, state: "running", restarts: 0, ...patch });
const observed = (patch: Partial<ObservedRecord> = {}): ObservedRecord =>
  ({ placementId: "p", hostId: "h", state: "running", generation: 2, epoch: 1, specHash: "", components: [component("web"), component("db")], observedAt: instant(9_000), changedAt: instant(4_000), ...patch }) as ObservedRecord;
const placement = (patch: Partial<PlacementRecord> = {}): PlacementRecord =>
  ({ id: "p", deploymentId: "d", deployment: "web", hostId: "h", desired: "running", epoch: 1, generation: 2, appliedGeneration: 2, reconcileAttempts: 0, reconcileNotBefore: undefined, createdAt: instant(0), removedAt: undefined, version: 1, ...patch }) as PlacementRecord;
const changed = observed({ state: "degraded", components: [component("web", { drift: ["its memory limit is 64 MiB, not 1 GiB", "it is attached to network other"] }), component("db")] });
const item = (patch: Partial<ReconcileCase> = {}, mode: "auto" | "report" = "auto"): ReconcileCase => ({
  placement: placement(), deployment: { reconcile: mode } as ReconcileCase["deployment"], hostName: "web-01", hostStatus: "active", observed: changed,
  lastRow: aRow({ status: "succeeded", completedAt: instant(1_000) }), rollout: undefined, ...patch,
});

describe("what differs", () => {
  test("components changed behind our back, dead, or gone, each in its own words", () => {
    expect(differencesOf(placement(), changed)?.differences).toEqual(["web: its memory limit is 64 MiB, not 1 GiB", "web: it is attached to network other"]);
    expect(differencesOf(placement(), observed({ state: "degraded", components: [component("web"), component("db", { state: "failed", error: "it is not on this host any more" })] }))).toEqual({ operation: "deploy", differences: ["db is failed: it is not on this host any more"] });
    expect(differencesOf(placement(), observed({ state: "failed", components: [component("web", { state: "failed", error: "exit 1" })] }))?.differences).toEqual(["it should be running and is failed", "web is failed: exit 1"]);
    expect(differencesOf(placement({ generation: 3 }), observed())?.differences).toEqual(["generation 2 runs, 3 is wanted"]);
    expect(differencesOf(placement({ desired: "stopped" }), observed())?.differences).toEqual(["it should be stopped and is running"]);
    expect(differencesOf(placement({ desired: "absent" }), observed())).toEqual({ operation: "teardown", differences: ["it should be gone and is running"] });
  });

  test("a restart by policy, a failing probe, a finished migration and a host that cannot look are no differences", () => {
    for (const components of [[component("web", { restarts: 9 })], [component("web", { state: "backoff" })], [component("web", { state: "unhealthy" })], [component("web", { state: "starting" })], [component("web"), component("migrate", { state: "exited" })]]) {
      expect(differencesOf(placement(), observed({ state: "degraded", components }))).toBeUndefined();
      expect(differencesOf(placement(), observed({ components }))).toBeUndefined();
    }
    for (const desired of ["running", "stopped", "absent"] as const) {
      expect(differencesOf(placement({ desired }), observed({ state: "unknown", components: [component("web", { drift: ["x"] })] }))).toBeUndefined();
      expect(decideReconcile(item({ placement: placement({ desired }), observed: observed({ state: "unknown" }) }), NOW)).toEqual({ kind: "leave", because: "its host cannot look at it" });
    }
  });

  test("a long list is cut in a line and whole in itself", () => {
    const many = Array.from({ length: 8 }, (_, index) => `change ${index}`);
    const difference = differencesOf(placement(), observed({ state: "degraded", components: [component("web", { drift: many })] }))!;
    expect(difference.differences).toHaveLength(8);
    expect(differenceWords(difference)).toMatch(/^web: change 0; .*; and 3 more$/);
  });
});

describe("what is done about it", () => {
  test("auto waits, then repairs by a deploy that says why", () => {
    expect(decideReconcile(item(), NOW)).toMatchObject({ kind: "wait", because: differenceWords(differencesOf(placement(), changed)!) });
    expect(decideReconcile(item({ placement: placement({ reconcileNotBefore: instant(9_000) }) }), NOW)).toMatchObject({ kind: "retry", operation: "deploy", because: expect.stringContaining("64 MiB") as string });
  });

  test("the assessment says the same: repair and when, reported only, given up", () => {
    expect(assessDrift(item(), NOW)).toMatchObject({ action: "repair", repairAt: 20_000, because: `try 1 of ${RECONCILE_MAX_ATTEMPTS}` });
    expect(assessDrift(item({ placement: placement({ reconcileAttempts: 2, reconcileNotBefore: instant(12_000) }) }), NOW)).toMatchObject({ action: "repair", repairAt: 12_000, because: `try 3 of ${RECONCILE_MAX_ATTEMPTS}` });
    expect(assessDrift(item({ placement: placement({ reconcileNotBefore: instant(9_000) }) }), NOW)).toMatchObject({ action: "repair", repairAt: NOW });
    expect(assessDrift(item({}, "report"), NOW)).toMatchObject({ action: "report_only", repairAt: undefined, because: "the deployment only reports drift" });
    expect(assessDrift(item({ lastRow: aRow({ status: "cancelled", completedAt: instant(1) }) }), NOW)).toMatchObject({ action: "report_only", because: expect.stringContaining("cancelled") as string });
    expect(assessDrift(item({ hostStatus: "unreachable" }), NOW)).toMatchObject({ action: "report_only", because: expect.stringContaining("unreachable") as string });
    expect(assessDrift(item({ placement: placement({ reconcileAttempts: 6, reconcileNotBefore: instant(1) }) }), NOW)).toMatchObject({ action: "given_up" });
    expect(assessDrift(item({ observed: observed() }), NOW)).toBeUndefined();
    // Seen before the last operation ended: that says nothing.
    expect(assessDrift(item({ lastRow: aRow({ status: "succeeded", completedAt: instant(9_500) }) }), NOW)).toBeUndefined();
  });
});

describe("telling of it", () => {
  test("once when it appears and nobody repairs it, once when it is over; never of what is repaired", () => {
    expect(decideNotice(item({}, "report"))).toEqual({ kind: "differs", because: differenceWords(differencesOf(placement(), changed)!) });
    const told = placement({ reconcileNotBefore: instant(9_000) });
    expect(decideNotice(item({ placement: told }, "report"))).toBeUndefined();
    expect(decideNotice(item({ placement: told, observed: observed() }, "report"))).toEqual({ kind: "as_desired" });
    expect(decideNotice(item({ observed: observed() }, "report"))).toBeUndefined();
    expect(decideNotice(item())).toBeUndefined();
    expect(decideNotice(item({ lastRow: aRow({ status: "cancelled", completedAt: instant(1) }) }))).toMatchObject({ kind: "differs" });
  });

  test("only what can be judged: no open operation, an active host that can look, a look since the last end", () => {
    expect(decideNotice(item({ hostStatus: "suspect" }, "report"))).toBeUndefined();
    expect(decideNotice(item({ lastRow: aRow({ status: "running" }) }, "report"))).toBeUndefined();
    expect(decideNotice(item({ lastRow: aRow({ status: "succeeded", completedAt: instant(9_500) }) }, "report"))).toBeUndefined();
    expect(decideNotice(item({ placement: placement({ reconcileNotBefore: instant(9_000) }), observed: observed({ state: "unknown" }) }, "report"))).toBeUndefined();
  });
});

test("explain uses the same words, and says what happens next", () => {
  const view = (patch: Partial<PlacementView> = {}) => ({ placement: placement(), hostName: "web-01", hostStatus: "active", observed: changed, openRow: undefined, ...patch }) as PlacementView;
  const explained = (reconcile: "auto" | "report", patch: Partial<PlacementView> = {}) => explainPlacement({ view: view(patch), lastRow: aRow({ status: "succeeded", completedAt: instant(1_000) }), reconcile, rollout: undefined, now: NOW }).reasons;
  const words = differenceWords(differencesOf(placement(), changed)!);
  expect(explained("auto").find((reason) => reason.code === "drift")).toMatchObject({ message: expect.stringContaining(words) as string, next: expect.stringContaining("repaired in 10.0 s") as string, since: 4_000 });
  expect(explained("report").find((reason) => reason.code === "drift")?.next).toContain("reported only");
  expect(explained("auto", { placement: placement({ reconcileAttempts: 6 }) }).find((reason) => reason.code === "drift")?.next).toContain("Given up");
  expect(explained("auto", { observed: observed() }).map((reason) => reason.code)).toEqual(["as_desired"]);
});

test("a running row says what it is at and when it last moved; one that nobody spoke of says nothing of it", () => {
  const at = (patch: Partial<LifecycleRow>) => progressWords(aRow({ status: "running", ...patch }), NOW);
  expect(at({ jobPhase: "prepare", progress: 4, progressAt: instant(6_000) })).toBe("pulling and preparing, last progress 4 s ago");
  expect(at({ jobPhase: "waiting for the docker engine", progress: 4, progressAt: instant(6_000) })).toBe("waiting for the docker engine, last progress 4 s ago");
  expect(at({})).toBeUndefined();
  expect(progressWords(aRow({ status: "succeeded", jobPhase: "stop", progressAt: NOW }), NOW)).toBeUndefined();
  const explained = explainLifecycle({ row: aRow({ status: "running", runningAt: instant(1), jobPhase: "healthy", progress: 1, progressAt: instant(6_000) }), hostName: "web-01", hostStatus: "active", now: NOW });
  expect(explained.reasons[0]?.message).toContain("waiting for health, last progress 4 s ago");
});
