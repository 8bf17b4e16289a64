import { DriverError, SkepError } from "@skep/core";
import { describe, expect, test } from "vitest";
import { deploy, mutate, newId, rig, specOf, target, teardown } from "./kit/executor-kit.ts";
import { MemoryJournal } from "./kit/memory-journal.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

const refused = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.then(() => undefined, (reason: unknown) => reason);
  if (!(error instanceof SkepError)) throw new Error("it was not refused", { cause: error });
  return error.code;
};

describe("taking jobs", () => {
  test("a job is durable before it is accepted, runs once, and its outcome waits in the outbox", async () => {
    const { executor, driver, journal, idle } = await rig();
    const at = target();
    const command = deploy(at, 1, specOf("web"));
    const reply = await executor.admit(command);
    expect(reply).toMatchObject({ status: "accepted", duplicate: false, job_status: "accepted", op_seq: 1 });
    expect(journal.survivors().some((record) => record.kind === "accepted")).toBe(true);
    await idle();
    expect(driver.running()).toEqual(["web@1"]);
    expect(executor.deltas(10)).toMatchObject([{ job_id: command.job_id, status: "succeeded", generation: 1 }]);
    expect(executor.inventory().jobs).toMatchObject([{ job_id: command.job_id, status: "succeeded" }]);
    await executor.ack([{ delta_id: executor.deltas(1)[0]!.delta_id, result: "applied" }]);
    expect(executor.deltas(10)).toEqual([]);
    expect(executor.inventory().jobs).toEqual([]);
    expect(executor.job(command.job_id)?.status).toBe("succeeded");
  });

  test("forty deliveries of one job at once make one run; without the rule they do not (control)", async () => {
    const at = target();
    const command = deploy(at, 1, specOf("web"));
    const { executor, driver, idle } = await rig();
    const replies = await Promise.all(Array.from({ length: 40 }, () => executor.admit(command)));
    await idle();
    expect(replies.filter((reply) => !reply.duplicate)).toHaveLength(1);
    expect(driver.calls.filter((call) => call.startsWith("start"))).toHaveLength(1);

    const control = await rig({ policy: { jobDedupe: false } });
    await control.executor.admit(command);
    await control.idle();
    expect((await control.executor.admit(command)).duplicate).toBe(false);
  });

  test("what cannot be written is not accepted, not run and not remembered", async () => {
    const { executor, driver, journal, idle } = await rig();
    const command = deploy(target(), 1, specOf("web"));
    journal.failing = "ENOSPC";
    expect(await refused(executor.admit(command))).toBe("disk_full");
    await idle();
    expect(driver.calls).toEqual([]);
    expect(executor.job(command.job_id)).toBeUndefined();
    journal.failing = undefined;
    expect((await executor.admit(command)).duplicate).toBe(false);
    await idle();
    expect(driver.running()).toEqual(["web@1"]);
  });

  test("an inventory never vouches for a record that is still being written", async () => {
    const { executor, journal } = await rig();
    const append = journal.append.bind(journal);
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    journal.append = async (records, options) => (await gate, append(records, options));
    const command = deploy(target(), 1, specOf("web"));
    const accepting = executor.admit(command);
    await Promise.resolve();
    expect(executor.inventory()).toEqual({ jobs: [], op_seq: 0 });
    open();
    const { op_seq: opSeq } = await accepting;
    expect(executor.inventory().op_seq).toBe(opSeq);
    expect(executor.inventory().jobs).toHaveLength(1);
  });

  test("older generations and epochs are refused, by what ran here and by the master's floors; a retry is not", async () => {
    const { executor, idle } = await rig();
    const at = target();
    await executor.admit(deploy(at, 3, specOf("web")));
    await idle();
    expect(await refused(executor.admit(deploy(at, 2, specOf("web"))))).toBe("stale_generation");
    expect(await refused(executor.admit(teardown(at, 2)))).toBe("stale_generation");
    await executor.admit(deploy(at, 3, specOf("web")));
    await executor.applyFloors([{ placementId: at.placement_id, epoch: 4, generation: 9 }]);
    expect(await refused(executor.admit(deploy({ ...at, epoch: 3 }, 9, specOf("web"))))).toBe("stale_epoch");
    executor.setSession(5);
    expect(await refused(executor.admit(deploy({ ...at, epoch: 4 }, 9, specOf("web"), { session_epoch: 4 })))).toBe("session_stale");

    const control = await rig({ policy: { generationCheck: false } });
    await control.executor.admit(deploy(at, 3, specOf("web")));
    await control.idle();
    expect((await control.executor.admit(deploy(at, 2, specOf("web")))).duplicate).toBe(false);
  });

  test("final refusals: a wrong hash, a foreign driver, an unknown component, a foreign base", async () => {
    const { executor, idle } = await rig();
    const at = target();
    expect(await refused(executor.admit(deploy(at, 1, specOf("web"), { spec_hash: "0".repeat(64) })))).toBe("spec_hash_mismatch");
    expect(await refused(executor.admit(deploy(at, 1, { ...specOf("web"), driver: "process" })))).toBe("spec_refused");
    expect(await refused(executor.admit(mutate(at, 2, 1, specOf("web"))))).toBe("no_active_deployment");
    await executor.admit(deploy(at, 1, specOf("web")));
    await idle();
    expect(await refused(executor.admit(mutate(at, 6, 5, specOf("web"))))).toBe("generation_conflict");
    expect(await refused(executor.admit(mutate(at, 2, 1, specOf("web"), { components: ["db"] })))).toBe("unknown_component");
  });

  test("busy only when the queue of 32 is full; two run at once, one per placement, in order", async () => {
    const { executor, driver, idle } = await rig();
    const gate = driver.gate("start");
    const first = target();
    const commands = [deploy(first, 1, specOf("web")), deploy(first, 2, specOf({ name: "web", version: "2" })), deploy(target(), 1, specOf("web")), ...Array.from({ length: 31 }, () => deploy(target(), 1, specOf("web")))];
    await executor.admit(commands[0]!);
    await idle();
    for (const command of commands.slice(1)) await executor.admit(command);
    await idle();
    expect(driver.calls.filter((call) => call.startsWith("start"))).toHaveLength(2);
    expect(executor.job(commands[1]!.job_id)?.status).toBe("accepted");
    expect(await refused(executor.admit(deploy(target(), 1, specOf("web"))))).toBe("busy");
    gate.open();
    await idle();
    await idle();
    expect(executor.inventory().jobs?.every((job) => job.status !== "accepted" && job.status !== "running")).toBe(true);
    expect(driver.running()).toHaveLength(33);
    expect(driver.running()).toContain("web@2");
  });

  test("a refusal of an offered job becomes a failed job that the master hears of", async () => {
    const { executor } = await rig();
    const command = deploy(target(), 7, specOf("web"));
    await executor.recordRefusal(command, "stale_generation", "generation 7 is below 9");
    expect(executor.deltas(5)).toMatchObject([{ status: "failed", error_code: "rejected:stale_generation" }]);
    expect((await executor.admit(command)).job_status).toBe("failed");
  });
});

