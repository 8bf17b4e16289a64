/**
 * Boot: settles every unfinished job of the journal before anything is answered. It looks until it can look, because a
 * guess here would be told as a fact; what is on its way up gets a moment to arrive.
 */
import type { Clock, Logger } from "@skep/core";
import type { Ledger } from "../journal/ledger.ts";
import type { JobEntry } from "../journal/records.ts";
import type { Eyes } from "./eyes.ts";
import type { Seen } from "./plan.ts";
import { isUndecided, settleJob } from "./settle.ts";

/** Between looks while something is starting or a driver cannot look. */
const LOOK_AGAIN_MS = 500;
/** How long something that is starting is waited for. Longer: the host is mute after a restart; shorter: slow probes read as interrupted. */
const PATIENCE_MS = 3_000;

export interface SettleDeps {
  readonly ledger: Ledger;
  readonly eyes: Eyes;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly newId: () => string;
  readonly now: () => string;
  readonly halted: () => boolean;
}

/** Resolves with the ids of the jobs that were never begun, in order of acceptance. */
export async function settleUnfinished({ ledger, eyes, clock, logger, newId, now, halted }: SettleDeps): Promise<string[]> {
  const unfinished = [...ledger.state.jobs.values()].filter((entry) => entry.completedAt === undefined).sort((a, b) => a.opSeq - b.opSeq);
  const begun = unfinished.filter((entry) => entry.begun);
  if (begun.length > 0) {
    const seen = await lookLong(begun);
    for (const entry of begun) {
      const settled = settleJob(entry, ledger.state.placements.get(entry.placementId), seen.filter((item) => item.component.labels.placementId === entry.placementId));
      if (settled === undefined || halted()) continue;
      const { steps, ...outcome } = settled;
      logger.info({ jobId: entry.jobId, status: outcome.status, because: steps.at(-1)?.name ?? outcome.error }, "an unfinished job was settled by looking");
      await writeUntilDone(() => ledger.write([{ kind: "ended", opSeq: ledger.nextSeq(), jobId: entry.jobId, at: now(), deltaId: newId(), steps, ...outcome }], { sync: true }));
    }
  }
  return unfinished.filter((entry) => !entry.begun).map((entry) => entry.jobId);

  async function lookLong(entries: readonly JobEntry[]): Promise<Seen[]> {
    const startMs = clock.mono();
    for (;;) {
      try {
        const seen = await eyes.all();
        const undecided = entries.some((entry) => isUndecided(entry, seen.filter((item) => item.component.labels.placementId === entry.placementId)));
        if (!undecided || clock.mono() - startMs >= PATIENCE_MS) return seen;
      } catch (err) {
        logger.error({ err }, "a driver could not look; unfinished jobs stay unsettled until it can");
      }
      if (halted()) return [];
      await clock.sleep(LOOK_AGAIN_MS);
    }
  }

  async function writeUntilDone(write: () => Promise<void>): Promise<void> {
    while (!halted()) {
      try {
        return await write();
      } catch {
        // The ledger has logged it. A settlement that is not durable is not told.
        await clock.sleep(LOOK_AGAIN_MS);
      }
    }
  }
}
