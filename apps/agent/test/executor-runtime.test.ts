/** A runtime that hangs or is gone costs its own jobs time, nobody else's anything, and no row its truth. */
import { describe, expect, test } from "vitest";
import { deploy, dockerSpec, mutate, rig, specOf, target, teardown, type Rig } from "./kit/executor-kit.ts";
import { MemoryJournal } from "./kit/memory-journal.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

const both = async (options: Parameters<typeof rig>[0] = {}): Promise<Rig & { readonly docker: ScriptedDriver }> => {
  const docker = new ScriptedDriver({ name: "docker", overlaps: true });
  return { ...(await rig({ others: [docker], ...options })), docker };
};

describe("slots", () => {
  test("jobs that hang in one driver keep no other's waiting, and fill no other's queue", async () => {
    const { executor, docker, driver, idle } = await both();
    docker.on("start", () => new Promise(() => {}));
    const hanging = Array.from({ length: 34 }, () => deploy(target(), 1, dockerSpec("web")));
    for (const command of hanging) await executor.admit(command);
    await idle();
    await expect(executor.admit(deploy(target(), 1, dockerSpec("web")))).rejects.toMatchObject({ code: "busy" });
    const command = deploy(target(), 1, specOf("web"));
    await executor.admit(command);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("succeeded");
    expect(driver.running()).toEqual(["web@1"]);
  });

  test("a job that waits for its runtime gives its slot up, and takes one again when the runtime is back", async () => {
    const { executor, docker, clock, idle } = await both();
    const back = docker.goAway();
    const commands = Array.from({ length: 5 }, () => deploy(target(), 1, dockerSpec("web")));
    for (const command of commands) await executor.admit(command);
    await clock.run(5_000);
    await idle();
    expect(commands.map((command) => executor.job(command.job_id)?.phase)).toEqual(Array.from({ length: 5 }, () => "waiting for the docker engine"));
    back();
    let most = 0;
    let now = 0;
    docker.on("prepare", async () => {
      most = Math.max(most, (now += 1));
      await clock.sleep(100);
      now -= 1;
    });
    await clock.run(30_000);
    await idle();
    expect(commands.map((command) => executor.job(command.job_id)?.status)).toEqual(Array.from({ length: 5 }, () => "succeeded"));
    expect(most).toBe(2);
  });
});