describe("running jobs", () => {
  test("only what differs is touched, in the order of its dependencies", async () => {
    const { executor, driver, idle } = await rig();
    const at = target();
    await executor.admit(deploy(at, 1, specOf({ name: "web", depends_on: ["db"] }, "db", "old")));
    await idle();
    expect(driver.calls.filter((call) => call.startsWith("start"))).toEqual(["start db@1", "start old@1", "start web@1"]);
    driver.calls.length = 0;
    await executor.admit(deploy(at, 2, specOf({ name: "web", depends_on: ["db"], version: "2" }, "db", "new")));
    await idle();
    expect(driver.calls.filter((call) => /start|stop/.test(call))).toEqual(["stop web@1", "stop old@1", "start new@2", "start web@2"]);
    expect(driver.running()).toEqual(["db@1", "new@2", "web@2"]);
    expect((await executor.snapshot()).placements).toMatchObject([{ generation: 2, state: "running" }]);
  });

  test("a filtered mutate leaves the others alone, and a later plan does not call them changed", async () => {
    const { executor, driver, idle } = await rig();
    const at = target();
    const spec = specOf("web", "db");
    await executor.admit(deploy(at, 1, spec));
    await idle();
    const restarted = { ...spec, restart_count: 1 };
    await executor.admit(mutate(at, 2, 1, restarted, { components: ["web"] }));
    await idle();
    expect(driver.running()).toEqual(["db@1", "web@2"]);
    expect((await executor.snapshot()).placements).toMatchObject([{ generation: 2, state: "running" }]);
    const { plan } = await executor.dryRun(mutate(at, 3, 2, restarted));
    expect(plan).toEqual([{ component: "web", action: "keep" }, { component: "db", action: "keep" }]);
  });

  test("desired stopped stops all and keeps the spec; running again starts it", async () => {
    const { executor, driver, idle } = await rig();
    const at = target();
    const spec = specOf("web", "db");
    await executor.admit(deploy(at, 1, spec));
    await idle();
    await executor.admit(mutate(at, 2, 1, spec, { desired: "stopped" }));
    await idle();
    expect(driver.running()).toEqual([]);
    expect((await executor.snapshot()).placements).toMatchObject([{ generation: 2, state: "stopped" }]);
    await executor.admit(mutate(at, 3, 2, spec));
    await idle();
    expect(driver.running()).toEqual(["db@3", "web@3"]);
  });

  test("a dry run leaves no trace", async () => {
    const { executor, driver, journal } = await rig();
    const reply = await executor.dryRun(deploy(target(), 1, specOf("web")));
    expect(reply).toEqual({ status: "dry_run", plan: [{ component: "web", action: "create" }], warnings: [] });
    expect(journal.records).toEqual([]);
    expect(driver.calls).toEqual([]);
    expect(executor.inventory()).toEqual({ jobs: [], op_seq: 0 });
    expect(await refused(executor.dryRun(mutate(target(), 2, 1, specOf("web"))))).toBe("no_active_deployment");
  });

  test("nothing old is stopped when something new cannot be prepared", async () => {
    const { executor, driver, idle } = await rig();
    const at = target();
    await executor.admit(deploy(at, 1, specOf("web")));
    await idle();
    driver.on("prepare", () => { throw new DriverError("program_not_found", "no such program"); });
    await executor.admit(deploy(at, 2, specOf({ name: "web", version: "2" })));
    await idle();
    expect(driver.calls.some((call) => call.startsWith("stop"))).toBe(false);
    expect(driver.running()).toEqual(["web@1"]);
    expect(executor.deltas(9).at(-1)).toMatchObject({ status: "failed", error_code: "program_not_found" });
  });

  test("a job that fails is undone: none of its own generation runs, the old one is back, the table is unchanged", async () => {
    const { executor, driver, idle } = await rig();
    const at = target();
    await executor.admit(deploy(at, 1, specOf("web", "db")));
    await idle();
    driver.on("wait web@2", () => { throw new DriverError("exited_early", "it died"); });
    const command = deploy(at, 2, specOf({ name: "web", version: "2" }, { name: "db", version: "2" }));
    await executor.admit(command);
    await idle();
    expect(driver.running()).toEqual(["db@1", "web@1"]);
    expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: "exited_early", error: "it died" });
    expect(executor.job(command.job_id)?.steps?.map((one) => one.name)).toContain("restore web");
    expect((await executor.snapshot()).placements).toMatchObject([{ generation: 1, state: "running" }]);
    expect((await executor.admit(mutate(at, 3, 1, specOf("web", "db")))).duplicate).toBe(false);
  });

  test("when the undoing fails too, the row says so", async () => {
    const { executor, driver, idle } = await rig();
    const at = target();
    await executor.admit(deploy(at, 1, specOf("web")));
    await idle();
    driver.on("wait web@2", () => { throw new DriverError("exited_early", "it died"); });
    driver.on("stop web@2", () => { throw new DriverError("stop_failed", "it will not die"); });
    const command = deploy(at, 2, specOf({ name: "web", version: "2" }));
    await executor.admit(command);
    await idle();
    expect(driver.running()).toEqual(["web@2"]);
    const job = executor.job(command.job_id)!;
    expect(job.status).toBe("failed");
    expect(job.error).toContain("could not undo start web");
    expect(job.steps?.find((one) => one.name === "undo start web")?.ok).toBe(false);
    expect((await executor.snapshot()).placements).toMatchObject([{ generation: 1, state: "degraded" }]);
  });

  test("a hung driver costs its own job only, and ends at the job's limit", async () => {
    const { executor, driver, clock, idle } = await rig();
    driver.on("start bad", () => new Promise(() => {}));
    const bad = deploy(target(), 1, specOf("bad"), { timeout_s: 30 });
    await executor.admit(bad);
    const good = [deploy(target(), 1, specOf("web")), deploy(target(), 1, specOf("web"))];
    for (const command of good) await executor.admit(command);
    await idle();
    for (const command of good) expect(executor.job(command.job_id)?.status).toBe("succeeded");
    expect(executor.job(bad.job_id)?.status).toBe("running");
    await clock.run(60_000);
    await idle();
    expect(executor.job(bad.job_id)).toMatchObject({ status: "failed", error_code: "timeout" });
  });

  test("teardown removes everything that carries the label, and an unknown placement is gone already", async () => {
    const { executor, driver, idle } = await rig();
    const at = target();
    await executor.admit(deploy(at, 1, specOf("web")));
    await idle();
    const stray = { placementId: at.placement_id, deployment: "web", component: "stray", jobId: newId(), generation: 0, epoch: 0, componentHash: "x" };
    driver.components.set(ScriptedDriver.key(stray), { labels: stray, state: "running" });
    const command = teardown(at, 2);
    await executor.admit(command);
    await idle();
    expect([...driver.components]).toEqual([]);
    expect(executor.job(command.job_id)?.status).toBe("succeeded");
    expect((await executor.snapshot()).placements).toEqual([]);
    const nothing = teardown(target(), 1);
    await executor.admit(nothing);
    await idle();
    expect(executor.job(nothing.job_id)?.status).toBe("succeeded");
  });

  test("teardown stops at the first failure, goes on with force, and never claims what it still sees running", async () => {
    for (const force of [false, true]) {
      const { executor, driver, idle } = await rig();
      const at = target();
      await executor.admit(deploy(at, 1, specOf("web", "db")));
      await idle();
      driver.on("stop db", () => { throw new DriverError("stop_failed", "no"); });
      const command = teardown(at, 2, { force });
      await executor.admit(command);
      await idle();
      expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: force ? "still_running" : "stop_failed" });
      expect(driver.running()).toEqual(force ? ["db@1"] : ["db@1", "web@1"]);
      expect((await executor.snapshot()).placements).toMatchObject([{ state: force ? "degraded" : "running" }]);
    }
  });
});

