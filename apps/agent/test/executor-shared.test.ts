/** Networks and volumes around jobs, what runs to completion, what was changed behind the agent's back, and fair patience. */
import type { ComponentState, Spec } from "@skep/core";
import { describe, expect, test } from "vitest";
import { deploy, dockerSpec, mutate, rig, target, teardown, type Rig } from "./kit/executor-kit.ts";
import { MemoryJournal } from "./kit/memory-journal.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

const containers = (options: Parameters<typeof rig>[0] = {}): Promise<Rig> => rig({ driver: new ScriptedDriver({ name: "docker", overlaps: true, shared: true }), ...options });
const withShared = (spec: Spec, networks: readonly string[], volumes: readonly string[]): Spec => ({
  ...spec, networks: Object.fromEntries(networks.map((name) => [name, {}])), volumes: Object.fromEntries(volumes.map((name) => [name, {}])),
});
const after = (old: Rig): Promise<Rig> => {
  const driver = new ScriptedDriver({ name: "docker", overlaps: true, shared: true });
  for (const [key, value] of old.driver.components) driver.components.set(key, structuredClone(value));
  return containers({ driver, journal: new MemoryJournal(old.journal.survivors()), load: false });
};

describe("networks and volumes", () => {
  test("are there before the first prepare, and a failure to make them costs the old one nothing", async () => {
    const { executor, driver, idle } = await containers();
    const at = target();
    await executor.admit(deploy(at, 1, withShared(dockerSpec("web"), ["back"], ["data"])));
    await idle();
    expect(driver.calls.indexOf("ensure")).toBeLessThan(driver.calls.indexOf("prepare web@1"));
    expect([driver.networks.get(at.placement_id), driver.volumes.get(at.placement_id)]).toEqual([["back"], ["data"]]);
    driver.on("shared", () => { throw new Error("no address pool left"); });
    const command = deploy(at, 2, withShared(dockerSpec({ name: "web", version: "2" }), ["back"], ["data"]));
    await executor.admit(command);
    await idle();
    expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error: expect.stringContaining("no address pool left") as string });
    expect(driver.calls.some((call) => call.startsWith("stop"))).toBe(false);
  });

  test("what the new spec leaves out: the network goes once the new one runs, the volume stays, and the dry run says both", async () => {
    const { executor, driver, idle } = await containers();
    const at = target();
    await executor.admit(deploy(at, 1, withShared(dockerSpec("web"), ["back", "front"], ["data", "logs"])));
    await idle();
    const command = deploy(at, 2, withShared(dockerSpec({ name: "web", version: "2" }), ["back"], ["data"]));
    expect((await executor.dryRun(command)).warnings).toEqual(["networks are removed: front", "volumes are not used any more, and kept: logs"]);
    await executor.admit(command);
    await idle();
    expect(driver.calls.indexOf("prune")).toBeGreaterThan(driver.calls.indexOf("wait web@2"));
    expect([driver.networks.get(at.placement_id), driver.volumes.get(at.placement_id)]).toEqual([["back"], ["data", "logs"]]);
  });

  test("a network that cannot be removed is said, and does not undo a deploy that runs", async () => {
    const { executor, driver, idle } = await containers();
    const at = target();
    await executor.admit(deploy(at, 1, withShared(dockerSpec("web"), ["back"], [])));
    await idle();
    driver.on("wait web@2", () => driver.on("shared", () => { throw new Error("in use"); }));
    const command = deploy(at, 2, dockerSpec({ name: "web", version: "2" }));
    await executor.admit(command);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("succeeded");
    expect(executor.job(command.job_id)?.steps?.filter((one) => !one.ok).map((one) => one.name)).toEqual(["remove networks that are not named any more"]);
  });

  test("teardown removes networks after everything is stopped, volumes only when asked, and says so before", async () => {
    for (const volumes of [false, true]) {
      const { executor, driver, idle } = await containers();
      const at = target();
      await executor.admit(deploy(at, 1, withShared(dockerSpec("web"), ["back"], ["data"])));
      await idle();
      const command = teardown(at, 2, { remove_volumes: volumes });
      expect((await executor.dryRun(command)).warnings).toEqual([volumes ? "volumes are removed with their data: data" : "volumes are kept: data"]);
      await executor.admit(command);
      await idle();
      expect(executor.job(command.job_id)?.status).toBe("succeeded");
      expect(driver.networks.has(at.placement_id)).toBe(false);
      expect(driver.volumes.has(at.placement_id)).toBe(!volumes);
    }
  });

  test("no volume is removed while something may still write to it", async () => {
    const { executor, driver, idle } = await containers();
    const at = target();
    await executor.admit(deploy(at, 1, withShared(dockerSpec("web"), [], ["data"])));
    await idle();
    driver.on("stop", () => { throw new Error("no"); });
    const command = teardown(at, 2, { remove_volumes: true, force: true });
    await executor.admit(command);
    await idle();
    expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: "still_running" });
    expect(driver.volumes.has(at.placement_id)).toBe(true);
  });

  test("a first deploy that fails leaves no network behind, and never touches data; a later one leaves what the old one uses", async () => {
    const { executor, driver, idle } = await containers();
    const at = target();
    driver.on("wait", () => { throw new Error("it died"); });
    await executor.admit(deploy(at, 1, withShared(dockerSpec("web"), ["back"], ["data"])));
    await idle();
    expect([driver.networks.has(at.placement_id), driver.volumes.get(at.placement_id)]).toEqual([false, ["data"]]);
    driver.on("wait", undefined);
    await executor.admit(deploy(at, 2, withShared(dockerSpec("web"), ["back"], ["data"])));
    await idle();
    driver.on("wait web@3", () => { throw new Error("it died"); });
    await executor.admit(deploy(at, 3, withShared(dockerSpec({ name: "web", version: "3" }), ["back", "front"], ["data"])));
    await idle();
    expect(driver.networks.get(at.placement_id)).toContain("back");
    // Even where all of it was taken away behind our back: what was applied is still what is wanted.
    driver.components.clear();
    driver.on("wait web@4", () => { throw new Error("it died"); });
    await executor.admit(deploy(at, 4, withShared(dockerSpec({ name: "web", version: "4" }), ["back"], ["data"])));
    await idle();
    expect(driver.calls.filter((call) => call.startsWith("remove shared"))).toEqual(["remove shared"]);
  });
});