describe("an engine that is away", () => {
  test("at any verb it is no failure: the step is tried again, and the deploy succeeds with one start", async () => {
    for (const verb of ["prepare", "start", "wait"] as const) {
      const { executor, docker, clock, idle } = await both();
      let back = (): void => {};
      // The first call only takes the engine away; from then on everything answers as it does.
      docker.on(verb, async () => {
        docker.on(verb, undefined);
        back = docker.goAway();
        await docker.observe();
      });
      const command = deploy(target(), 1, dockerSpec("web"), { timeout_s: 600 });
      await executor.admit(command);
      await clock.run(120_000);
      await idle();
      expect(executor.job(command.job_id), verb).toMatchObject({ status: "running", phase: "waiting for the docker engine" });
      back();
      await clock.run(12_000);
      await idle();
      expect(executor.job(command.job_id), verb).toMatchObject({ status: "succeeded" });
      expect(executor.job(command.job_id)?.steps?.every((one) => one.ok)).toBe(true);
      expect(docker.running()).toEqual(["web@1"]);
    }
  });

  test("its own wake-up ends the pause early", async () => {
    const { executor, docker, clock, idle } = await both();
    const back = docker.goAway();
    const command = deploy(target(), 1, dockerSpec("web"), { timeout_s: 6_000 });
    await executor.admit(command);
    await clock.run(60_000);
    back();
    await clock.run(600);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("succeeded");
  });

  test("a cancel before anything was touched ends at once", async () => {
    const { executor, docker, clock, idle } = await both();
    docker.goAway();
    const command = deploy(target(), 1, dockerSpec("web"));
    await executor.admit(command);
    await clock.run(5_000);
    await executor.cancel(command.job_id, { reason: "operator" });
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("cancelled");
  });

  test("told to stop while something may run, it does not end until that can be seen: by cancel, by its limit, and in the undoing", async () => {
    for (const how of ["cancel", "limit"] as const) {
      const { executor, docker, clock, idle } = await both();
      const at = target();
      await executor.admit(deploy(at, 1, dockerSpec("web")));
      await idle();
      let back = (): void => {};
      docker.on("wait web@2", () => {
        back = docker.goAway();
        return docker.observe().then(() => undefined);
      });
      const command = mutate(at, 2, 1, dockerSpec({ name: "web", version: "2" }), { timeout_s: 60 });
      await executor.admit(command);
      await clock.run(how === "cancel" ? 10_000 : 50_000);
      if (how === "cancel") await executor.cancel(command.job_id, { reason: "operator" });
      await clock.run(3_600_000);
      await idle();
      expect(executor.job(command.job_id), how).toMatchObject({ status: "running", phase: "waiting for the docker engine" });
      back();
      docker.on("wait web@2", undefined);
      await clock.run(12_000);
      await idle();
      expect(executor.job(command.job_id), how).toMatchObject(how === "cancel" ? { status: "cancelled" } : { status: "failed", error_code: "timeout" });
      expect(docker.running()).toEqual(["web@1"]);
    }
  });

  test("a teardown that was told to stop waits for it too, though it has nothing to undo", async () => {
    const { executor, docker, clock, idle } = await both();
    const at = target();
    await executor.admit(deploy(at, 1, dockerSpec("web")));
    await idle();
    let back = (): void => {};
    docker.on("stop", () => {
      back = docker.goAway();
      return docker.observe().then(() => undefined);
    });
    const command = teardown(at, 2);
    await executor.admit(command);
    await clock.run(5_000);
    await executor.cancel(command.job_id, { reason: "operator" });
    await clock.run(600_000);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("running");
    back();
    await clock.run(12_000);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("cancelled");
  });

  test("a rollback waits for it too", async () => {
    const { executor, docker, clock, idle } = await both();
    let back = (): void => {};
    docker.on("stop web@1", () => {
      back = docker.goAway();
      return docker.observe().then(() => undefined);
    });
    docker.on("wait web@1", () => { throw new Error("it died"); });
    const command = deploy(target(), 1, dockerSpec("web"));
    await executor.admit(command);
    await clock.run(600_000);
    await idle();
    expect(executor.job(command.job_id)?.status).toBe("running");
    docker.on("stop web@1", undefined);
    back();
    docker.on("stop web@1", undefined);
    await clock.run(12_000);
    await idle();
    expect(executor.job(command.job_id)).toMatchObject({ status: "failed" });
    expect(docker.running()).toEqual([]);
  });

  test("a verb that hangs in an engine that cannot look is the engine's doing; in one that can, the verb's", async () => {
    for (const blind of [true, false]) {
      const { executor, docker, clock, idle } = await both();
      const at = target();
      await executor.admit(deploy(at, 1, dockerSpec("web")));
      await idle();
      docker.on("stop", () => new Promise(() => {}));
      if (blind) docker.on("observe", undefined);
      const command = teardown(at, 2, { timeout_s: 6_000 });
      await executor.admit(command);
      await idle();
      if (blind) docker.on("observe", () => new Promise(() => {}));
      await clock.run(60_000);
      await idle();
      expect(executor.job(command.job_id)).toMatchObject(blind ? { status: "running", phase: "waiting for the docker engine" } : { status: "failed", error_code: "hung" });
    }
  });

  test("leaving does not wait for it", async () => {
    const { executor, docker, clock, idle, journal } = await both();
    docker.goAway();
    const command = deploy(target(), 1, dockerSpec("web"));
    await executor.admit(command);
    await clock.run(2_000);
    executor.stop();
    let failed: readonly string[] = [];
    const stopping = executor.stopWorkloads().then((list) => (failed = list));
    await clock.run(1_000);
    await stopping;
    await idle();
    expect(failed.join()).toContain("the docker engine");
    expect(journal.records.some((record) => record.kind === "ended")).toBe(false);
  });
});

