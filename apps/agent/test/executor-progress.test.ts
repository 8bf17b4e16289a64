/** Leases run from the last progress: what moves is never killed, what stands still always is (G2). */
import { DriverError } from "@skep/core";
import { describe, expect, test } from "vitest";
import { deploy, mutate, rig, specOf, target } from "./kit/executor-kit.ts";
import type { ScriptedDriver } from "./kit/scripted-driver.ts";
import type { ManualClock } from "@skep/testkit";

/** A verb that takes `forMs` and moves every `everyMs`, as a pull does; with Infinity it only takes. */
function slowly(driver: ScriptedDriver, clock: ManualClock, what: string, forMs: number, everyMs: number): void {
  driver.on(what, async (_labels, signal, progress) => {
    const startMs = clock.mono();
    while (clock.mono() - startMs < forMs) {
      await clock.sleep(Math.min(everyMs, forMs), signal);
      if (signal?.aborted === true) throw new DriverError("aborted", "told to end");
      if (everyMs < forMs) progress?.();
    }
  });
}

describe("a job's limit", () => {
  test("runs from the last progress: a pull that moves for ten times its limit succeeds, one that does not ends at it", async () => {
    for (const [everyMs, status] of [[20_000, "succeeded"], [Number.POSITIVE_INFINITY, "failed"]] as const) {
      const { executor, driver, clock, idle } = await rig();
      slowly(driver, clock, "prepare", 600_000, everyMs);
      const command = deploy(target(), 1, specOf("web"), { timeout_s: 60 });
      await executor.admit(command);
      await clock.run(59_000);
      await idle();
      expect(executor.job(command.job_id)?.status).toBe("running");
      await clock.run(2_000);
      await idle();
      expect(executor.job(command.job_id)?.status).toBe(status === "failed" ? "failed" : "running");
      await clock.run(600_000);
      await idle();
      expect(executor.job(command.job_id)).toMatchObject(status === "failed" ? { status, error_code: "timeout" } : { status });
    }
  });

  test("a probe that fails is no progress: waiting for health ends at the limit, however often it is tried", async () => {
    const { executor, driver, clock, idle } = await rig();
    let tries = 0;
    driver.on("wait", async (_labels, signal) => {
      while (signal?.aborted !== true) {
        tries += 1;
        await clock.sleep(1_000, signal);
      }
      throw new DriverError("probe_failed", "it never became healthy");
    });
    const command = deploy(target(), 1, specOf("web"), { timeout_s: 30 });
    await executor.admit(command);
    await clock.run(40_000);
    await idle();
    expect(tries).toBeGreaterThan(25);
    expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: "timeout" });
    expect(executor.job(command.job_id)?.error).toContain("it never became healthy");
    expect(driver.running()).toEqual([]);
  });

  test("each phase has a limit of its own below the job's", async () => {
    const { executor, driver, clock, idle } = await rig();
    slowly(driver, clock, "prepare", 10_000_000, Number.POSITIVE_INFINITY);
    const command = deploy(target(), 1, specOf("web"), { timeout_s: 86_400 });
    await executor.admit(command);
    await clock.run(179_000);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("running");
    await clock.run(2_000);
    await idle();
    expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: "stalled" });
    expect(executor.job(command.job_id)?.error).toContain("nothing moved for 180 s");
  });
});

test("progress grows with what moves and with steps, and with nothing else; the phase says what it is at", async () => {
  const { executor, driver, clock, idle } = await rig();
  const listed = () => executor.inventory().jobs![0]!;
  let move = (): void => {};
  driver.on("prepare", (_labels, _signal, progress) => new Promise((resolve) => {
    move = () => progress?.();
    driver.on("prepare", () => resolve());
  }));
  const gate = driver.gate("wait");
  const command = deploy(target(), 1, specOf("web"));
  await executor.admit(command);
  await idle();
  const before = listed().progress!;
  expect(listed().phase).toBe("prepare");
  await clock.run(30_000);
  expect(listed().progress).toBe(before);
  move();
  move();
  expect(listed().progress).toBe(before + 2);
  expect(executor.job(command.job_id)).toMatchObject({ progress: before + 2, phase: "prepare" });
  gate.open();
});

test("the phase follows the job through start, health and stop, and is gone with its end", async () => {
  const { executor, driver, idle } = await rig();
  const at = target();
  const phases: (string | undefined)[] = [];
  let id = "";
  for (const verb of ["prepare", "start", "wait", "stop", "remove"]) driver.on(verb, () => void phases.push(executor.job(id)?.phase));
  const first = deploy(at, 1, specOf("web"));
  id = first.job_id;
  await executor.admit(first);
  await idle();
  expect(phases).toEqual(["prepare", "start", "healthy"]);
  expect(executor.job(id)?.phase).toBeUndefined();
  phases.length = 0;
  const second = mutate(at, 2, 1, specOf({ name: "web", version: "2" }));
  id = second.job_id;
  await executor.admit(second);
  await idle();
  expect(phases).toEqual(["prepare", "stop", "remove", "start", "healthy"]);
});

describe("cancelled means stopped", () => {
  test("what a cancel could not stop makes the job a failure that says so", async () => {
    const { executor, driver, idle } = await rig();
    driver.gate("wait");
    driver.on("stop web@1", () => { throw new DriverError("stop_failed", "it will not die"); });
    const command = deploy(target(), 1, specOf("web"));
    await executor.admit(command);
    await idle();
    await executor.cancel(command.job_id, { reason: "operator" });
    await idle();
    expect(driver.running()).toEqual(["web@1"]);
    expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: "still_running" });
    expect(executor.job(command.job_id)?.steps?.find((one) => one.name === "undo start web")?.ok).toBe(false);
  });
});
