import { expect, test } from "vitest";
import { CLOSED_BREAKER, viewBreaker } from "../breaker/breaker.ts";
import { FAILURE_CODES, LIFECYCLE_STATUSES, isTerminal } from "../lifecycle/states.ts";
import type { LifecycleRow } from "../lifecycle/row.ts";
import { ROLLOUT_STATUSES, type RolloutRecord } from "../rollout/record.ts";
import type { PlacementView } from "../ports/store.ts";
import type { DeploymentRecord } from "../ports/records.ts";
import type { HealthFacts } from "../liveness/decide-health.ts";
import type { DrainDecision } from "../moves/decide-drain.ts";
import type { DrainRecord, MoveRecord } from "../moves/record.ts";
import { instant, timingsFor } from "../time.ts";
import { explainDeployment } from "./explain-deployment.ts";
import { explainHost } from "./explain-host.ts";
import { explainLifecycle } from "./explain-lifecycle.ts";
import { explainPlacement } from "./explain-placement.ts";

const T = instant(1_800_000_000_000);
const row = (patch: Partial<LifecycleRow> = {}): LifecycleRow =>
  ({
    id: "j1", placementId: "p1", deploymentId: "d1", deployment: "web", hostId: "h1", operation: "deploy", status: "pending", phase: "queued", generation: 2,
    epoch: 1, timeoutS: 600, dispatchDeadline: T, dispatchAttempts: 0, nextDispatchAt: T, because: "asked", steps: [], createdAt: T, updatedAt: T, version: 1, ...patch,
  }) as unknown as LifecycleRow;
const view = (patch: Partial<PlacementView> = {}, placement: Partial<PlacementView["placement"]> = {}): PlacementView =>
  ({
    placement: { id: "p1", deploymentId: "d1", deployment: "web", hostId: "h1", desired: "running", epoch: 1, generation: 2, appliedGeneration: 2, reconcileAttempts: 0, createdAt: T, version: 1, ...placement },
    hostName: "web-01", hostStatus: "active",
    observed: { placementId: "p1", hostId: "h1", state: "running", generation: 2, epoch: 1, specHash: "x", components: [], observedAt: T },
    openRow: undefined, ...patch,
  }) as unknown as PlacementView;
const place = (patch: Partial<PlacementView> = {}, placement: Partial<PlacementView["placement"]> = {}, lastRow?: LifecycleRow) =>
  explainPlacement({ view: view(patch, placement), lastRow, reconcile: "auto", rollout: undefined, now: T });

test("every status of a row has a reason and a next step", () => {
  for (const status of LIFECYCLE_STATUSES) {
    const explained = explainLifecycle({ row: row({ status, ...(isTerminal(status) ? { completedAt: T } : {}), ...(status === "failed" ? { failureCode: "agent_error" } : {}) }), hostName: "web-01", hostStatus: "active", now: T });
    expect(explained.summary).toContain(status);
    expect(explained.reasons.length).toBeGreaterThan(0);
    for (const reason of explained.reasons) expect(reason.next).not.toBe("");
  }
});

test("every failure code is told apart by its own words", () => {
  const texts = FAILURE_CODES.map((failureCode) => explainLifecycle({ row: row({ status: "failed", failureCode, completedAt: T }), hostName: "h", hostStatus: "active", now: T }).reasons[0]!);
  expect(new Set(texts.map((reason) => reason.message)).size).toBe(FAILURE_CODES.length);
  expect(texts.map((reason) => reason.code)).toEqual([...FAILURE_CODES]);
});

test("a lost row is never called failed", () => {
  const { summary, reasons } = explainLifecycle({ row: row({ status: "lost" }), hostName: "web-01", hostStatus: "unreachable", now: T });
  expect(summary).toContain("lost");
  expect(reasons.map((reason) => reason.code)).toEqual(["outcome_unknown", "host_unreachable"]);
  expect(reasons[0]!.message).toMatch(/may have succeeded, failed, or still be running/);
});

