/** start_first: the new one is healthy before the old one is touched, and two of one name confuse nobody. */
import type { Spec } from "@skep/core";
import { eventually } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { deploy, dockerSpec, mutate, rig, specOf, target, type Rig } from "./kit/executor-kit.ts";
import { MemoryJournal } from "./kit/memory-journal.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

type Components = Parameters<typeof dockerSpec>;
const startFirst = (...components: Components): Spec => ({ ...dockerSpec(...components), update_order: "start_first" });
const containers = (options: Parameters<typeof rig>[0] = {}): Promise<Rig> => rig({ driver: new ScriptedDriver({ name: "docker", overlaps: true }), ...options });
const moves = (driver: ScriptedDriver): string[] => driver.calls.filter((call) => /^(start|wait|stop|remove) /.test(call));

describe("start_first", () => {
  test("starts level by level, waits for each, and only then stops the old, dependants first", async () => {
    const { executor, driver, idle } = await containers();
    const at = target();
    await executor.admit(deploy(at, 1, startFirst("db", { name: "web", depends_on: ["db"] }, "gone")));
    await idle();
    driver.calls.length = 0;
    await executor.admit(deploy(at, 2, startFirst({ name: "db", version: "2" }, { name: "web", depends_on: ["db"], version: "2" })));
    await idle();
    expect(moves(driver)).toEqual(["start db@2", "wait db@2", "start web@2", "wait web@2", "stop web@1", "remove web@1", "stop gone@1", "remove gone@1", "stop db@1", "remove db@1"]);
    expect(driver.running()).toEqual(["db@2", "web@2"]);
    expect((await executor.snapshot()).placements).toMatchObject([{ generation: 2, state: "running" }]);
  });

  test("a failure stops the new ones, and the old were never touched; stop_first stops them (control)", async () => {
    for (const order of ["start_first", "stop_first"] as const) {
      const { executor, driver, idle } = await containers();
      const at = target();
      await executor.admit(deploy(at, 1, startFirst("db", { name: "web", depends_on: ["db"] })));
      await idle();
      driver.calls.length = 0;
      driver.on("wait web@2", () => { throw new Error("it died"); });
      const spec = { ...startFirst({ name: "db", version: "2" }, { name: "web", depends_on: ["db"], version: "2" }), update_order: order };
      const command = deploy(at, 2, spec);
      await executor.admit(command);
      await idle();
      expect(executor.job(command.job_id)?.status).toBe("failed");
      expect(driver.running()).toEqual(["db@1", "web@1"]);
      expect(moves(driver).some((call) => /^(stop|remove) .*@1$/.test(call))).toBe(order === "stop_first");
      expect((await executor.snapshot()).placements).toMatchObject([{ generation: 1, state: "running" }]);
    }
  });

  test("an old one that cannot be stopped: what was stopped is back before the new ones go", async () => {
    const { executor, driver, idle } = await containers();
    const at = target();
    await executor.admit(deploy(at, 1, startFirst("db", { name: "web", depends_on: ["db"] })));
    await idle();
    driver.on("stop db@1", () => { throw new Error("no"); });
    driver.calls.length = 0;
    const command = deploy(at, 2, startFirst({ name: "db", version: "2" }, { name: "web", depends_on: ["db"], version: "2" }));
    await executor.admit(command);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("failed");
    expect(driver.running()).toEqual(["db@1", "web@1"]);
    expect(driver.calls.indexOf("start web@1")).toBeLessThan(driver.calls.indexOf("stop web@2"));
  });

  test("is refused where old and new cannot run at once", async () => {
    const { executor } = await rig();
    await expect(executor.admit(deploy(target(), 1, { ...specOf("web"), update_order: "start_first" }))).rejects.toMatchObject({ code: "spec_refused" });
  });
});