describe("cancelling", () => {
  test("an unknown job is sealed: its later delivery is answered with the tombstone", async () => {
    const { executor, driver, journal, idle } = await rig();
    const command = deploy(target(), 1, specOf("web"));
    expect(await executor.cancel(command.job_id, { reason: "operator", placement_id: command.placement_id, deployment: "web", operation: "deploy", generation: 1, epoch: 1 })).toMatchObject({ status: "cancelled" });
    expect(journal.survivors().map((record) => record.kind)).toEqual(["tombstone"]);
    expect(await executor.admit(command)).toMatchObject({ duplicate: true, job_status: "cancelled" });
    await idle();
    expect(driver.calls).toEqual([]);
    expect(executor.deltas(3)).toMatchObject([{ status: "cancelled" }]);

    const again = await rig({ journal: new MemoryJournal(journal.survivors()) });
    expect(await again.executor.admit(command)).toMatchObject({ duplicate: true, job_status: "cancelled" });
  });

  test("a queued job is cancelled at once, a running one once it is undone, an ended one not at all", async () => {
    const { executor, driver, idle } = await rig();
    const at = target();
    const gate = driver.gate("wait");
    const running = deploy(at, 1, specOf("web"));
    const queued = deploy(at, 2, specOf({ name: "web", version: "2" }));
    await executor.admit(running);
    await idle();
    await executor.admit(queued);
    await idle();
    expect(await executor.cancel(queued.job_id, { reason: "absent" })).toMatchObject({ status: "accepted" });
    expect(await executor.cancel(queued.job_id, { reason: "operator" })).toMatchObject({ status: "cancelled" });
    expect(await executor.cancel(running.job_id, { reason: "absent" })).toMatchObject({ status: "running" });
    expect(driver.running()).toEqual(["web@1"]);
    expect(await executor.cancel(running.job_id, { reason: "operator" })).toMatchObject({ status: "cancelling" });
    await idle();
    expect(executor.job(running.job_id)?.status).toBe("cancelled");
    expect(driver.running()).toEqual([]);
    gate.open();
    const ended = deploy(at, 3, specOf("web"));
    await executor.admit(ended);
    await idle();
    expect(await executor.cancel(ended.job_id, { reason: "operator" })).toMatchObject({ status: "succeeded" });
    expect(driver.running()).toEqual(["web@3"]);
  });
});

