/**
 * Boot: settles every unfinished job of the journal before anything is answered. It looks until it can look, because a
 * guess here would be told as a fact; what is on its way up gets a moment to arrive. A driver that cannot look keeps
 * its own jobs unsettled and nobody else's: they are settled once it can, and until then they are running.
 */
import { traceFacts, type Clock, type Driver, type Logger, type Tracer } from "@skep/core";
import type { Ledger } from "../journal/ledger.ts";
import type { JobEntry } from "../journal/records.ts";
import type { Eyes, Sight } from "./eyes.ts";
import { patienceMs, settleJob } from "./settle.ts";
import type { Seen } from "./plan.ts";

/** Between looks while something is starting or nothing can look. */
const LOOK_AGAIN_MS = 500;

export interface SettleDeps {
  readonly ledger: Ledger;
  readonly eyes: Eyes;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tracer: Tracer;
  readonly newId: () => string;
  readonly now: () => string;
  readonly halted: () => boolean;
  readonly neededBy: (entry: JobEntry) => readonly string[] | "all";
}

/** Ids of the jobs that were never begun, in order of acceptance, and of those that cannot be settled yet. */
export interface Unsettled {
  readonly unbegun: readonly string[];
  readonly unseen: readonly string[];
}

export async function settleUnfinished({ ledger, eyes, clock, logger, tracer, newId, now, halted, neededBy }: SettleDeps): Promise<Unsettled> {
  const unfinished = [...ledger.state.jobs.values()].filter((entry) => entry.completedAt === undefined).sort((a, b) => a.opSeq - b.opSeq);
  const begun = unfinished.filter((entry) => entry.begun);
  const unseen: string[] = [];
  if (begun.length > 0) {
    const sight = await lookLong(begun);
    for (const entry of begun) {
      if (sight === undefined || halted()) break;
      if (!canJudge(entry, sight)) {
        unseen.push(entry.jobId);
        continue;
      }
      const settled = settleJob(entry, ledger.state.placements.get(entry.placementId), itemsOf(entry, sight.seen));
      if (settled === undefined) continue;
      const { steps, ...outcome } = settled;
      const { jobId, deployment, operation, generation, traceparent } = entry;
      const span = tracer.startSpan("settle", { parent: traceparent, attributes: { deployment, operation, generation, lifecycleId: jobId, status: outcome.status } });
      logger.info({ jobId, status: outcome.status, because: steps.at(-1)?.name ?? outcome.error, ...traceFacts(span.traceparent) }, "an unfinished job was settled by looking");
      await writeUntilDone(() => ledger.write([{ kind: "ended", opSeq: ledger.nextSeq(), jobId, at: now(), deltaId: newId(), steps, traceparent: span.traceparent, ...outcome }], { sync: true }));
      span.end({ error: outcome.errorCode });
    }
  }
  return { unbegun: unfinished.filter((entry) => !entry.begun).map((entry) => entry.jobId), unseen };

  function canJudge(entry: JobEntry, { blind }: Sight): boolean {
    const needed = neededBy(entry);
    return !blind.some((one) => needed === "all" || needed.includes(one.driver.name));
  }

  async function lookLong(entries: readonly JobEntry[]): Promise<Sight | undefined> {
    const startMs = clock.mono();
    const told = new Set<Driver>();
    for (;;) {
      if (halted()) return undefined;
      const sight = await eyes.all();
      const judged = entries.filter((entry) => canJudge(entry, sight));
      const patience = Math.max(0, ...judged.map((entry) => patienceMs(entry, itemsOf(entry, sight.seen))));
      for (const { driver, error: err } of sight.blind.filter((one) => !told.has(one.driver))) {
        told.add(driver);
        logger.error({ driver: driver.name, err }, "a driver could not look; unfinished jobs that it may run stay unsettled until it can");
      }
      if (sight.sighted > 0 && clock.mono() - startMs >= patience) return sight;
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

const itemsOf = (entry: JobEntry, seen: readonly Seen[]): Seen[] => seen.filter((item) => item.component.labels.placementId === entry.placementId);
