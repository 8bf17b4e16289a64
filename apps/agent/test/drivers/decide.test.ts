/** The drivers' pure decisions. */
import { seededRng } from "@skep/core";
import { describe, expect, test } from "vitest";
import { decideObserved } from "../../src/drivers/process/decide-observed.ts";
import type { Look } from "../../src/drivers/process/look.ts";
import { decideRestart } from "../../src/runner/decide-restart.ts";
import type { RunState } from "../../src/runner/run-state.ts";
import { groupAlive, identify, isAlive } from "../../src/runner/proc.ts";
import { labelsFor, specFor } from "./world.ts";

const timings = { settleMs: 300, backoffBaseMs: 1_000, backoffCapMs: 60_000, resetAfterMs: 60_000, drainMs: 200 };
const delayAfter = (crashes: number, seed = 1): number => {
  const next = decideRestart({ policy: "always" }, { code: 1, at: 0 }, crashes, timings, seededRng(seed));
  return next.kind === "restart" ? next.delayMs : Number.NaN;
};

describe("decideRestart", () => {
  test.each([
    ["always", 0, "restart"], ["always", 1, "restart"], ["on_failure", 0, "exited"], ["on_failure", 1, "restart"], ["never", 0, "exited"], ["never", 1, "failed"],
  ] as const)("%s after code %i: %s", (policy, code, expected) => {
    const next = decideRestart({ policy }, { code, at: 0 }, 0, timings, seededRng(1));
    expect(next.kind === "end" ? next.state : next.kind).toBe(expected);
  });

  test("the back-off doubles from 1 s to 60 s, each spread by 20 %", () => {
    for (let seed = 0; seed < 50; seed++) {
      for (const [crashes, base] of [[0, 1_000], [1, 2_000], [5, 32_000], [6, 60_000], [1_000, 60_000]] as const) {
        expect(delayAfter(crashes, seed)).toBeGreaterThanOrEqual(base * 0.8);
        expect(delayAfter(crashes, seed)).toBeLessThanOrEqual(base * 1.2);
      }
    }
    expect(new Set(Array.from({ length: 20 }, (_, seed) => delayAfter(0, seed))).size).toBeGreaterThan(10);
  });

  test("max 0 restarts never; a signal is a failure", () => {
    expect(decideRestart({ policy: "on_failure", max: 0 }, { signal: "SIGSEGV", at: 0 }, 0, timings, seededRng(1))).toMatchObject({ kind: "end", state: "failed", error: expect.stringContaining("SIGSEGV") });
  });
});

describe("decideObserved", () => {
  const labels = labelsFor();
  const dir = { placementId: labels.placementId, component: labels.component, path: "/x" };
  const state: RunState = {
    version: 1, runId: "a", hostBootId: "b", runner: { pid: 1, start: 1 }, child: { pid: 2, start: 2 }, labels, spec: specFor(["x"]), ports: {}, state: "running", since: 1, restarts: 0, starts: 1,
  };
  /** Only a runner that answers, or that wrote the end itself, may be quoted as "running" without a word of doubt. */
  test.each<[string, Look, object]>([
    ["rebooted", { kind: "rebooted", state }, { state: "stopped", error: "host rebooted" }],
    ["lost", { kind: "lost", state }, { state: "failed" }],
    ["lost before its start", { kind: "lost", state: { ...state, starts: 0, child: null, state: "starting" } }, { state: "failed", error: expect.stringContaining("not started") }],
    ["orphaned", { kind: "orphaned", state, processes: [{ pid: 2, start: 2 }] }, { state: "unhealthy", pid: 2 }],
    ["hung", { kind: "hung", state, childAlive: true }, { state: "running", error: expect.stringContaining("does not answer") }],
    ["hung with a dead child", { kind: "hung", state, childAlive: false }, { state: "failed" }],
    ["damaged", { kind: "damaged", error: "e", processes: [] }, { state: "failed" }],
  ])("%s is never plainly running", (_name, look, expected) => {
    const seen = decideObserved(dir, look);
    expect(seen).toMatchObject(expected);
    expect(seen?.error).toBeTruthy();
    if (seen?.state === "failed" || seen?.state === "stopped") expect(seen).not.toHaveProperty("pid");
  });
  test("control: ended is quoted as it is, and nothing is nothing", () => {
    expect(decideObserved(dir, { kind: "ended", state })).toMatchObject({ state: "running", pid: 2 });
    expect(decideObserved(dir, { kind: "none" })).toBeUndefined();
  });
});

test("a process is its pid and its start time; a pid that never was is nobody", () => {
  const me = identify(process.pid)!;
  expect(isAlive(me)).toBe(true);
  expect(isAlive({ ...me, start: me.start + 1 })).toBe(false);
  expect(identify(2 ** 22 + 1)).toBeUndefined();
  expect(groupAlive(2 ** 22 + 1)).toBe(false);
});
