/**
 * Who runs when: first come, first served, one job per placement, a few at once for each driver. Invariants: a job
 * leaves the queue exactly once; an outcome is durable before it is told; a full disk delays the telling, never changes
 * the outcome; a job that waits for its runtime holds no slot and keeps its placement.
 */
import { NO_TRACES, SkepError, traceFacts, type Span } from "@skep/core";
import type { Delta, PendingJob } from "@skep/protocol";
import type { Ledger } from "../journal/ledger.ts";
import type { JobEntry } from "../journal/records.ts";
import { deltaOf, type LiveJob } from "./delta.ts";
import type { Eyes } from "./eyes.ts";
import { createLiveRun, type LiveRun } from "./live-run.ts";
import { Halted, JobFailure, type JobOutcome } from "./job-context.ts";
import { runJob } from "./run-job.ts";
import { createRuntimeWatch } from "./runtime-watch.ts";
import { settleLater } from "./settle-later.ts";
import { createSlots } from "./slots.ts";
import type { ExecutorDeps } from "./types.ts";

/** Between tries to write an outcome on a full disk. */
const WRITE_AGAIN_MS = 1_000;

export interface SchedulerDeps extends ExecutorDeps {
  readonly ledger: Ledger;
  readonly eyes: Eyes;
  readonly newId: () => string;
  readonly now: () => string;
  /** The drivers that may hold something of the job's placement. */
  readonly neededBy: (entry: JobEntry) => readonly string[] | "all";
  readonly onDelta: () => void;
  readonly onChange: () => void;
}

export interface Scheduler {
  /** Takes jobs that were accepted before, of which none runs before `start`; `unseen` were begun before a restart and are settled once they can be looked at. */
  hold(jobIds: readonly string[], unseen: readonly string[]): void;
  /** Lets jobs run. */
  start(): void;
  push(jobId: string): void;
  /** How many wait for the slots that this command would work in. */
  queuedWith(command: PendingJob): number;
  /** `cancelled`: it never began, and that is durable. `cancelling`: an outcome will follow. */
  cancel(jobId: string): Promise<"cancelled" | "cancelling">;
  /** What only the run of a job knows; undefined = it does not run. */
  live(jobId: string): LiveJob | undefined;
  runningDeltas(): Delta[];
  forgetRunningDelta(deltaId: string): void;
  halted(): boolean;
  /** No job goes on beyond its present verb. Nothing is undone, nothing is said. */
  stop(): void;
  /** After `stop`: ends the verbs in progress and waits for them, so that nothing starts behind the caller's back. */
  abandon(timeoutMs: number): Promise<void>;
}

