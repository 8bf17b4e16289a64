/** Lifecycle rows: one open row a placement, compare-and-set, and a frozen end. */
import { DISPATCH_DEADLINE_MS, instant, isTerminal, LIFECYCLE_STATUSES, TERMINAL_STATUSES } from "@skep/core";
import type { LifecycleRow, RowChange } from "@skep/core";
import { expect, test } from "vitest";
import type { World } from "./world.ts";
import { newId } from "./world.ts";

export function lifecycleRules(world: () => World): void {
  const cas = (row: LifecycleRow, change: Partial<RowChange>) =>
    world().store.transaction((tx) => tx.casLifecycle({ id: row.id, expectedVersion: row.version, because: "test", ...change }));

  test("a new row is pending, queued and due", async () => {
    const { store } = world();
    const placed = await world().placed();
    const row = await world().row(placed, { operation: "mutate", generation: 2, baseGeneration: 1, epoch: 3, timeoutS: 42, because: "asked for" });
    expect(row).toMatchObject({
      placementId: placed.placementId, deploymentId: placed.deploymentId, hostId: placed.hostId, deployment: placed.name, operation: "mutate", status: "pending", phase: "queued", generation: 2, baseGeneration: 1, epoch: 3,
      timeoutS: 42, because: "asked for", dispatchAttempts: 0, sentAt: undefined, claimExpiresAt: undefined, failureCode: undefined, error: undefined, steps: [],
      retryOf: undefined, runningAt: undefined, completedAt: undefined, cancelReason: undefined,
    });
    expect(row.dispatchDeadline - row.createdAt).toBe(DISPATCH_DEADLINE_MS);
    expect(row.nextDispatchAt).toBeLessThanOrEqual(await store.now());
    expect(await store.findLifecycle(newId())).toBeUndefined();
    expect(await store.findLifecycle("not an id")).toBeUndefined();
  });

  test("a row keeps the span that opened it, through every change, and takes nothing that is none", async () => {
    const traceparent = `00-${"a1".repeat(16)}-${"b2".repeat(8)}-01`;
    const row = await world().row(await world().placed(), { traceparent });
    expect(row.traceparent).toBe(traceparent);
    expect((await cas(row, { status: "succeeded" }))?.traceparent).toBe(traceparent);
    expect((await world().row(await world().placed())).traceparent).toBeUndefined();
    expect((await world().row(await world().placed(), { traceparent: "00-not-one-01" })).traceparent).toBeUndefined();
  });

  test("a placement has one open row, whatever open state it is in", async () => {
    const { store } = world();
    for (const status of ["pending", "running", "lost"] as const) {
      const placed = await world().placed();
      const row = await world().row(placed);
      if (status !== "pending") await cas(row, { status });
      const second = world().newRow(placed);
      expect(await store.transaction((tx) => tx.insertLifecycle(second))).toBe("operation_in_progress");
      expect(await store.findLifecycle(second.id)).toBeUndefined();
    }
    // The control: an ended row stands in nobody's way.
    const placed = await world().placed();
    const ended = await cas(await world().row(placed), { status: "succeeded" });
    expect(await store.transaction((tx) => tx.insertLifecycle(world().newRow(placed, { retryOf: ended!.id })))).toBe("inserted");
  });

  test("a change applies to the version believed in, once", async () => {
    const row = await world().row(await world().placed());
    const running = (await cas(row, { status: "running", phase: "accepted", acceptedOpSeq: 7, acceptedBootId: "boot", because: "accepted" }))!;
    expect(running).toMatchObject({ status: "running", phase: "accepted", acceptedOpSeq: 7, acceptedBootId: "boot", because: "accepted", version: row.version + 1, completedAt: undefined });
    expect(running.runningAt).toBeDefined();
    expect(await cas(row, { status: "lost" })).toBeUndefined();
    expect(await world().store.findLifecycle(row.id)).toEqual(running);
  });

  test("an ended row is frozen, whatever version is named", async () => {
    for (const status of TERMINAL_STATUSES) {
      const row = await world().row(await world().placed());
      const steps = [{ name: "start", ok: status !== "failed", ms: 12 }];
      const ended = (await cas(row, { status, steps, agentCompletedAt: instant(1_700_000_000_000), ...(status === "failed" ? { failureCode: "agent_error", error: "boom" } : {}) }))!;
      expect(ended).toMatchObject({ status, steps, agentCompletedAt: 1_700_000_000_000, failureCode: status === "failed" ? "agent_error" : undefined, error: status === "failed" ? "boom" : undefined });
      expect(ended.completedAt).toBeDefined();
      for (const to of LIFECYCLE_STATUSES) expect(await cas(ended, { status: to, ...(to === "failed" ? { failureCode: "timeout" } : {}) })).toBeUndefined();
      expect(await world().store.transaction((tx) => tx.requestCancel(row.id, ended.version, "operator"))).toBeUndefined();
      expect(await world().store.findLifecycle(row.id)).toEqual(ended);
    }
  });

  test("a lost row takes the late truth", async () => {
    const row = await world().row(await world().placed());
    const running = (await cas(row, { status: "running" }))!;
    const lost = (await cas(running, { status: "lost" }))!;
    expect(lost.completedAt).toBeUndefined();
    const back = (await cas(lost, { status: "running" }))!;
    expect(back.runningAt).toBe(running.runningAt);
    expect(isTerminal((await cas(back, { status: "succeeded" }))!.status)).toBe(true);
  });

  test("the first reason to cancel stays", async () => {
    const { store } = world();
    const row = await world().row(await world().placed());
    const asked = (await store.transaction((tx) => tx.requestCancel(row.id, row.version, "timeout")))!;
    expect(asked).toMatchObject({ cancelReason: "timeout", status: "pending", version: row.version + 1 });
    expect(await store.transaction((tx) => tx.requestCancel(row.id, row.version, "operator"))).toBeUndefined();
    const again = (await store.transaction((tx) => tx.requestCancel(row.id, asked.version, "operator")))!;
    expect(again).toMatchObject({ cancelReason: "timeout", cancelRequestedAt: asked.cancelRequestedAt });
  });

  test("sent is marked once, for pending rows that nobody cancelled", async () => {
    const { store } = world();
    const [fresh, running, cancelled] = [await world().row(await world().placed()), await world().row(await world().placed()), await world().row(await world().placed())];
    await cas(running, { status: "running" });
    await store.transaction((tx) => tx.requestCancel(cancelled.id, cancelled.version, "operator"));
    const mark = () => store.transaction((tx) => tx.markSent([cancelled.id, running.id, fresh.id]));
    const [sent, ...others] = await mark();
    expect(others).toEqual([]);
    expect(sent).toMatchObject({ id: fresh.id, status: "pending", phase: "sent" });
    expect(sent!.sentAt).toBeDefined();
    // Offered again: the same, and no write that would spoil somebody's compare-and-set.
    expect(await mark()).toEqual([sent]);
    expect(await store.findLifecycle(cancelled.id)).toMatchObject({ sentAt: undefined, phase: "queued" });
  });

  test("progress is noted on running rows, where it moved, and spoils nobody's compare-and-set", async () => {
    const { store } = world();
    const note = (row: LifecycleRow, progress: number, jobPhase?: string) => store.transaction((tx) => tx.noteProgress([{ id: row.id, progress, jobPhase }]));
    const pending = await world().row(await world().placed());
    await note(pending, 1, "prepare");
    expect(await store.findLifecycle(pending.id)).toEqual(pending);

    const running = (await cas(pending, { status: "running" }))!;
    await note(running, 3, "prepare");
    const moved = (await store.findLifecycle(running.id))!;
    expect(moved).toEqual({ ...running, progress: 3, jobPhase: "prepare", progressAt: moved.progressAt });
    expect(moved.progressAt).toBeGreaterThanOrEqual(running.updatedAt);
    // The same again is no progress; another phase alone is none either.
    await note(running, 3, "prepare");
    await note(running, 3, "waiting for the docker engine");
    expect(await store.findLifecycle(running.id)).toEqual({ ...moved, jobPhase: "waiting for the docker engine" });
    // The agent was restarted: it counts from the beginning, and that is news.
    await note(running, 1);
    expect(await store.findLifecycle(running.id)).toMatchObject({ progress: 1, jobPhase: undefined, version: running.version });
    const ended = (await cas(running, { status: "succeeded" }))!;
    expect(ended.status).toBe("succeeded");
    await note(ended, 9, "stop");
    expect(await store.findLifecycle(running.id)).toEqual(ended);
    await store.transaction((tx) => tx.noteProgress([]));
  });

  test("rows are locked in the order of their ids, unknown ones left out", async () => {
    const rows = [await world().row(await world().placed()), await world().row(await world().placed())];
    const locked = await world().store.transaction((tx) => tx.lockLifecycle([rows[1]!.id, newId(), "junk", rows[0]!.id]));
    expect(locked).toEqual(rows);
  });

  test("rows are listed by deployment, host, status, openness and id, from either end", async () => {
    const { store } = world();
    const placed = await world().placed();
    const first = (await cas(await world().row(placed), { status: "cancelled" }))!;
    const second = await world().row(placed, { operation: "teardown" });
    const hostName = (await store.findHost(placed.hostId))!.name;
    const ids = async (query: Omit<Parameters<typeof store.listLifecycle>[0], "limit">, limit = 10) => (await store.listLifecycle({ limit, ...query })).map((row) => row.id);
    expect(await ids({ deployment: placed.name })).toEqual([first.id, second.id]);
    expect(await ids({ deployment: placed.deploymentId, newestFirst: true })).toEqual([second.id, first.id]);
    expect(await ids({ host: hostName, open: true })).toEqual([second.id]);
    expect(await ids({ host: placed.hostId, open: false })).toEqual([first.id]);
    expect(await ids({ deployment: placed.name, status: "cancelled" })).toEqual([first.id]);
    expect(await ids({ ids: [second.id, newId()] })).toEqual([second.id]);
    expect(await ids({ deployment: placed.name }, 1)).toEqual([first.id]);
    expect(await ids({ deployment: placed.name, after: first.id })).toEqual([second.id]);
    expect(await ids({ deployment: placed.name, newestFirst: true, after: second.id })).toEqual([first.id]);
    expect((await store.transaction((tx) => tx.openRowsOf([placed.hostId]))).map((row) => row.id)).toEqual([second.id]);
    expect(await store.transaction((tx) => tx.openRowsOf([]))).toEqual([]);
    expect((await store.transaction((tx) => tx.findOpenByName(placed.hostId, placed.name, "teardown"))).map((row) => row.id)).toEqual([second.id]);
    expect(await store.transaction((tx) => tx.findOpenByName(placed.hostId, placed.name, "deploy"))).toEqual([]);
  });
}