describe("observing", () => {
  test("a driver that cannot look makes placements null, never empty", async () => {
    const { executor, driver, idle } = await rig();
    await executor.admit(deploy(target(), 1, specOf("web")));
    await idle();
    driver.on("observe", () => { throw new Error("the socket is gone"); });
    expect(await executor.snapshot()).toMatchObject({ placements: null, observed_error: "the socket is gone" });
  });

  test("what the journal knows and nobody runs is reported as failed, not forgotten", async () => {
    const { executor, driver, idle } = await rig();
    await executor.admit(deploy(target(), 1, specOf("web")));
    await idle();
    driver.components.clear();
    expect((await executor.snapshot()).placements).toMatchObject([{ state: "failed", components: [{ name: "web", state: "failed" }] }]);
  });
});

describe("leaving", () => {
  test("a stop undoes nothing and says nothing; workloads stop only when that is asked for, and none starts behind it", async () => {
    const { executor, driver, idle, journal } = await rig();
    await executor.admit(deploy(target(), 1, specOf("web")));
    await idle();
    const gate = driver.gate("start slow");
    const command = deploy(target(), 1, specOf("slow"));
    await executor.admit(command);
    await idle();
    executor.stop();
    expect(await refused(executor.admit(deploy(target(), 1, specOf("web"))))).toBe("agent_draining");
    expect(driver.running()).toEqual(["web@1"]);
    expect(await executor.stopWorkloads()).toEqual([]);
    gate.open();
    await idle();
    expect(driver.running()).toEqual([]);
    expect(journal.records.some((record) => record.kind === "ended" && record.jobId === command.job_id)).toBe(false);
  });

  test("a component that died while the others were waited for makes the deploy fail", async () => {
    const { executor, driver, idle } = await rig();
    driver.on("wait db", () => {
      for (const one of driver.components.values()) if (one.labels.component === "web") one.state = "failed";
    });
    const command = deploy(target(), 1, specOf("web", { name: "db", depends_on: ["web"] }));
    await executor.admit(command);
    await idle();
    expect(executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: "exited_early" });
    expect(driver.running()).toEqual([]);
  });
});

describe("a full disk in the middle", () => {
  test("an outcome is told once it is written, and not before; nothing is begun that cannot be written down", async () => {
    const { executor, driver, journal, clock, idle } = await rig();
    const gate = driver.gate("wait");
    const ending = deploy(target(), 1, specOf("web"));
    await executor.admit(ending);
    await idle();
    journal.failing = "ENOSPC";
    gate.open();
    await idle();
    expect(executor.job(ending.job_id)?.status).toBe("running");
    expect(executor.deltas(9).map((delta) => delta.status)).toEqual(["running"]);
    journal.failing = undefined;
    await clock.run(2_000);
    await idle();
    expect(executor.job(ending.job_id)?.status).toBe("succeeded");

    const append = journal.append.bind(journal);
    journal.append = async (records, options) => {
      if (records.some((record) => record.kind === "begun")) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
      return append(records, options);
    };
    driver.calls.length = 0;
    const beginning = deploy(target(), 1, specOf("web"));
    await executor.admit(beginning);
    await clock.run(5_000);
    await executor.cancel(beginning.job_id, { reason: "operator" });
    await clock.run(1_000);
    await idle();
    expect(driver.calls).toEqual([]);
    expect(executor.job(beginning.job_id)?.status).toBe("cancelled");
  });
});
