/** The executor on a real engine: start_first with two of one name, and an engine that hangs or is killed in the middle. */
import { NO_ALLOWANCES, PRODUCTION_POLICY, type ComponentSpec, type Spec } from "@skep/core";
import { createLogger, specHash, systemClock, systemRng } from "@skep/runtime";
import { eventually, startEngine, type Engine } from "@skep/testkit";
import { noEngine } from "@skep/testkit/vitest";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createExecutor } from "../src/executor/create-executor.ts";
import type { Executor } from "../src/executor/types.ts";
import { containerSpec, createDockerWorld, FOREVER, IMAGE, specOf, type DockerWorld } from "./drivers/docker-world.ts";
import { deploy, mutate, newId, specOf as noopSpec, target, teardown, type Target } from "./kit/executor-kit.ts";
import { MemoryJournal } from "./kit/memory-journal.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

const LONG_MS = 120_000;

async function startExecutor(world: DockerWorld): Promise<Executor> {
  const executor = createExecutor({
    journal: new MemoryJournal(), drivers: [world.driver, new ScriptedDriver()], clock: systemClock(), rng: systemRng(), logger: createLogger({ level: "silent", name: "test" }),
    policy: PRODUCTION_POLICY, bootId: newId(), hash: specHash, allowed: () => NO_ALLOWANCES, realpath: async (path) => path,
  });
  await executor.load();
  executor.open();
  return executor;
}

const ends = (executor: Executor, jobId: string, status: "succeeded" | "failed" | "cancelled") =>
  eventually((tell) => {
    const job = executor.job(jobId);
    tell(`${job?.status} ${job?.phase ?? ""} ${job?.error ?? ""} ${JSON.stringify(job?.steps?.at(-1))}`);
    return job?.status === status ? job : undefined;
  }, { what: `the job's end as ${status}`, timeoutMs: LONG_MS });
const waits = (executor: Executor, jobId: string) =>
  eventually((tell) => {
    const job = executor.job(jobId);
    tell(`${job?.status} ${job?.phase ?? ""}`);
    return job?.phase === "waiting for the docker engine";
  }, { what: "the job to wait for the engine", timeoutMs: LONG_MS });

