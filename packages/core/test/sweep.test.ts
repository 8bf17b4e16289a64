/** The sweep closes rows on evidence only. Safety first, as properties; then each rule with its neighbour. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  HOST_STATUSES, PRODUCTION_POLICY, decideAfterAsk, decideSweep, instant, isLegal, timingsFor,
  type HostStatus, type JobInventory, type LifecycleRow, type SweepAction,
} from "../src/index.ts";
import { aRow } from "./rows.ts";

const timings = timingsFor(30_000);
const LISTENING = instant(0);
const WARM = instant(timings.warmUpMs + 1_000_000);
const judge = (row: LifecycleRow, hostStatus: HostStatus, inventory?: JobInventory, now = WARM, policy = PRODUCTION_POLICY): SweepAction =>
  decideSweep({ row, hostStatus, inventory }, LISTENING, now, timings, policy);
const inventory = (patch: Partial<JobInventory> = {}): JobInventory => ({ receivedAt: WARM, bootId: "boot-1", opSeq: 10, jobIds: [], truncated: false, beats: 3, ...patch });
const running = (patch: Partial<LifecycleRow> = {}): LifecycleRow =>
  aRow({ status: "running", sentAt: instant(1), acceptedOpSeq: 5, acceptedBootId: "boot-1", runningAt: WARM, updatedAt: WARM, dispatchDeadline: instant(WARM + 600_000), ...patch });

const anyRow = fc.record({
  status: fc.constantFrom("pending", "running", "lost" as const),
  sentAt: fc.option(fc.constant(instant(1)), { nil: undefined }),
  cancelReason: fc.option(fc.constantFrom("operator", "timeout", "absent", "dispatch_deadline", "rollout" as const), { nil: undefined }),
  age: fc.integer({ min: 0, max: 10_000_000 }),
  dispatchDeadline: fc.integer({ min: 0, max: 20_000_000 }).map(instant),
});

describe("safety, for every row and every host", () => {
  test("the sweep itself never fails a row that was sent, and every change it makes is legal", () => {
    fc.assert(
      fc.property(anyRow, fc.constantFrom(...HOST_STATUSES), fc.option(fc.record({ listed: fc.boolean(), beats: fc.integer({ min: 1, max: 5 }), opSeq: fc.integer({ min: 0, max: 20 }) }), { nil: undefined }), fc.integer({ min: 0, max: 20_000_000 }), (shape, hostStatus, beat, at) => {
        const row = aRow({ ...shape, sentAt: shape.status === "pending" ? shape.sentAt : instant(1), runningAt: instant(at - shape.age), updatedAt: instant(at - shape.age) });
        const action = judge(row, hostStatus, beat === undefined ? undefined : inventory({ jobIds: beat.listed ? [row.id] : [], beats: beat.beats, opSeq: beat.opSeq }), instant(at));
        if (action.kind !== "change") return;
        expect(isLegal(row.status, action.change.status!, "sweep")).toBe(true);
        if (action.change.status === "failed") expect([row.sentAt, action.change.failureCode]).toEqual([undefined, "dispatch_failed"]);
      }),
    );
  });

  test("before warm-up is over nothing is closed by silence", () => {
    const early = instant(timings.warmUpMs - 1);
    expect(judge(running({ runningAt: instant(1), updatedAt: instant(1) }), "unreachable", undefined, early).kind).toBe("leave");
    expect(judge(running(), "unreachable")).toMatchObject({ kind: "change", change: { status: "lost" } });
  });
});

describe("running rows", () => {
  test("an unreachable host makes them lost, never failed; the rule removed makes them failed", () => {
    expect(judge(running(), "unreachable")).toMatchObject({ kind: "change", change: { status: "lost" } });
    expect(judge(running(), "unreachable", undefined, WARM, { ...PRODUCTION_POLICY, lostIsNotFailed: false })).toMatchObject({ change: { status: "failed", failureCode: "host_lost" } });
  });

  test("proven absence asks; each thing that spoils the proof does not", () => {
    expect(judge(running(), "active", inventory()).kind).toBe("ask");
    expect(judge(running(), "active", inventory({ jobIds: ["row-1"] })).kind).toBe("leave");
    expect(judge(running(), "active", inventory({ jobIds: undefined })).kind).toBe("leave");
    expect(judge(running(), "active", inventory({ truncated: true })).kind).toBe("leave");
    expect(judge(running(), "active", inventory({ opSeq: 4 })).kind).toBe("leave");
    expect(judge(running(), "active", inventory({ beats: 1 })).kind).toBe("leave");
    expect(judge(running({ sentAt: WARM }), "active", inventory()).kind).toBe("leave");
    expect(judge(running(), "active").kind).toBe("leave");
  });

  test("an answer of unknown seals the job before anything is closed; no answer changes nothing", () => {
    expect(decideAfterAsk(running(), { kind: "unknown" })).toMatchObject({ kind: "cancel", reason: "absent" });
    expect(decideAfterAsk(running(), { kind: "silent", because: "refused" }).kind).toBe("leave");
    expect(decideAfterAsk(aRow({ sentAt: instant(1) }), { kind: "unknown" }).kind).toBe("leave");
  });

  test("past its time limit it is cancelled, not failed", () => {
    expect(judge(running({ runningAt: instant(WARM - 600_001) }), "active")).toMatchObject({ kind: "cancel", reason: "timeout" });
    expect(judge(running({ runningAt: instant(WARM - 599_000) }), "active").kind).toBe("leave");
  });

  test("the limit runs from the last progress, and allows for what is not told yet; without progress from the beginning (control)", () => {
    const long = { runningAt: instant(WARM - 86_400_000), timeoutS: 600 };
    const moved = (agoMs: number, patch: Partial<LifecycleRow> = {}) => judge(running({ ...long, progress: 7, progressAt: instant(WARM - agoMs), ...patch }), "active");
    expect(moved(1_000).kind).toBe("leave");
    expect(moved(600_001).kind).toBe("leave");
    expect(moved(600_000 + timings.heartbeatIntervalMs).kind).toBe("leave");
    expect(moved(600_001 + timings.heartbeatIntervalMs)).toMatchObject({ kind: "cancel", reason: "timeout", because: "nothing moved for its limit of 600 s" });
    // What moved before it ran here says nothing.
    expect(moved(86_400_000 * 2, { runningAt: instant(WARM - 1_000) }).kind).toBe("leave");
    expect(judge(running(long), "active")).toMatchObject({ kind: "cancel", reason: "timeout" });
  });

  test("an hour without a sign is lost, and asks for a decision; a listed job is a sign", () => {
    const old = running({ timeoutS: 86_400, runningAt: instant(0), updatedAt: instant(0) });
    const now = instant(WARM + 3_600_001);
    expect(judge(old, "active", undefined, now)).toMatchObject({ kind: "change", change: { status: "lost" }, needsDecision: true });
    expect(judge(old, "active", inventory({ jobIds: ["row-1"], receivedAt: now }), now).kind).toBe("leave");
  });
});

describe("pending rows", () => {
  const late = instant(WARM);
  test("never sent and past the deadline: dispatch_failed. Sent: the host is made to seal it first", () => {
    expect(judge(aRow({ dispatchDeadline: late }), "unreachable")).toMatchObject({ change: { status: "failed", failureCode: "dispatch_failed" } });
    expect(judge(aRow({ dispatchDeadline: late, sentAt: instant(1) }), "active")).toMatchObject({ kind: "cancel", reason: "dispatch_deadline" });
    expect(judge(aRow({ dispatchDeadline: late, sentAt: instant(1) }), "unreachable")).toMatchObject({ change: { status: "lost" } });
    expect(judge(aRow({ dispatchDeadline: instant(WARM + 1), sentAt: instant(1) }), "unreachable").kind).toBe("leave");
  });

  test("control: without sent-before-failed, a row that may be running is called dispatch_failed", () => {
    expect(judge(aRow({ dispatchDeadline: late, sentAt: instant(1) }), "active", undefined, WARM, { ...PRODUCTION_POLICY, sentBeforeFailed: false })).toMatchObject({ change: { status: "failed" } });
  });
});

describe("lost rows", () => {
  test("stay lost while the host is away, are asked about when it is back", () => {
    expect(judge(running({ status: "lost" }), "unreachable").kind).toBe("leave");
    expect(judge(running({ status: "lost" }), "active").kind).toBe("ask");
    expect(judge(running({ status: "lost", cancelReason: "operator" }), "active")).toMatchObject({ kind: "cancel", reason: "operator" });
  });
});