test("a row that was sent is not promised to be unstarted; one that was not sent is", () => {
  expect(explainLifecycle({ row: row({ sentAt: T, phase: "sent" }), hostName: "h", hostStatus: "active", now: T }).reasons[0]!.message).toMatch(/may already have started/);
  expect(explainLifecycle({ row: row(), hostName: "h", hostStatus: "active", now: T }).reasons[0]!.code).toBe("not_sent");
});

test("a placement as desired says so, and one that is not never does", () => {
  expect(place().reasons.map((reason) => reason.code)).toEqual(["as_desired"]);
  expect(place({ hostStatus: "unreachable" }).reasons.map((reason) => reason.code)).not.toContain("as_desired");
  expect(place({ observed: undefined }).reasons.map((reason) => reason.code)).toContain("not_observed");
  expect(place({}, { generation: 3 }).reasons.map((reason) => reason.code)).toContain("generation_drift");
});

test("a placement that is not as desired names the failed row, the component and what the reconciler does about it", () => {
  const failed = { observed: { ...view().observed!, state: "failed" as const, components: [{ name: "app", state: "failed" as const, restarts: 3, error: "exit 1" }] } };
  const last = row({ status: "failed", failureCode: "agent_error", completedAt: T, error: "boom" });
  expect(place(failed, { reconcileAttempts: 6 }, last).reasons.map((reason) => reason.code)).toEqual(["agent_error", "component_failed", "crash_loop"]);
  expect(place(failed, { reconcileAttempts: 1, reconcileNotBefore: instant(T + 5_000) }, undefined).reasons.map((reason) => reason.code)).toContain("retry_scheduled");
});

test("a deployment explains the placements that are not as desired, and counts the rest", () => {
  const deployment = { id: "d1", name: "web", generation: 2, desired: "running", reconcile: "auto", placement: {}, status: "degraded", createdAt: T, updatedAt: T, version: 1 } as unknown as DeploymentRecord;
  const bad = Array.from({ length: 12 }, (_, index) => view({ hostName: `h${index}`, hostStatus: "unreachable" }));
  const explained = explainDeployment({ deployment, placements: [view(), ...bad], rows: [], rollout: undefined, waitingFor: undefined, moves: [], misplaced: [], now: T });
  expect(explained.summary).toContain("1 of 13");
  expect(explained.reasons.at(-1)!.code).toBe("more");
  expect(explainDeployment({ deployment, placements: [view()], rows: [], rollout: undefined, waitingFor: undefined, moves: [], misplaced: [], now: T }).reasons.map((reason) => reason.code)).toEqual(["as_desired"]);
});

test("a rollout that matters is said first: where it stands, whom it refused in whose words, what to do", () => {
  const deployment = { id: "d1", name: "web", generation: 2, desired: "running", reconcile: "auto", placement: {}, status: "degraded", createdAt: T, updatedAt: T, version: 1 } as unknown as DeploymentRecord;
  const rollout = (status: RolloutRecord["status"]): RolloutRecord =>
    ({ status, generation: 2, rollbackGeneration: undefined, baseGeneration: 1, wave: 1, because: "wave 1 did not pass: web-01: probe: 503", members: [{ placementId: "p1", hostId: "h1", host: "web-01", state: "refused", wave: 1, rowId: "j1", because: "web-01: probe: 503" }], progressAt: T, updatedAt: T, completedAt: T }) as unknown as RolloutRecord;
  for (const status of ROLLOUT_STATUSES) {
    const { reasons } = explainDeployment({ deployment, placements: [view()], rows: [], rollout: rollout(status), waitingFor: "web-01: it is deploying", moves: [], misplaced: [], now: T });
    for (const reason of reasons) expect(reason.next).not.toBe("");
    if (status !== "succeeded" && status !== "superseded") expect(reasons[0]!.code).toBe(`rollout_${status}`);
    if (status === "failed" || status === "rolling_back" || status === "rolled_back") expect(reasons[1]).toMatchObject({ code: "gate_refused", message: "web-01: probe: 503.", next: "skep explain lifecycle j1" });
    if (status === "running") expect(reasons[0]!.message).toContain("it is deploying");
  }
  const overtaken = explainDeployment({ deployment: { ...deployment, generation: 7 }, placements: [view()], rows: [], rollout: rollout("failed"), waitingFor: undefined, moves: [], misplaced: [], now: T });
  expect(overtaken.reasons.map((reason) => reason.code)).toEqual(["as_desired"]);
  // And the placement itself: nobody tries again what the gate refused.
  expect(explainPlacement({ view: view({}, { appliedGeneration: 1 }), lastRow: undefined, reconcile: "auto", rollout: rollout("failed"), now: T }).reasons[0]).toMatchObject({ code: "gate_refused", message: expect.stringContaining("probe: 503") as string });
});