export function createScheduler(deps: SchedulerDeps): Scheduler {
  const { ledger, clock, logger, eyes, tracer = NO_TRACES } = deps;
  const { state } = ledger;
  let queue: string[] = [];
  const runs = new Map<string, { readonly live: LiveRun; readonly placementId: string; readonly done: Promise<void> }>();
  const halt = new AbortController();
  const slots = createSlots(deps.maxConcurrentJobs ?? 2, () => pump());
  const watch = createRuntimeWatch(deps.drivers, clock, halt.signal, eyes.canLook);
  let open = false;

  /** Whose slots a job works in. A teardown of what nobody knows has its own. */
  const slotOf = ({ placementId, command }: Pick<JobEntry, "placementId" | "command">): string => (command !== undefined && command.operation !== "teardown" ? command.spec.driver : (state.placements.get(placementId)?.spec.driver ?? "unknown"));

  function pump(): void {
    while (open && !halt.signal.aborted) {
      const busy = new Set([...runs.values()].map((run) => run.placementId));
      const next = queue.map((jobId) => state.jobs.get(jobId)).find((entry) => entry !== undefined && !runs.has(entry.jobId) && !busy.has(entry.placementId) && slots.free(slotOf(entry)));
      if (next === undefined) return;
      queue.splice(queue.indexOf(next.jobId), 1);
      if (next.command !== undefined) launch(next, "job", (live) => runJob(live.context));
    }
  }

  function launch(entry: JobEntry, name: "job" | "settle", work: (live: LiveRun) => Promise<JobOutcome>): void {
    const slot = slotOf(entry);
    slots.take(slot);
    const { jobId: lifecycleId, deployment, operation, generation } = entry;
    const span = tracer.startSpan(name, { parent: entry.traceparent, attributes: { deployment, operation, generation, lifecycleId } });
    const live = createLiveRun({ ...deps, entry, span, slot, slots, watch, halt: halt.signal, writeUntilDone });
    const done = Promise.resolve().then(async () => {
      try {
        const outcome = await work(live);
        await finish(entry.jobId, outcome, live, span);
      } catch (err) {
        span.end(err instanceof Halted ? { attributes: { status: "left" } } : { error: "internal" });
        if (!(err instanceof Halted)) logger.error({ err, jobId: entry.jobId, ...traceFacts(span.traceparent) }, "a job ended without an outcome; it is settled at the next start");
      } finally {
        runs.delete(entry.jobId);
        live.end();
        deps.onChange();
        pump();
      }
    });
    runs.set(entry.jobId, { live, placementId: entry.placementId, done });
  }

  async function finish(jobId: string, outcome: JobOutcome, live: LiveRun, span: Span): Promise<void> {
    const record = { kind: "ended", jobId, at: deps.now(), deltaId: deps.newId(), steps: live.steps.slice(-200), traceparent: span.traceparent, ...outcome } as const;
    deps.failpoint?.("before_ended");
    await writeUntilDone(() => ledger.write([{ ...record, opSeq: ledger.nextSeq() }], { sync: true }), undefined);
    span.end({ attributes: { status: outcome.status }, ...(outcome.status === "succeeded" ? {} : { error: outcome.errorCode ?? outcome.status }) });
    logger.info({ jobId, status: outcome.status, errorCode: outcome.errorCode, error: outcome.error, ...traceFacts(span.traceparent) }, "a job ended");
    deps.onDelta();
  }

  /** Goes on until it is written, the signal aborts (JobFailure) or the process leaves (Halted). */
  async function writeUntilDone(write: () => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      if (halt.signal.aborted) throw new Halted();
      if (signal?.aborted === true) throw new JobFailure("disk_full", "it was not begun: the journal could not be written");
      try {
        return await write();
      } catch (error) {
        if (!(error instanceof SkepError)) throw error;
        await clock.sleep(WRITE_AGAIN_MS, signal ?? halt.signal);
      }
    }
  }

  async function cancel(jobId: string): Promise<"cancelled" | "cancelling"> {
    const run = runs.get(jobId);
    if (run !== undefined) {
      run.live.abort("cancelled");
      return "cancelling";
    }
    const at = queue.indexOf(jobId);
    if (at === -1) return "cancelling";
    // Out of the queue first, so that it cannot start while the cancel is being written.
    queue.splice(at, 1);
    try {
      await ledger.write([{ kind: "ended", opSeq: ledger.nextSeq(), jobId, status: "cancelled", at: deps.now(), deltaId: deps.newId(), steps: [], error: "cancelled before it began", errorCode: "cancelled" }], { sync: true });
    } catch (error) {
      queue.splice(at, 0, jobId);
      pump();
      throw error;
    }
    deps.onDelta();
    return "cancelled";
  }

  return {
    hold: (jobIds, unseen) => {
      for (const jobId of unseen) {
        const entry = state.jobs.get(jobId);
        if (entry !== undefined) launch(entry, "settle", (live) => settleLater(live, entry));
      }
      queue = [...jobIds, ...queue];
      pump();
    },
    start: () => {
      open = true;
      pump();
    },
    push: (jobId) => {
      queue.push(jobId);
      pump();
    },
    queuedWith: (command) => {
      const slot = slotOf({ placementId: command.placement_id, command });
      return queue.filter((jobId) => slotOf(state.jobs.get(jobId)!) === slot).length;
    },
    cancel,
    live: (jobId) => {
      const run = runs.get(jobId)?.live;
      return run === undefined ? undefined : { progress: run.progress(), phase: run.phase() };
    },
    runningDeltas: () => [...runs].flatMap(([jobId, { live }]) => {
      const entry = state.jobs.get(jobId);
      // Superseded by the terminal one as soon as that exists.
      return entry === undefined || entry.status !== "running" || live.delta === undefined || live.delta.forgotten ? [] : [deltaOf(entry, live.delta.id, "running", live.span.traceparent)];
    }),
    forgetRunningDelta: (deltaId) => {
      for (const { live } of runs.values()) if (live.delta?.id === deltaId) live.delta.forgotten = true;
    },
    halted: () => halt.signal.aborted,
    stop: () => {
      open = false;
      halt.abort();
    },
    abandon: async (timeoutMs) => {
      const late = new AbortController();
      for (const { live } of runs.values()) live.abort("cancelled");
      await Promise.race([Promise.all([...runs.values()].map((run) => run.done)), clock.sleep(timeoutMs, late.signal)]);
      late.abort();
    },
  };
}
