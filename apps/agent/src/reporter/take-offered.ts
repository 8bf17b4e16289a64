/** Jobs and cancels that came in a heartbeat's reply: the same admission as a push, the same journal, the same answers. */
import { SkepError, traceFacts, type Logger } from "@skep/core";
import type { PendingJob } from "@skep/protocol";
import type { CancelAsk, Executor } from "../executor/types.ts";

/** Refusals that no repetition turns round: the master learns them as a failed job (rulings 11). */
const FINAL: ReadonlySet<string> = new Set([
  "stale_epoch", "stale_generation", "generation_conflict", "no_active_deployment", "spec_hash_mismatch", "spec_refused", "unknown_component",
]);

/** While the agent boots none is taken, and none is refused: the master offers them again with every beat until one is. */
export async function takeOffered(executor: Executor, jobs: readonly PendingJob[], logger: Logger): Promise<void> {
  if (executor.phase() === "booting") {
    if (jobs.length > 0) logger.debug({ jobs: jobs.length }, "offered jobs are left until the boot is over");
    return;
  }
  for (const job of jobs) {
    try {
      await executor.admit(job);
    } catch (error) {
      if (!(error instanceof SkepError)) throw error;
      logger.warn({ jobId: job.job_id, code: error.code, detail: error.detail, ...traceFacts(job.traceparent) }, "an offered job was refused");
      if (FINAL.has(error.code)) await executor.recordRefusal(job, error.code, error.detail).catch((err: unknown) => logger.warn({ err, jobId: job.job_id, ...traceFacts(job.traceparent) }, "its refusal could not be written down; it will be offered again"));
    }
  }
}

export async function takeCancels(executor: Executor, cancels: readonly { readonly jobId: string; readonly ask: CancelAsk }[], logger: Logger): Promise<void> {
  for (const { jobId, ask } of cancels) {
    try {
      await executor.cancel(jobId, ask);
    } catch (error) {
      if (!(error instanceof SkepError)) throw error;
      // The master asks again with every beat until it has an answer.
      logger.warn({ jobId, code: error.code, detail: error.detail, ...traceFacts(ask.traceparent) }, "a cancel could not be carried out yet");
    }
  }
}
