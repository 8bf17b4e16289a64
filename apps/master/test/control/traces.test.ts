/** Whatever is done for a request, by whichever pass, belongs to its trace; and an agent that knows no traces is served as ever. */
import { PRODUCTION_POLICY, parseTraceparent, seededRng, traceIdOf, uuidv7, type LifecycleRow } from "@skep/core";
import { deployRequest, mutateRequest, type Delta, type PendingJob } from "@skep/protocol";
import { createLogger } from "@skep/runtime";
import { createRecordingTracer, ManualClock, type RecordingTracer } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { traceDeltas } from "../../src/control/trace-deltas.ts";
import { startControl, type Fleet, type Outcome } from "./fleet.ts";

const FIRST = "a".repeat(32);
const SECOND = "b".repeat(32);
const spanOf = (traceId: string): string => `00-${traceId}-${"1".repeat(16)}-01`;
const good = (): Outcome => "succeeded";
const SPEC = { driver: "noop", components: [{ name: "web", env: { V: "1" } }] };

async function traced(count: number): Promise<{ fleet: Fleet; tracer: RecordingTracer; logged: () => Record<string, unknown>[] }> {
  const tracer = createRecordingTracer(seededRng(5));
  const lines: string[] = [];
  const logger = createLogger({ level: "debug", name: "test", destination: { write: (line: string) => void lines.push(line) } });
  return { fleet: await startControl(count, PRODUCTION_POLICY, { tracer, logger }), tracer, logged: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}
const deploy = (fleet: Fleet, traceId: string, rollout: object = {}): Promise<unknown> =>
  fleet.control.deploy(deployRequest.parse({ name: "app", spec: SPEC, placement: { hosts: fleet.hosts }, rollout }), { ...fleet.context(), traceparent: spanOf(traceId) });
const tracesOf = (rows: readonly LifecycleRow[]): (string | undefined)[] => rows.map((row) => traceIdOf(row.traceparent));
const rowsOf = (fleet: Fleet, generation: number): Promise<readonly LifecycleRow[]> => fleet.store.listLifecycle({ limit: 100 }).then((rows) => rows.filter((row) => row.generation === generation));

describe("one trace", () => {
  test("goes from the request's span by the row to the push and, though the agent says nothing of it, to its outcome", async () => {
    const { fleet, tracer } = await traced(1);
    await deploy(fleet, FIRST);
    await fleet.settle(good);
    const [row] = await rowsOf(fleet, 1);
    expect(row!.traceparent).toBe(spanOf(FIRST));
    const dispatch = tracer.ended.find((span) => span.name === "dispatch")!;
    expect(dispatch).toMatchObject({ traceId: FIRST, parentSpanId: "1".repeat(16), attributes: { "skep.deployment": "app", "skep.host": "web-1", "skep.lifecycle_id": row!.id, "skep.status": "accepted" } });
    expect(parseTraceparent(fleet.jobs[0]!.job.traceparent)).toMatchObject({ traceId: FIRST, spanId: dispatch.spanId });
    // The deltas of these hosts carry no traceparent, as an older agent's.
    expect(tracer.ended.find((span) => span.name === "apply delta")).toMatchObject({ traceId: FIRST, parentSpanId: "1".repeat(16), attributes: { "skep.status": "succeeded" } });
  });

  test("has every wave of its rollout, and the way back", async () => {
    const { fleet } = await traced(3);
    await deploy(fleet, FIRST, { max_parallel: 1 });
    await fleet.settle(good);
    await fleet.control.mutate("app", mutateRequest.parse({ env: { V: "2" } }), { ...fleet.context(), traceparent: spanOf(SECOND) });
    await fleet.settle((host: string, job: PendingJob) => (host === "web-3" && "spec" in job && job.spec.components[0]!.env["V"] === "2" ? { error: "no" } : "succeeded"));
    expect(tracesOf(await rowsOf(fleet, 1))).toEqual([FIRST, FIRST, FIRST]);
    expect(tracesOf(await rowsOf(fleet, 2))).toEqual([SECOND, SECOND, SECOND]);
    const back = await rowsOf(fleet, 3);
    expect(back.length).toBeGreaterThan(0);
    expect(new Set(tracesOf(back))).toEqual(new Set([SECOND]));
  });

  test("has what is repaired later, too", async () => {
    const { fleet, tracer } = await traced(1);
    await deploy(fleet, FIRST);
    await fleet.settle(() => ({ error: "not today" }));
    for (let round = 0; round < 4; round++) {
      fleet.clock.advance(60_000);
      await fleet.beat();
      await fleet.control.reconcileOnce();
    }
    const rows = await fleet.store.listLifecycle({ limit: 100 });
    expect(rows.length).toBeGreaterThan(1);
    expect(new Set(tracesOf(rows))).toEqual(new Set([FIRST]));
    expect(tracer.ended.some((span) => span.name === "reconcile" && span.traceId === FIRST)).toBe(true);
  });

  test("is named by every log line about the row, the sweep's too", async () => {
    const { fleet, logged } = await traced(1);
    await deploy(fleet, FIRST);
    await fleet.work(() => undefined);
    for (let round = 0; round < 4; round++) {
      fleet.clock.advance(300_000);
      await fleet.beat();
      await fleet.control.sweepOnce();
    }
    const [row] = await rowsOf(fleet, 1);
    expect(row).toMatchObject({ status: "failed", failureCode: "timeout" });
    const about = logged().filter((line) => line["lifecycle_id"] === row!.id);
    expect(about.map((line) => line["msg"])).toEqual(expect.arrayContaining(["a job was handed to its agent", "sweep changed a row"]));
    expect(about.filter((line) => line["trace_id"] !== FIRST)).toEqual([]);
  });

  test("is the same in what is offered with a beat's reply", async () => {
    const { fleet, tracer } = await traced(1);
    await deploy(fleet, FIRST);
    const [host] = await fleet.store.listHosts({ limit: 1 });
    const reply = fleet.control.beat(host!.host.id, {
      host_uuid: host!.host.id, agent_version: "1", boot_id: "boot", session_epoch: host!.host.sessionEpoch, seq: 99, op_seq: 99, phase: "ready", status: { placements: [] }, jobs: [], lifecycle: [], capabilities: ["noop"],
    });
    while (fleet.clock.sleeping > 0) await fleet.clock.run(5);
    const [job] = (await reply)!.pending_jobs;
    const offer = tracer.ended.find((span) => span.name === "offer")!;
    expect(parseTraceparent(job!.traceparent)).toEqual({ traceId: FIRST, spanId: offer.spanId, sampled: true });
    expect(offer.parentSpanId).toBe("1".repeat(16));
  });
});

describe("a delta's word of its trace", () => {
  const clock = new ManualClock();
  const rng = seededRng(9);
  const id = (): string => uuidv7(clock.now(), rng);
  const row = { id: id(), deployment: "app", operation: "deploy", generation: 1, traceparent: spanOf(FIRST) } as LifecycleRow;
  const said = (traceparent: string | undefined): Delta => ({ delta_id: id(), job_id: row.id, placement_id: id(), deployment: "app", operation: "deploy", status: "succeeded", generation: 1, epoch: 1, traceparent });
  const told = (delta: Delta, present: LifecycleRow | undefined, result: "applied" | "duplicate" | "rejected") => {
    const tracer = createRecordingTracer(seededRng(5));
    const lines: string[] = [];
    const logger = createLogger({ level: "info", name: "test", destination: { write: (line: string) => void lines.push(line) } });
    traceDeltas({ tracer, logger }, id() as never, clock.now(), [{ delta, ack: { delta_id: delta.delta_id, result }, row: present }]);
    return { spans: tracer.ended, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
  };

  test("is believed within the row's trace", () => {
    const theirs = `00-${FIRST}-${"2".repeat(16)}-01`;
    const { spans, lines } = told(said(theirs), row, "applied");
    expect(spans).toMatchObject([{ traceId: FIRST, parentSpanId: "2".repeat(16), error: undefined }]);
    expect(lines).toMatchObject([{ trace_id: FIRST, span_id: spans[0]!.spanId, lifecycle_id: row.id, status: "succeeded", result: "applied" }]);
  });

  test("does not move the row into somebody else's", () => {
    const { spans, lines } = told(said(spanOf(SECOND)), row, "rejected");
    expect(spans).toMatchObject([{ traceId: FIRST, error: "rejected" }]);
    expect(lines).toMatchObject([{ trace_id: FIRST }]);
  });

  test("makes no span where nothing was applied, and no line where nothing is new", () => {
    expect(told(said(spanOf(FIRST)), undefined, "duplicate")).toEqual({ spans: [], lines: [] });
  });
});
