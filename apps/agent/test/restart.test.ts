import type { JournalRecord } from "../src/journal/records.ts";
import { describe, expect, test } from "vitest";
import { deploy, mutate, rig, specOf, target, teardown, type Rig } from "./kit/executor-kit.ts";
import { MemoryJournal } from "./kit/memory-journal.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

/** A new agent process over what the old one left: the records that reached the disk, and whatever runs. */
const restart = (old: Rig, records: readonly JournalRecord[] = old.journal.survivors()): Promise<Rig> => {
  const driver = new ScriptedDriver();
  for (const [key, value] of old.driver.components) driver.components.set(key, structuredClone(value));
  return rig({ driver, journal: new MemoryJournal(records) });
};

describe("after a kill", () => {
  test("what was accepted and not begun runs; what was begun is settled by looking and never run again", async () => {
    const at = target();
    const command = deploy(at, 1, specOf("web"));
    const first = await rig();
    const gate = first.driver.gate("wait");
    await first.executor.admit(command);
    await first.idle();
    const accepted = first.journal.survivors().filter((record) => record.kind === "accepted");
    const unbegun = await rig({ journal: new MemoryJournal(accepted) });
    await unbegun.idle();
    expect(unbegun.driver.running()).toEqual(["web@1"]);
    expect(unbegun.executor.job(command.job_id)?.status).toBe("succeeded");

    // It runs: what it wanted has come true.
    const settled = await restart(first);
    expect(settled.executor.job(command.job_id)?.status).toBe("succeeded");
    expect(settled.driver.calls.filter((call) => call.startsWith("start"))).toEqual([]);
    expect((await settled.executor.snapshot()).placements).toMatchObject([{ generation: 1, state: "running" }]);

    // It does not run: interrupted, and nothing is started.
    first.driver.components.clear();
    const lost = await restart(first);
    expect(lost.executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: "interrupted" });
    expect(lost.driver.calls.filter((call) => call.startsWith("start"))).toEqual([]);
    gate.open();
  });

  test("an interrupted job says what it left running", async () => {
    const first = await rig();
    first.driver.gate("start db");
    const command = deploy(target(), 1, specOf("web", { name: "db", depends_on: ["web"] }));
    await first.executor.admit(command);
    await first.idle();
    const second = await restart(first);
    const job = second.executor.job(command.job_id)!;
    expect(job).toMatchObject({ status: "failed", error_code: "interrupted" });
    expect(job.steps?.some((one) => one.name.includes("left running: web"))).toBe(true);
    expect((await second.executor.snapshot()).placements).toMatchObject([{ state: "degraded" }]);
  });

  test("teardown and stop are settled by absence", async () => {
    for (const make of [(at: ReturnType<typeof target>) => teardown(at, 2), (at: ReturnType<typeof target>) => mutate(at, 2, 1, specOf("web"), { desired: "stopped" })]) {
      const at = target();
      const first = await rig();
      await first.executor.admit(deploy(at, 1, specOf("web")));
      await first.idle();
      first.driver.gate("remove");
      first.driver.gate("stop");
      const command = make(at);
      await first.executor.admit(command);
      await first.idle();
      const still = await restart(first);
      expect(still.executor.job(command.job_id)).toMatchObject({ status: "failed", error_code: "interrupted" });
      first.driver.components.clear();
      expect((await restart(first)).executor.job(command.job_id)?.status).toBe("succeeded");
    }
  });

  test("a driver that cannot look keeps the agent booting: it refuses, and does not guess", async () => {
    const first = await rig();
    first.driver.gate("wait");
    const command = deploy(target(), 1, specOf("web"));
    await first.executor.admit(command);
    await first.idle();
    const driver = new ScriptedDriver();
    let blind = true;
    driver.on("observe", () => { if (blind) throw new Error("no"); });
    const second = await rig({ driver, journal: new MemoryJournal(first.journal.survivors()), load: false });
    const loading = second.executor.load();
    await second.idle();
    expect(second.executor.phase()).toBe("booting");
    expect(() => second.executor.job(command.job_id)).toThrow();
    await expect(second.executor.admit(deploy(target(), 1, specOf("web")))).rejects.toMatchObject({ code: "agent_booting" });
    expect(second.executor.inventory().jobs).toBeNull();
    blind = false;
    await second.clock.run(1_000);
    await loading;
    expect(second.executor.job(command.job_id)?.status).toBe("failed");
  });

  test("killed at every record of a long history: no job runs twice, no outcome is taken back, no 202 is forgotten", async () => {
    const at = target();
    const spec2 = specOf({ name: "web", version: "2" }, "db");
    const commands = [deploy(at, 1, specOf("web", "db")), mutate(at, 2, 1, spec2), mutate(at, 3, 2, spec2, { desired: "stopped" }), mutate(at, 4, 3, spec2), teardown(at, 5)];
    const original = await rig();
    // What ran at the moment each record was written.
    const moments: { length: number; components: ScriptedDriver["components"] }[] = [];
    const append = original.journal.append.bind(original.journal);
    original.journal.append = async (records, options) => {
      await append(records, options);
      moments.push({ length: original.journal.records.length, components: structuredClone(original.driver.components) });
    };
    for (const command of commands) {
      await original.executor.admit(command);
      await original.idle();
    }
    const history = original.journal.records;
    expect(moments.length).toBeGreaterThan(20);
    for (const moment of moments) {
      const driver = new ScriptedDriver();
      for (const [key, value] of moment.components) driver.components.set(key, structuredClone(value));
      const left = history.slice(0, moment.length);
      const again = await rig({ driver, journal: new MemoryJournal(left) });
      await again.idle();
      for (const command of commands) {
        const records = left.filter((record) => ("jobId" in record && record.jobId === command.job_id) || (record.kind === "accepted" && record.command.job_id === command.job_id));
        const job = again.executor.job(command.job_id);
        if (records.length === 0) expect(job).toBeUndefined();
        else expect(job, "an accepted job is never forgotten").toBeDefined();
        if (records.some((record) => record.kind === "ended")) expect(job?.status).toBe("succeeded");
        if (records.some((record) => record.kind === "begun")) {
          const started = again.driver.calls.filter((call) => call.startsWith("start") && call.endsWith(`@${command.generation}`));
          expect(started, "a begun job is never run again").toEqual([]);
        }
        if (job !== undefined) expect((await again.executor.admit(command)).duplicate).toBe(true);
      }
    }
  });

  test("without the journal an accepted job is forgotten (control)", async () => {
    const first = await rig({ policy: { journal: false } });
    const command = deploy(target(), 1, specOf("web"));
    await first.executor.admit(command);
    expect((await restart(first)).executor.job(command.job_id)).toBeUndefined();
  });

  test("acknowledged jobs stay answerable, and the memory stays small", async () => {
    const { executor, idle, journal } = await rig();
    const at = target();
    const ids: string[] = [];
    for (let generation = 1; generation <= 450; generation++) {
      const command = deploy(at, generation, specOf("web"));
      ids.push(command.job_id);
      await executor.admit(command);
      await idle();
      await executor.ack(executor.deltas(10).map((delta) => ({ delta_id: delta.delta_id, result: "applied" as const })));
    }
    expect(journal.records.length).toBeLessThan(2_200);
    expect(executor.job(ids.at(-1)!)?.status).toBe("succeeded");
    expect(executor.job(ids.at(-150)!)?.status).toBe("succeeded");
    const again = await rig({ journal: new MemoryJournal(journal.records) });
    expect(again.executor.job(ids.at(-1)!)?.status).toBe("succeeded");
    expect(again.executor.inventory().op_seq).toBe(executor.inventory().op_seq);
  });
});