describe("partial sight", () => {
  test("a blind driver's placements are unknown, never absent; everything else is as seen, and a beat does not wait long", async () => {
    const { executor, docker, clock, idle } = await both();
    const [process, container, left] = [target(), target(), target()];
    await executor.admit(deploy(process, 1, specOf("web")));
    await executor.admit(deploy(container, 1, dockerSpec("web")));
    docker.on("wait bad", () => { throw new Error("it died"); });
    await executor.admit(deploy(left, 3, dockerSpec("bad")));
    await idle();
    const gone = target();
    await executor.admit(deploy(gone, 1, dockerSpec("web")));
    await idle();
    await executor.admit(teardown(gone, 2));
    await idle();
    docker.on("observe", () => new Promise(() => {}));
    const looking = executor.snapshot(400);
    await clock.run(400);
    const first = await looking;
    expect(first.observed_error).toContain("docker");
    const states = new Map(first.placements!.map((placement) => [placement.placement_id, placement]));
    expect(states.get(process.placement_id)?.state).toBe("running");
    expect(states.get(container.placement_id)).toMatchObject({ state: "unknown", generation: 1, components: [] });
    // Its only job failed: nobody can say now that nothing of it is there.
    expect(states.get(left.placement_id)).toMatchObject({ state: "unknown", generation: 3 });
    expect(states.has(gone.placement_id)).toBe(false);
    // The next beat does not wait at all for a look that hangs.
    expect((await executor.snapshot(400)).placements).toHaveLength(3);
  });

  test("jobs and dry runs of other drivers look past it", async () => {
    const { executor, docker, clock, idle } = await both();
    docker.on("observe", () => { throw new Error("no"); });
    const at = target();
    expect(await executor.dryRun(deploy(at, 1, specOf("web")))).toMatchObject({ plan: [{ component: "web", action: "create" }] });
    await expect(executor.dryRun(deploy(at, 1, dockerSpec("web")))).rejects.toMatchObject({ code: "unavailable_observation" });
    const command = deploy(at, 1, specOf("web"));
    await executor.admit(command);
    await idle();
    await executor.admit(teardown(at, 2));
    await idle();
    expect(executor.inventory().jobs?.map((job) => job.status)).toEqual(["succeeded", "succeeded"]);
    // Nobody knows what ran there: then everybody has to be asked.
    const unknown = teardown(target(), 1);
    await executor.admit(unknown);
    await clock.run(1_000);
    expect(executor.job(unknown.job_id)?.phase).toBe("waiting for the docker engine");
  });

  test("after a restart it keeps its own unfinished jobs open and nobody else's; they are settled when it can be seen", async () => {
    const first = await both();
    first.docker.gate("wait");
    first.driver.gate("wait");
    const container = deploy(target(), 1, dockerSpec("web"));
    const process = deploy(target(), 1, specOf("web"));
    await first.executor.admit(container);
    await first.executor.admit(process);
    await first.idle();
    const docker = new ScriptedDriver({ name: "docker", overlaps: true });
    const driver = new ScriptedDriver();
    for (const [from, to] of [[first.docker, docker], [first.driver, driver]] as const) for (const [key, value] of from.components) to.components.set(key, structuredClone(value));
    const back = docker.goAway();
    const second = await rig({ driver, others: [docker], journal: new MemoryJournal(first.journal.survivors()) });
    await second.idle();
    expect(second.executor.phase()).toBe("ready");
    expect(second.executor.job(process.job_id)?.status).toBe("succeeded");
    await second.clock.run(7_200_000);
    expect(second.executor.job(container.job_id)).toMatchObject({ status: "running", phase: "waiting for the docker engine" });
    back();
    await second.clock.run(12_000);
    await second.idle();
    expect(second.executor.job(container.job_id)?.status).toBe("succeeded");
    expect(docker.calls.filter((call) => call.startsWith("start"))).toEqual([]);
  });
});