test("a host that is being drained says how far it is and what holds it up; the advice to uncordon it, which would be refused, is left out", () => {
  const host = { name: "web-01", status: "active", schedulable: false, statusBecause: undefined, lastProbe: undefined } as unknown as HealthFacts["host"];
  const facts: HealthFacts = { host, liveness: { lastHeartbeatAt: T, phase: "ready" }, report: undefined, reachability: undefined, circuit: viewBreaker(CLOSED_BREAKER, 0), cert: undefined, placements: { total: 1, running: 1, degraded: 0, failed: 0, unknown: 0 }, listeningSince: T, now: T, timings: timingsFor(30_000) };
  const record = (status: DrainRecord["status"]): DrainRecord => ({ id: "dr" as DrainRecord["id"], hostId: "h1" as DrainRecord["hostId"], host: "web-01", status, stopPinned: false, because: "its own report", createdAt: T, updatedAt: T, completedAt: undefined, version: 1 });
  const item = { placementId: "p1", deploymentId: "d1", deployment: "db", state: "blocked", because: "pinned", next: "skep host drain web-01 --stop-pinned", to: undefined, moveId: undefined } as unknown as DrainDecision["items"][number];
  expect(explainHost(facts).reasons.map((reason) => reason.code)).toEqual(["cordoned"]);
  const explained = explainHost(facts, { record: record("blocked"), decision: { status: "blocked", because: "blocked: db: pinned", next: undefined, items: [item] } });
  expect(explained.reasons).toMatchObject([{ code: "draining", next: expect.stringContaining("skep host drain web-01 --cancel") as string }, { code: "drain_blocked", message: "db holds the drain up: pinned.", next: "skep host drain web-01 --stop-pinned" }]);
  expect(explainHost(facts, { record: record("drained"), decision: undefined }).reasons).toMatchObject([{ code: "drained", next: expect.stringContaining("skep host uncordon web-01") as string }]);
  expect(explainHost({ ...facts, host: { ...host, schedulable: true } }, { record: record("drained"), decision: undefined }).reasons.map((reason) => reason.code)).toEqual(["healthy"]);
  expect(explainHost(facts, { record: record("cancelled"), decision: undefined }).reasons.map((reason) => reason.code)).toEqual(["cordoned"]);
});

test("a deployment says what of it is moving, and where it is against its constraints", () => {
  const deployment = { id: "d1", name: "web", desired: "running", generation: 2, status: "active", reconcile: "auto", updatedAt: T } as unknown as DeploymentRecord;
  const move = { id: "m1", deployment: "web", fromHost: "web-01", toHost: "web-02", reason: "drain", status: "starting", because: "deploy on web-02 is running (pull)", progressAt: T } as unknown as MoveRecord;
  const { reasons } = explainDeployment({ deployment, placements: [view()], rows: [], rollout: undefined, waitingFor: undefined, moves: [move], misplaced: [{ host: "web-01", because: "label region is us, eu is required" }], now: T });
  expect(reasons).toMatchObject([
    { code: "move_starting", message: "A placement moves from web-01 to web-02 (drain): deploy on web-02 is running (pull).", next: expect.stringContaining("skep move cancel m1") as string },
    { code: "constraint_not_met", message: expect.stringContaining("label region is us, eu is required") as string, next: expect.stringContaining("skep deploy -f FILE --replace") as string },
  ]);
});