describe("what runs to completion", () => {
  const withMigration = (version = "1"): Spec => {
    const spec = dockerSpec({ name: "migrate", version: "1" }, { name: "web", depends_on: ["migrate"], version });
    return { ...spec, components: spec.components.map((component) => (component.name === "migrate" ? { ...component, run_to_completion: true, restart: { policy: "never" } } : component)) };
  };
  const become = (driver: ScriptedDriver, state: ComponentState): void => {
    for (const one of driver.components.values()) if (one.labels.component === "migrate") Object.assign(one, { state }, state === "failed" ? { error: "relation exists" } : {});
  };

  test("dependants wait until it ended with 0, and a deploy succeeds with it", async () => {
    const { executor, driver, clock, idle } = await containers();
    const command = deploy(target(), 1, withMigration());
    await executor.admit(command);
    await clock.run(5_000);
    await idle();
    expect(driver.running()).toEqual(["migrate@1"]);
    become(driver, "exited");
    await clock.run(2_000);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("succeeded");
    expect(driver.running()).toEqual(["web@1"]);
    expect((await executor.snapshot()).placements).toMatchObject([{ state: "running" }]);
  });

  test("one that fails fails the deploy, with its own words; one that never ends ends with the job's limit", async () => {
    for (const state of ["failed", "running"] as const) {
      const { executor, driver, clock, idle } = await containers();
      const command = deploy(target(), 1, withMigration(), { timeout_s: 60 });
      await executor.admit(command);
      await clock.run(1_000);
      become(driver, state);
      await clock.run(65_000);
      await idle();
      expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: state === "failed" ? "completion_failed" : "timeout" });
      if (state === "failed") expect(executor.job(command.job_id)?.error).toContain("relation exists");
      expect(driver.running()).toEqual([]);
    }
  });

  test("what has ended is not started again when nothing about it changed, by a change, a repair or a stop and start", async () => {
    const { executor, driver, clock, idle } = await containers();
    const at = target();
    await executor.admit(deploy(at, 1, withMigration()));
    await clock.run(1_000);
    become(driver, "exited");
    await clock.run(2_000);
    for (const command of [deploy(at, 1, withMigration()), deploy(at, 2, withMigration("2")), mutate(at, 3, 2, withMigration("2"), { desired: "stopped" }), mutate(at, 4, 3, withMigration("2"))]) {
      await executor.admit(command);
      await clock.run(5_000);
      await idle();
      expect(executor.job(command.job_id)?.status).toBe("succeeded");
    }
    expect(driver.calls.filter((call) => call.startsWith("start migrate"))).toEqual(["start migrate@1"]);
  });

  test("after a kill: ended is done, still running is not", async () => {
    for (const state of ["exited", "running"] as const) {
      const first = await containers();
      const command = deploy(target(), 1, withMigration());
      await first.executor.admit(command);
      await first.clock.run(1_000);
      const web = { ...[...first.driver.components.values()][0]!.labels, component: "web" };
      const wanted = first.journal.records.find((record) => record.kind === "begun");
      become(first.driver, state);
      first.driver.components.set("web", { labels: { ...web, componentHash: wanted?.kind === "begun" ? wanted.wanted["web"]! : "" }, state: "running" });
      const again = await after(first);
      const loading = again.executor.load();
      await again.clock.run(40_000);
      await loading;
      expect(again.executor.job(command.job_id)?.status).toBe(state === "exited" ? "succeeded" : "failed");
    }
  });
});