describe("killed in the middle of it", () => {
  /** Everything new is up, the old one is still there. */
  async function halfDone(): Promise<{ again: Rig; at: ReturnType<typeof target>; jobId: string; spec: Spec }> {
    const first = await containers();
    const at = target();
    await first.executor.admit(deploy(at, 1, startFirst("web")));
    await first.idle();
    first.driver.gate("stop web@1");
    const spec = startFirst({ name: "web", version: "2" });
    const command = deploy(at, 2, spec);
    await first.executor.admit(command);
    await first.idle();
    expect(first.driver.running()).toEqual(["web@1", "web@2"]);
    const driver = new ScriptedDriver({ name: "docker", overlaps: true });
    for (const [key, value] of first.driver.components) driver.components.set(key, structuredClone(value));
    const again = await containers({ driver, journal: new MemoryJournal(first.journal.survivors()) });
    return { again, at, jobId: command.job_id, spec };
  }

  test("two of one name are both seen: the job is not called done, and what was left is said", async () => {
    const { again, jobId } = await halfDone();
    const job = again.executor.job(jobId)!;
    expect(job).toMatchObject({ status: "failed", error_code: "interrupted" });
    expect(job.steps?.filter((one) => one.name.startsWith("left running: web")).map((one) => one.name)).toHaveLength(2);
    const [placement] = (await again.executor.snapshot()).placements!;
    expect(placement).toMatchObject({ state: "degraded", generation: 1 });
    expect(placement?.components.map((component) => component.drift)).toEqual([undefined, ["generation 2 of it runs, which is not what was applied"]]);
  });

  test("the next attempt keeps the winner and clears the loser away, whichever of the two is wanted", async () => {
    for (const wanted of [1, 2]) {
      const { again, at, spec } = await halfDone();
      const command = deploy(at, 3, wanted === 2 ? spec : startFirst("web"));
      expect((await again.executor.dryRun(command)).plan).toEqual([{ component: "web", action: "keep" }]);
      await again.executor.admit(command);
      await again.idle();
      expect(again.driver.running()).toEqual([`web@${wanted}`]);
      expect(again.driver.calls.filter((call) => call.startsWith("start"))).toEqual([]);
      expect((await again.executor.snapshot()).placements).toMatchObject([{ generation: 3, state: "running" }]);
    }
  });

  test("the dead remains of a loser do not make a healthy placement look ill", async () => {
    const { again } = await halfDone();
    for (const one of again.driver.components.values()) if (one.labels.generation === 2) one.state = "failed";
    expect((await again.executor.snapshot()).placements).toMatchObject([{ state: "running", generation: 1 }]);
  });
});

describe("one component alone (B13)", () => {
  test("a sibling that drifted, or failed, or that the new spec changes, is left exactly as it is", async () => {
    const { executor, driver, idle } = await containers();
    const at = target();
    await executor.admit(deploy(at, 1, dockerSpec("db", "web", "cron", "gone")));
    await idle();
    for (const one of driver.components.values()) {
      if (one.labels.component === "db") one.drift = ["its memory limit was changed"];
      if (one.labels.component === "cron") one.state = "failed";
    }
    driver.calls.length = 0;
    const command = mutate(at, 2, 1, dockerSpec({ name: "db", version: "9" }, { name: "web", version: "2" }, "cron"), { components: ["web"] });
    await executor.admit(command);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("succeeded");
    expect([...new Set(driver.calls.filter((call) => call !== "observe"))].every((call) => call.includes(" web@"))).toBe(true);
    expect(driver.running()).toEqual(["db@1", "gone@1", "web@2"]);
  });

  test("after a kill it is judged by what it was allowed to touch", async () => {
    const first = await containers();
    const at = target();
    await first.executor.admit(deploy(at, 1, dockerSpec("db", "web")));
    await first.idle();
    first.driver.gate("wait web@2");
    const command = mutate(at, 2, 1, dockerSpec("db", { name: "web", version: "2" }), { components: ["web"] });
    await first.executor.admit(command);
    await first.idle();
    const driver = new ScriptedDriver({ name: "docker", overlaps: true });
    for (const [key, value] of first.driver.components) driver.components.set(key, { ...structuredClone(value), ...(value.labels.component === "db" ? { state: "failed" as const } : {}) });
    const again = await containers({ driver, journal: new MemoryJournal(first.journal.survivors()) });
    expect(again.executor.job(command.job_id)?.status).toBe("succeeded");
  });
});

describe("components of one level", () => {
  test("start side by side, at most eight, and after a failure nothing more is begun and everything begun is undone", async () => {
    const { executor, driver, idle } = await containers();
    const names = Array.from({ length: 10 }, (_, index) => `c${index}`);
    let together = 0;
    let most = 0;
    const doors: (() => void)[] = [];
    driver.on("start", async () => {
      most = Math.max(most, (together += 1));
      await new Promise<void>((resolve) => doors.push(resolve));
      together -= 1;
    });
    const command = deploy(target(), 1, dockerSpec(...names));
    await executor.admit(command);
    await eventually(() => doors.length === 8, { what: "all eight doors" });
    expect(most).toBe(8);
    // One of them fails while the others are under way.
    driver.on("start", () => undefined);
    driver.on("wait", () => { throw new Error("not reached"); });
    driver.on("stop c0", () => { throw new Error("it will not go"); });
    driver.on("start c8", () => { throw new Error("no room"); });
    for (const open of doors) open();
    await idle();
    expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error: expect.stringContaining("no room") });
    expect(driver.calls.filter((call) => call.startsWith("wait"))).toEqual([]);
    expect(driver.running()).toEqual(["c0@1"]);
    expect(executor.job(command.job_id)?.steps?.filter((step) => !step.ok).map((step) => step.name)).toContain("undo start c0");
  });
});
