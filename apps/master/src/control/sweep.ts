/**
 * The sweep: looks at every open row, asks before it judges, and writes only by compare-and-set, so that two
 * masters sweeping at once are wasteful and harmless. What it decides is in core; here is only the doing.
 */
import {
  NO_TRACES, confirmedCancel, decideAfterAsk, decideSweep, traceFacts, type CancelReason, type DeltaStatus, type Instant, type JobReport, type LifecycleRow,
  type SweepAction, type SweepCase,
} from "@skep/core";
import type { JobView } from "@skep/protocol";
import type { ControlDeps, SweepReason } from "../ports.ts";
import { applyChanges, applyReports } from "./outcome.ts";

const PAGE = 500;
/** Questions under way at once: enough to cross a slow fleet in one interval, few enough not to starve the heartbeats. */
const MAX_CONCURRENT_ASKS = 32;

export interface SweepCounts {
  looked: number;
  changed: number;
  asked: number;
  cancelled: number;
  stale: number;
}

export function createSweep(deps: ControlDeps, listeningSince: () => Instant): { sweepOnce(): Promise<SweepCounts>; cancelNow(item: SweepCase, reason: CancelReason): Promise<void> } {
  const { tracer = NO_TRACES } = deps;
  const apply = async (row: LifecycleRow, action: Extract<SweepAction, { kind: "change" }>, reason: SweepReason, counts: SweepCounts): Promise<void> => {
    const result = await deps.store.transaction((tx) => applyChanges(tx, [{ row, change: action.change, needsDecision: action.needsDecision }]), { pool: "background" });
    counts.changed += result.applied;
    counts.stale += result.stale;
    if (result.applied === 1) deps.observe?.onSweepRow(reason);
    deps.logger.info({ lifecycle_id: row.id, because: action.because, applied: result.applied === 1, ...traceFacts(row.traceparent) }, "sweep changed a row");
  };

  const adopt = async (row: LifecycleRow, job: JobView, counts: SweepCounts, cancelReason?: CancelReason): Promise<void> => {
    const report = reportOf(job);
    if (report === undefined) return;
    const startedAt = deps.clock.now();
    const verdicts = await deps.store.transaction(
      (tx) => applyReports(tx, [{ rowId: row.id, report, hostId: row.hostId, bootId: job.boot_id, actor: "sweep", ...(cancelReason === undefined ? {} : { cancelReason }) }], deps.policy),
      { pool: "background" },
    );
    if (verdicts[0]?.result !== "applied") return;
    counts.changed += 1;
    deps.observe?.onSweepRow(cancelReason ?? "adopted");
    const span = tracer.startSpan("adopt", { parent: row.traceparent, startedAt, attributes: { deployment: row.deployment, operation: row.operation, generation: row.generation, lifecycleId: row.id, status: report.status } });
    span.end();
    deps.logger.info({ lifecycle_id: row.id, status: report.status, ...traceFacts(span.traceparent) }, "sweep took a job's own word for its row");
  };

  const cancel = async (item: SweepCase, reason: CancelReason, counts: SweepCounts): Promise<void> => {
    counts.cancelled += 1;
    let row = item.row;
    // A reason that stops work is on the row before the agent hears of it; sealing an unknown job needs none.
    if (reason !== "absent" && row.cancelReason === undefined) {
      const marked = await deps.store.transaction((tx) => tx.requestCancel(row.id, row.version, reason), { pool: "background" });
      if (marked === undefined) {
        counts.stale += 1;
        return;
      }
      row = marked;
    }
    const answer = await deps.agents.cancel(item.host, row.id, {
      reason, placement_id: row.placementId, operation: row.operation, generation: row.generation, deployment: row.deployment, epoch: row.epoch, traceparent: row.traceparent,
    });
    if (answer.kind === "silent") {
      // The reply to the next heartbeat carries it where the master cannot dial the agent.
      if (reason === "absent" && row.cancelReason === undefined) await deps.store.transaction((tx) => tx.requestCancel(row.id, row.version, reason), { pool: "background" });
      return;
    }
    const { reply } = answer;
    const wanted = row.cancelReason ?? reason;
    // The job's own words, a cancelled one's too: what was the matter until then is in its error and its steps.
    if (reply.job !== undefined) return adopt(row, reply.job, counts, wanted);
    if (reply.status !== "cancelled") return;
    const outcome = confirmedCancel(wanted);
    const because = outcome.failureCode === "swept_unknown" ? "the agent does not know the job and has sealed it" : "the agent confirmed that the job is stopped";
    await apply(row, {
      kind: "change", because, needsDecision: false,
      change: { id: row.id, expectedVersion: row.version, because, releaseClaim: true, status: outcome.status, ...(outcome.failureCode === undefined ? {} : { failureCode: outcome.failureCode }) },
    }, wanted, counts);
  };

  const handle = async (item: SweepCase, now: Instant, counts: SweepCounts): Promise<void> => {
    counts.looked += 1;
    const action = decideSweep({ row: item.row, hostStatus: item.host.status, inventory: item.inventory }, listeningSince(), now, deps.timings, deps.policy);
    switch (action.kind) {
      case "leave":
        return;
      case "change":
        return apply(item.row, action, action.change.failureCode ?? "lost", counts);
      case "cancel":
        return cancel(item, action.reason, counts);
      case "ask": {
        counts.asked += 1;
        const answer = await deps.agents.job(item.host, item.row.id);
        if (answer.kind === "job") return adopt(item.row, answer.job, counts);
        const then = decideAfterAsk(item.row, answer.kind === "unknown" ? { kind: "unknown" } : { kind: "silent", because: answer.because });
        if (then.kind === "cancel") return cancel(item, then.reason, counts);
        return;
      }
    }
  };

  const newCounts = (): SweepCounts => ({ looked: 0, changed: 0, asked: 0, cancelled: 0, stale: 0 });

  return {
    async sweepOnce() {
      const counts = newCounts();
      const startMs = deps.clock.mono();
      let after: string | undefined;
      for (;;) {
        const page = await deps.store.sweepCases(PAGE, after);
        await eachLimited(page.cases, MAX_CONCURRENT_ASKS, (item) => handle(item, page.now, counts));
        if (page.cases.length < PAGE) break;
        after = page.cases.at(-1)?.row.id;
      }
      deps.observe?.onSweep(deps.clock.mono() - startMs);
      return counts;
    },
    cancelNow: (item, reason) => cancel(item, reason, newCounts()),
  };
}

/** A job's own words as a report; `undefined` while it says nothing new. */
export function reportOf(job: JobView): JobReport | undefined {
  const status: DeltaStatus | undefined = job.status === "accepted" ? "running" : job.status;
  const completed = job.completed_at === undefined ? Number.NaN : Date.parse(job.completed_at);
  return {
    status,
    placementId: job.placement_id as NonNullable<JobReport["placementId"]>,
    operation: job.operation,
    generation: job.generation,
    error: job.error,
    errorCode: job.error_code,
    steps: job.steps,
    agentCompletedAt: Number.isNaN(completed) ? undefined : (completed as Instant),
  };
}

/** Runs `work` over the items, at most `limit` at a time. */
export async function eachLimited<T>(items: readonly T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
}
