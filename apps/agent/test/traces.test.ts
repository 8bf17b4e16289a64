/** The agent's part of a trace: from the job's body through the journal to the delta, whatever dies in between. */
import { DriverError, seededRng } from "@skep/core";
import { pendingJob, type Delta } from "@skep/protocol";
import { createLogger } from "@skep/runtime";
import { createRecordingTracer, type RecordingTracer } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import type { JournalRecord } from "../src/journal/records.ts";
import { applyRecord, emptyState, snapshotOf } from "../src/journal/state.ts";
import { createSendTraces } from "../src/reporter/trace-sends.ts";
import { deploy, newId, rig, specOf, target, type Rig } from "./kit/executor-kit.ts";
import { MemoryJournal } from "./kit/memory-journal.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`;
const ofTrace = (trace: string): RegExp => new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`);
const newTracer = (): RecordingTracer => createRecordingTracer(seededRng(3));
const restart = (old: Rig, tracer: RecordingTracer, records: readonly JournalRecord[] = old.journal.survivors()): Promise<Rig> => {
  const driver = new ScriptedDriver();
  for (const [key, value] of old.driver.components) driver.components.set(key, structuredClone(value));
  return rig({ driver, journal: new MemoryJournal(records), tracer });
};
/** As an agent wrote it that had never heard of traces. */
const untraced = (records: readonly JournalRecord[]): JournalRecord[] => JSON.parse(JSON.stringify(records, (key, value: unknown) => (key === "traceparent" ? undefined : value))) as JournalRecord[];

describe("a job", () => {
  test("is accepted, run step by step and told of in the trace that it came with", async () => {
    const tracer = newTracer();
    const { executor, idle } = await rig({ tracer });
    const command = deploy(target(), 1, specOf("web"), { traceparent: PARENT });
    await executor.admit(command);
    await idle();
    const byName = new Map(tracer.ended.map((span) => [span.name, span]));
    expect(tracer.ended.map((span) => span.name)).toEqual(["accept", "step prepare", "step start", "step healthy", "step look", "job"]);
    expect(new Set(tracer.ended.map((span) => span.traceId))).toEqual(new Set([TRACE]));
    expect(byName.get("accept")).toMatchObject({ parentSpanId: "00f067aa0ba902b7", attributes: { "skep.status": "accepted", "skep.lifecycle_id": command.job_id, "skep.operation": "deploy" } });
    expect(byName.get("job")).toMatchObject({ parentSpanId: byName.get("accept")!.spanId, attributes: { "skep.status": "succeeded" }, error: undefined });
    expect(byName.get("step start")).toMatchObject({ parentSpanId: byName.get("job")!.spanId, attributes: { "skep.component": "web" } });
    expect(executor.deltas(10)).toMatchObject([{ status: "succeeded", traceparent: `00-${TRACE}-${byName.get("job")!.spanId}-01` }]);
  });

  test("that fails says so by its code, and so does the step", async () => {
    const tracer = newTracer();
    const { executor, driver, idle } = await rig({ tracer });
    driver.on("start web", () => {
      throw new DriverError("start_failed", "no");
    });
    await executor.admit(deploy(target(), 1, specOf("web"), { traceparent: PARENT }));
    await idle();
    expect(tracer.ended.find((span) => span.name === "job")!.error).toBe("start_failed");
    expect(tracer.ended.find((span) => span.name === "step start")!.error).toBe("start_failed");
    await expect(executor.admit(deploy(target(), 1, { ...specOf("web"), driver: "docker" }, { traceparent: PARENT }))).rejects.toMatchObject({ code: "spec_refused" });
    expect(tracer.ended.findLast((span) => span.name === "accept")).toMatchObject({ error: "spec_refused", traceId: TRACE });
  });

  test("keeps its trace over a kill, begun or not, and over one after its end", async () => {
    const command = deploy(target(), 1, specOf("web"), { traceparent: PARENT });
    const first = await rig({ tracer: newTracer() });
    const gate = first.driver.gate("wait");
    await first.executor.admit(command);
    await first.idle();
    expect(first.executor.deltas(10)).toMatchObject([{ status: "running", traceparent: expect.stringMatching(ofTrace(TRACE)) as string }]);

    const settling = newTracer();
    const settled = await restart(first, settling);
    expect(settling.ended.map((span) => [span.name, span.traceId])).toEqual([["settle", TRACE]]);
    expect(settled.executor.deltas(10)).toMatchObject([{ status: "succeeded", traceparent: expect.stringMatching(ofTrace(TRACE)) as string }]);

    const running = newTracer();
    const unbegun = await restart(first, running, first.journal.survivors().filter((record) => record.kind === "accepted"));
    await unbegun.idle();
    expect(running.ended.map((span) => span.name)).toContain("job");
    expect(new Set(running.ended.map((span) => span.traceId))).toEqual(new Set([TRACE]));

    const told = await restart(settled, newTracer());
    expect(told.executor.deltas(10)).toEqual(settled.executor.deltas(10));
    gate.open();
  });

  test("of a journal that knows no traces is settled and told as ever", async () => {
    const command = deploy(target(), 1, specOf("web"), { traceparent: PARENT });
    const first = await rig({ tracer: newTracer() });
    const gate = first.driver.gate("wait");
    await first.executor.admit(command);
    await first.idle();
    const old = untraced(first.journal.survivors());
    expect(JSON.stringify(old)).not.toContain(TRACE);
    const settled = await rig({ driver: first.driver, journal: new MemoryJournal(old) });
    expect(settled.executor.deltas(10)).toMatchObject([{ status: "succeeded" }]);
    expect(settled.executor.deltas(10)[0]).not.toHaveProperty("traceparent");
    gate.open();
  });

  test("is taken whatever its traceparent is, and rubbish goes no further", () => {
    const command = deploy(target(), 1, specOf("web"));
    for (const bad of ["rubbish", 7, null, { a: 1 }, "x".repeat(100_000), `00-${"0".repeat(32)}-00f067aa0ba902b7-01`]) expect(pendingJob.parse({ ...command, traceparent: bad }).traceparent).toBeUndefined();
    expect(pendingJob.parse({ ...command, traceparent: PARENT }).traceparent).toBe(PARENT);
    expect(pendingJob.parse({ ...command, traceparent: `01${PARENT.slice(2)}-more` }).traceparent).toBe(PARENT);
    expect(pendingJob.parse(command)).not.toHaveProperty("traceparent");
  });

  test("that was sealed or refused for ever is told of in the asker's trace", async () => {
    const { executor } = await rig({ tracer: newTracer() });
    const at = target();
    await executor.cancel(newId(), { reason: "absent", placement_id: at.placement_id, deployment: at.deployment, operation: "deploy", generation: 1, epoch: 1, traceparent: PARENT });
    await executor.recordRefusal(deploy(target(), 1, specOf("web"), { traceparent: PARENT }), "stale_epoch", "no");
    expect(executor.deltas(10).map((delta) => delta.traceparent)).toEqual([PARENT, PARENT]);
  });

  test("keeps its trace through the journal's compaction", () => {
    const state = emptyState();
    applyRecord(state, { kind: "accepted", opSeq: 1, bootId: "b", at: "2026-01-01T00:00:00.000Z", command: deploy(target(), 1, specOf("web")), traceparent: PARENT });
    const again = emptyState();
    applyRecord(again, JSON.parse(JSON.stringify({ kind: "snapshot", snapshot: snapshotOf(state) })) as JournalRecord);
    expect([...again.jobs.values()].map((job) => job.traceparent)).toEqual([PARENT]);
  });
});

describe("sending", () => {
  const logger = createLogger({ level: "silent", name: "test" });
  const delta = (patch: Partial<Delta> = {}): Delta => ({ delta_id: newId(), job_id: newId(), placement_id: newId(), deployment: "web", operation: "deploy", status: "succeeded", generation: 1, epoch: 1, traceparent: PARENT, ...patch });

  test("is one span from the first beat to the acknowledgement, the same in every beat", () => {
    const tracer = newTracer();
    const sends = createSendTraces({ tracer, logger });
    const one = delta();
    const [first] = sends.sending([one]);
    expect(first!.traceparent).toMatch(ofTrace(TRACE));
    expect(first!.traceparent).not.toBe(PARENT);
    expect(sends.sending([one])).toEqual([first]);
    expect(tracer.ended).toEqual([]);
    sends.acked([{ delta_id: one.delta_id, result: "applied" }, { delta_id: newId(), result: "applied" }]);
    sends.acked([{ delta_id: one.delta_id, result: "applied" }]);
    expect(tracer.ended).toMatchObject([{ name: "send delta", parentSpanId: "00f067aa0ba902b7", attributes: { "skep.code": "applied", "skep.status": "succeeded" }, error: undefined }]);
  });

  test("forgets what was superseded, and leaves alone what has no trace", () => {
    const tracer = newTracer();
    const sends = createSendTraces({ tracer, logger });
    const { traceparent: _none, ...plain } = delta();
    expect(sends.sending([delta({ status: "running" }), plain])[1]).toBe(plain);
    sends.sending([]);
    expect(tracer.ended).toMatchObject([{ name: "send delta", error: "superseded" }]);
  });
});
