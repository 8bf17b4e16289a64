/**
 * Who runs when: first come, first served, one job per placement, a few at once. Invariants: a job leaves the queue
 * exactly once; an outcome is durable before it is told; a full disk delays the telling, never changes the outcome.
 */
import { SkepError, type StepResult } from "@skep/core";
import type { Delta } from "@skep/protocol";
import type { Ledger } from "../journal/ledger.ts";
import type { JobEntry } from "../journal/records.ts";
import { deltaOf } from "./delta.ts";
import type { Eyes } from "./eyes.ts";
import { Halted, JobFailure, type AbortReason, type JobContext, type JobOutcome } from "./job-context.ts";
import { runJob } from "./run-job.ts";
import type { ExecutorDeps } from "./types.ts";

/** Between tries to write an outcome on a full disk. */
const WRITE_AGAIN_MS = 1_000;

export interface SchedulerDeps extends ExecutorDeps {
  readonly ledger: Ledger;
  readonly eyes: Eyes;
  readonly newId: () => string;
  readonly now: () => string;
  readonly onDelta: () => void;
  readonly onChange: () => void;
}

interface Run {
  readonly placementId: string;
  readonly abort: (reason: AbortReason) => void;
  readonly done: Promise<void>;
  delta: { readonly id: string; forgotten: boolean } | undefined;
}

export interface Scheduler {
  /** Lets jobs run, beginning with these. */
  start(jobIds: readonly string[]): void;
  push(jobId: string): void;
  queued(): number;
  /** `cancelled`: it never began, and that is durable. `cancelling`: an outcome will follow. */
  cancel(jobId: string): Promise<"cancelled" | "cancelling">;
  runningDeltas(): Delta[];
  forgetRunningDelta(deltaId: string): void;
  halted(): boolean;
  /** No job goes on beyond its present verb. Nothing is undone, nothing is said. */
  stop(): void;
  /** After `stop`: ends the verbs in progress and waits for them, so that nothing starts behind the caller's back. */
  abandon(timeoutMs: number): Promise<void>;
}

export function createScheduler(deps: SchedulerDeps): Scheduler {
  const { ledger, clock, logger, eyes } = deps;
  const { state } = ledger;
  const maxRuns = deps.maxConcurrentJobs ?? 2;
  let queue: string[] = [];
  const runs = new Map<string, Run>();
  const halt = new AbortController();
  let open = false;

  function pump(): void {
    while (open && !halt.signal.aborted && runs.size < maxRuns) {
      const busy = new Set([...runs.values()].map((run) => run.placementId));
      const next = queue.find((jobId) => !runs.has(jobId) && !busy.has(state.jobs.get(jobId)?.placementId ?? ""));
      if (next === undefined) return;
      queue.splice(queue.indexOf(next), 1);
      const entry = state.jobs.get(next);
      if (entry?.command !== undefined) launch(entry);
    }
  }

  function launch(entry: JobEntry): void {
    const controller = new AbortController();
    let reason: AbortReason | undefined;
    const abort = (why: AbortReason): void => {
      reason ??= why;
      controller.abort();
    };
    const run: Run = { placementId: entry.placementId, abort, delta: undefined, done: Promise.resolve().then(() => work(entry, run, controller, () => reason)) };
    runs.set(entry.jobId, run);
  }

  async function work(entry: JobEntry, run: Run, controller: AbortController, reason: () => AbortReason | undefined): Promise<void> {
    const command = entry.command!;
    const ended = new AbortController();
    const steps: StepResult[] = [];
    void clock.sleep(command.timeout_s * 1000, ended.signal).then(() => {
      if (!ended.signal.aborted) run.abort("timeout");
    });
    const context: JobContext = {
      command, clock, signal: controller.signal, reason, hash: deps.hash,
      applied: state.placements.get(entry.placementId),
      halted: () => halt.signal.aborted,
      isNewest: () => {
        const floor = state.floors.get(entry.placementId);
        return !deps.policy.generationCheck || floor === undefined || (command.generation >= floor.generation && command.epoch >= floor.epoch);
      },
      look: () => eyes.placement(entry.placementId),
      driver: eyes.driver,
      begin: async (wanted) => {
        await writeUntilDone(() => ledger.write([{ kind: "begun", jobId: entry.jobId, at: deps.now(), wanted }], { sync: true }), controller.signal);
        run.delta = { id: deps.newId(), forgotten: false };
        deps.onDelta();
      },
      record: (one) => {
        steps.push(one);
        // Not synced, not awaited: steps of a job in progress are for people; the outcome carries them again.
        void ledger.write([{ kind: "step", jobId: entry.jobId, step: one }], { sync: false }).catch(() => undefined);
      },
      failpoint: (name) => deps.failpoint?.(name),
    };
    try {
      const outcome = await runJob(context);
      await finish(entry.jobId, outcome, steps);
    } catch (err) {
      if (!(err instanceof Halted)) logger.error({ err, jobId: entry.jobId }, "a job ended without an outcome; it is settled at the next start");
    } finally {
      ended.abort();
      runs.delete(entry.jobId);
      deps.onChange();
      pump();
    }
  }

  async function finish(jobId: string, outcome: JobOutcome, steps: readonly StepResult[]): Promise<void> {
    const record = { kind: "ended", jobId, at: deps.now(), deltaId: deps.newId(), steps: steps.slice(-200), ...outcome } as const;
    deps.failpoint?.("before_ended");
    await writeUntilDone(() => ledger.write([{ ...record, opSeq: ledger.nextSeq() }], { sync: true }), undefined);
    logger.info({ jobId, status: outcome.status, errorCode: outcome.errorCode, error: outcome.error }, "a job ended");
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
      run.abort("cancelled");
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
    start: (jobIds) => {
      open = true;
      queue = [...jobIds, ...queue];
      pump();
    },
    push: (jobId) => {
      queue.push(jobId);
      pump();
    },
    queued: () => queue.length,
    cancel,
    runningDeltas: () => [...runs].flatMap(([jobId, run]) => {
      const entry = state.jobs.get(jobId);
      // Superseded by the terminal one as soon as that exists.
      return entry === undefined || entry.status !== "running" || run.delta === undefined || run.delta.forgotten ? [] : [deltaOf(entry, run.delta.id, "running")];
    }),
    forgetRunningDelta: (deltaId) => {
      for (const run of runs.values()) if (run.delta?.id === deltaId) run.delta.forgotten = true;
    },
    halted: () => halt.signal.aborted,
    stop: () => {
      open = false;
      halt.abort();
    },
    abandon: async (timeoutMs) => {
      const late = new AbortController();
      for (const run of runs.values()) run.abort("cancelled");
      await Promise.race([Promise.all([...runs.values()].map((run) => run.done)), clock.sleep(timeoutMs, late.signal)]);
      late.abort();
    },
  };
}