describe("drift", () => {
  test("is passed on, makes the placement degraded, is not kept, and the dry run says why", async () => {
    const { executor, driver, idle } = await containers();
    const at = target();
    await executor.admit(deploy(at, 1, dockerSpec("web", "db")));
    await idle();
    for (const one of driver.components.values()) if (one.labels.component === "web") one.drift = ["the memory limit is 64 MiB, not 1 GiB"];
    const [placement] = (await executor.snapshot()).placements!;
    expect(placement).toMatchObject({ state: "degraded", components: [{ name: "web", drift: ["the memory limit is 64 MiB, not 1 GiB"] }, { name: "db" }] });
    expect(placement?.components[1]).not.toHaveProperty("drift");
    const command = deploy(at, 1, dockerSpec("web", "db"));
    expect(await executor.dryRun(command)).toMatchObject({ plan: [{ component: "web", action: "recreate" }, { component: "db", action: "keep" }], warnings: ["web was changed behind our back: the memory limit is 64 MiB, not 1 GiB"] });
    driver.calls.length = 0;
    await executor.admit(command);
    await idle();
    expect(driver.calls.filter((call) => /^(start|stop)/.test(call))).toEqual(["stop web@1", "start web@1"]);
    expect((await executor.snapshot()).placements).toMatchObject([{ state: "running" }]);
  });
});

describe("patience after a restart", () => {
  const slow = (failures: number, intervalMs: number): Spec => {
    const spec = dockerSpec("web");
    return { ...spec, components: spec.components.map((component) => ({ ...component, probe: { type: "tcp" as const, port: 80, interval_ms: intervalMs, timeout_ms: 1_000, success_threshold: 1, failure_threshold: failures } })) };
  };
  /** How long it takes to judge something that never leaves `starting`. */
  async function judgedAfterMs(spec: Spec, state: ComponentState): Promise<number> {
    const first = await containers();
    first.driver.gate("wait");
    const command = deploy(target(), 1, spec);
    await first.executor.admit(command);
    await first.idle();
    for (const one of first.driver.components.values()) one.state = state;
    const again = await after(first);
    let loaded = false;
    const loading = again.executor.load().finally(() => (loaded = true));
    while (!loaded) await again.clock.run(500);
    await loading;
    expect(again.executor.job(command.job_id)?.status).toBe(state === "running" ? "succeeded" : "failed");
    return again.clock.mono();
  }

  test("what is starting gets the time its slowest probe may take, within bounds; nobody else waits", async () => {
    expect(await judgedAfterMs(slow(3, 5_000), "starting")).toBeGreaterThanOrEqual(15_000);
    expect(await judgedAfterMs(slow(3, 5_000), "starting")).toBeLessThanOrEqual(17_000);
    expect(await judgedAfterMs(slow(100, 60_000), "starting")).toBeLessThanOrEqual(31_000);
    expect(await judgedAfterMs(dockerSpec("web"), "starting")).toBeLessThanOrEqual(4_000);
    expect(await judgedAfterMs(slow(100, 60_000), "running")).toBeLessThanOrEqual(500);
    expect(await judgedAfterMs(slow(100, 60_000), "failed")).toBeLessThanOrEqual(500);
  });
});
