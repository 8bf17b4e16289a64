/** The lifecycle table and what deltas do to rows, over all sequences. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ACTORS, LIFECYCLE_STATUSES, PRODUCTION_POLICY, TERMINAL_STATUSES, TRANSITIONS, applyReport, isLegal, isTerminal,
  type DeltaStatus, type HostId, type LifecycleRow, type RowChange,
} from "../src/index.ts";
import { aRow } from "./rows.ts";

describe("the transition table", () => {
  test("names every state, and terminal states have no exits", () => {
    const named = new Set(TRANSITIONS.flatMap((edge) => [edge.from, edge.to]));
    expect([...LIFECYCLE_STATUSES].filter((status) => !named.has(status))).toEqual([]);
    expect(TRANSITIONS.filter((edge) => isTerminal(edge.from))).toEqual([]);
  });

  test("every open state can be left by an agent's truth and by somebody when the agent never speaks", () => {
    for (const status of ["pending", "running", "lost"] as const) {
      expect(isLegal(status, "succeeded", "agent")).toBe(true);
      expect(TRANSITIONS.some((edge) => edge.from === status && isTerminal(edge.to) && !(edge.by as readonly string[]).every((actor) => actor === "agent"))).toBe(true);
    }
  });

  test("silence alone never fails a row: no edge to failed belongs to nobody's word", () => {
    expect(TRANSITIONS.every((edge) => edge.by.every((actor) => ACTORS.includes(actor)))).toBe(true);
    expect(isLegal("running", "superseded", "sweep")).toBe(false);
    expect(isLegal("lost", "superseded", "agent")).toBe(false);
  });
});

const apply = (row: LifecycleRow, change: RowChange): LifecycleRow => ({ ...row, ...change, version: row.version + 1, status: change.status ?? row.status }) as LifecycleRow;
const from = { hostId: "host-a" as HostId, actor: "agent" as const };

describe("deltas", () => {
  test("in every order and with every repetition, the first terminal word wins and each one is answered", () => {
    fc.assert(
      fc.property(fc.constantFrom("pending", "running", "lost" as const), fc.array(fc.constantFrom<DeltaStatus>("running", "succeeded", "failed", "cancelled"), { maxLength: 8 }), (start, statuses) => {
        let row = aRow({ status: start as LifecycleRow["status"] });
        let first: string | undefined;
        for (const status of statuses) {
          const verdict = applyReport(row, { status }, from, PRODUCTION_POLICY);
          expect(["applied", "duplicate", "late"]).toContain(verdict.result);
          if (verdict.result === "applied") {
            row = apply(row, verdict.change);
            if (isTerminal(row.status)) first ??= row.status;
          }
        }
        const expected = statuses.find((status) => status !== "running");
        expect(isTerminal(row.status)).toBe(expected !== undefined);
        if (expected !== undefined) expect(first).toBe(expected);
      }),
    );
  });

  test("another host's delta is rejected, and so is one for another generation; an unknown row is unknown", () => {
    const row = aRow({ status: "running" });
    expect(applyReport(row, { status: "succeeded" }, { hostId: "host-b" as HostId, actor: "agent" }, PRODUCTION_POLICY).result).toBe("rejected");
    expect(applyReport(row, { status: "succeeded", generation: row.generation + 1 }, from, PRODUCTION_POLICY).result).toBe("rejected");
    expect(applyReport(row, { status: "succeeded", operation: "teardown" }, from, PRODUCTION_POLICY).result).toBe("rejected");
    expect(applyReport(undefined, { status: "succeeded" }, from, PRODUCTION_POLICY).result).toBe("unknown");
    expect(applyReport(row, { status: "succeeded", generation: row.generation }, from, PRODUCTION_POLICY).result).toBe("applied");
  });

  test("control: without compare-and-set a late delta overwrites a terminal row", () => {
    const row = aRow({ status: "succeeded" });
    expect(applyReport(row, { status: "failed" }, from, PRODUCTION_POLICY).result).toBe("late");
    expect(applyReport(row, { status: "failed" }, from, { ...PRODUCTION_POLICY, compareAndSet: false }).result).toBe("applied");
  });

  test("a confirmed cancel is called by the reason it was asked for", () => {
    const outcome = (reason: LifecycleRow["cancelReason"]): unknown => {
      const verdict = applyReport(aRow({ status: "running", cancelReason: reason }), { status: "cancelled" }, from, PRODUCTION_POLICY);
      return verdict.result === "applied" ? [verdict.change.status, verdict.change.failureCode] : verdict.result;
    };
    expect(outcome("operator")).toEqual(["cancelled", undefined]);
    expect(outcome("timeout")).toEqual(["failed", "timeout"]);
    expect(outcome("absent")).toEqual(["failed", "swept_unknown"]);
    expect(outcome("dispatch_deadline")).toEqual(["failed", "dispatch_failed"]);
  });

  test("a failure is called by what the agent says of it", () => {
    const code = (errorCode: string | undefined): unknown => {
      const verdict = applyReport(aRow({ status: "running" }), { status: "failed", errorCode }, from, PRODUCTION_POLICY);
      return verdict.result === "applied" ? verdict.change.failureCode : verdict.result;
    };
    expect([undefined, "probe_failed", "interrupted", "rejected:stale_epoch"].map(code)).toEqual(["agent_error", "agent_error", "interrupted", "rejected"]);
  });

  test("terminal states are all reachable by somebody", () => {
    for (const status of TERMINAL_STATUSES) expect(TRANSITIONS.some((edge) => edge.to === status)).toBe(true);
  });
});