describe.skipIf(noEngine())("the executor on a real engine", () => {
  // Its own: no other file's tests may meet an engine that hangs.
  let engine: Engine;
  beforeAll(async () => {
    engine = await startEngine();
    await engine.image(IMAGE);
  }, LONG_MS);
  afterAll(() => engine?.stop(), LONG_MS);
  const idsOf = async (at: Target): Promise<string[]> => {
    const filters = JSON.stringify({ label: [`skep.placement=${at.placement_id}`] });
    return (await engine.ask<{ Id: string }[]>("GET", `/containers/json?all=1&filters=${encodeURIComponent(filters)}`)).map(({ Id }) => Id);
  };
  const withOrder = (component: ComponentSpec): Spec => ({ ...specOf(component), update_order: "start_first" });

  test("start_first: the old container is not touched by a failure, and gone after a success", async () => {
    const executor = await startExecutor(createDockerWorld(engine));
    const at = target();
    const first = deploy(at, 1, withOrder(containerSpec()));
    await executor.admit(first);
    await ends(executor, first.job_id, "succeeded");
    const [old] = await idsOf(at);

    // Its probe never passes, so that a slow machine cannot take it for running before its end is seen.
    const probe = { type: "exec", command: ["false"], interval_ms: 200, timeout_ms: 20_000, success_threshold: 1, failure_threshold: 1_000 } as const;
    const bad = mutate(at, 2, 1, withOrder(containerSpec(["sh", "-c", "exit 3"], { probe })));
    await executor.admit(bad);
    await ends(executor, bad.job_id, "failed");
    expect(await idsOf(at)).toEqual([old]);
    expect((await executor.snapshot()).placements).toMatchObject([{ generation: 1, state: "running", components: [{ state: "running" }] }]);

    const good = mutate(at, 3, 1, withOrder(containerSpec(FOREVER, { env: { A: "3" } })));
    await executor.admit(good);
    const steps = (await ends(executor, good.job_id, "succeeded")).steps!.map((one) => one.name);
    expect(steps.indexOf("wait web")).toBeLessThan(steps.indexOf("stop web"));
    const now = await idsOf(at);
    expect(now).toHaveLength(1);
    expect(now).not.toEqual([old]);

    const last = teardown(at, 4, { remove_volumes: true });
    await executor.admit(last);
    await ends(executor, last.job_id, "succeeded");
    expect(await engine.labelled(`skep.placement=${at.placement_id}`)).toEqual({ containers: [], networks: [], volumes: [] });
  }, LONG_MS);

  test("what somebody changes or removes by hand is seen at once, said in words, and put right by the same deploy", async () => {
    const executor = await startExecutor(createDockerWorld(engine));
    let changes = 0;
    executor.onChange(() => (changes += 1));
    const at = target();
    const spec = specOf(containerSpec());
    const once = async (): Promise<void> => {
      const command = deploy(at, 1, spec);
      await executor.admit(command);
      await ends(executor, command.job_id, "succeeded");
    };
    const placement = async () => (await executor.snapshot()).placements?.find((one) => one.placement_id === at.placement_id);
    await once();
    const [id] = await idsOf(at);
    changes = 0;
    await engine.call("POST", `/containers/${id}/update`, { body: { Memory: 67_108_864, MemorySwap: 134_217_728 } });
    await eventually(() => changes > 0, { what: "the change to be noticed", timeoutMs: LONG_MS });
    expect(await placement()).toMatchObject({ state: "degraded", components: [{ name: "web", state: "running", drift: ["memory limit is 64 MiB instead of unlimited"] }] });
    await once();
    expect(await idsOf(at)).not.toEqual([id]);
    expect(await placement()).toMatchObject({ state: "running" });

    changes = 0;
    await engine.call("DELETE", `/containers/${(await idsOf(at))[0]}?force=1`);
    await eventually(() => changes > 0, { what: "the removal to be noticed", timeoutMs: LONG_MS });
    expect(await placement()).toMatchObject({ state: "failed", components: [{ name: "web", state: "failed" }] });
    await once();
    expect(await placement()).toMatchObject({ state: "running" });
  }, LONG_MS);

  test("an engine that hangs fails nothing: another driver's job goes on, a cancelled one ends when it is seen to have ended", async () => {
    const executor = await startExecutor(createDockerWorld(engine));
    const [at, cancelledAt] = [target(), target()];
    const first = deploy(at, 1, specOf(containerSpec()));
    await executor.admit(first);
    await ends(executor, first.job_id, "succeeded");
    // One that is on its way to being healthy when the engine stops answering.
    const never = deploy(cancelledAt, 1, specOf(containerSpec(FOREVER, { probe: { type: "exec", command: ["false"], interval_ms: 200, timeout_ms: 1_000, success_threshold: 1, failure_threshold: 1_000 } })), { timeout_s: 600 });
    await executor.admit(never);
    await eventually(() => executor.job(never.job_id)?.phase === "healthy", { what: "the container to be started", timeoutMs: LONG_MS });
    engine.pause();
    try {
      const change = mutate(at, 2, 1, specOf(containerSpec(FOREVER, { env: { A: "2" } })), { timeout_s: 600 });
      await executor.admit(change);
      await executor.cancel(never.job_id, { reason: "operator" });
      const other = deploy(target(), 1, noopSpec("web"));
      await executor.admit(other);
      await ends(executor, other.job_id, "succeeded");
      await waits(executor, never.job_id);
      await waits(executor, change.job_id);
      expect(executor.job(never.job_id)?.status).toBe("running");
      engine.resume();
      await ends(executor, never.job_id, "cancelled");
      await ends(executor, change.job_id, "succeeded");
    } finally {
      engine.resume();
    }
    expect(await idsOf(cancelledAt)).toEqual([]);
    expect(await idsOf(at)).toHaveLength(1);
    expect((await executor.snapshot()).placements?.find((one) => one.placement_id === at.placement_id)).toMatchObject({ state: "running", generation: 2 });
  }, LONG_MS * 2);

  test("an engine that is killed in the middle: the job waits for the next one and ends there", async () => {
    const executor = await startExecutor(createDockerWorld(engine));
    const [at, before] = [target(), target()];
    const first = deploy(before, 1, specOf(containerSpec()));
    await executor.admit(first);
    await ends(executor, first.job_id, "succeeded");
    await engine.kill();
    const command = deploy(at, 1, specOf(containerSpec()), { timeout_s: 600 });
    await executor.admit(command);
    await waits(executor, command.job_id);
    const seen = await executor.snapshot(5_000);
    expect(seen.observed_error).toContain("docker");
    expect(seen.placements?.find((one) => one.placement_id === before.placement_id)).toMatchObject({ state: "unknown", generation: 1 });
    await engine.restart();
    await ends(executor, command.job_id, "succeeded");
    expect(await idsOf(at)).toHaveLength(1);
  }, LONG_MS * 2);
});
