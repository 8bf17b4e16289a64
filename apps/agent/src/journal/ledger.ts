/**
 * The executor's memory, kept equal to its journal. Invariants: state changes only by a record that the store has
 * taken; the op_seq given out in inventories never runs ahead of a record that is still being written (an inventory
 * that did would "prove" the absence of a job that was just accepted); compaction never races an append.
 */
import { SkepError, type Logger, type Operation, type Policy } from "@skep/core";
import type { EndStatus, JournalRecord, JournalStore } from "./records.ts";
import { applyRecord, emptyState, prune, snapshotOf, type JournalState } from "./state.ts";

/** Records between compactions. Fewer: rewriting all the time; more: a longer file to read at start. */
const COMPACT_EVERY = 2_000;

export interface Ledger {
  readonly state: JournalState;
  load(): Promise<void>;
  /** Takes the next op_seq. Whoever takes one must `write` a record with it. */
  nextSeq(): number;
  /** Resolves when the records are stored (durably with `sync`) and applied. Rejects with `disk_full`, nothing applied. */
  write(records: readonly JournalRecord[], options: { readonly sync: boolean }): Promise<void>;
  /** Every record up to this op_seq is in `state`. */
  settledSeq(): number;
}

export interface LedgerDeps {
  readonly store: JournalStore;
  readonly policy: Policy;
  readonly logger: Logger;
  /** A job's end is durable. Not told of what is read back at the start. */
  readonly onEnded?: ((job: { readonly operation: Operation; readonly status: EndStatus }) => void) | undefined;
}

export function createLedger({ store, policy, logger, onEnded }: LedgerDeps): Ledger {
  const state = emptyState();
  const unsettled = new Set<number>();
  let issued = 0;
  let inFlight = 0;
  let appended = 0;
  let compacting: Promise<void> | undefined;

  async function load(): Promise<void> {
    const records = await store.load();
    for (const record of records) applyRecord(state, record);
    issued = state.opSeq;
    appended = records.length;
  }

  function nextSeq(): number {
    issued = Math.max(issued, state.opSeq) + 1;
    unsettled.add(issued);
    return issued;
  }

  async function write(records: readonly JournalRecord[], { sync }: { readonly sync: boolean }): Promise<void> {
    while (compacting !== undefined) await compacting;
    inFlight += 1;
    try {
      await store.append(records, { sync: sync && policy.journal });
      for (const record of records) applyRecord(state, record);
      appended += records.length;
      for (const record of records) {
        const operation = record.kind === "ended" ? state.jobs.get(record.jobId)?.operation : undefined;
        if (record.kind === "ended" && operation !== undefined) onEnded?.({ operation, status: record.status });
      }
    } catch (cause) {
      logger.error({ err: cause }, "the journal could not be written");
      throw new SkepError("disk_full", `the journal could not be written (${codeOf(cause)})`, { cause });
    } finally {
      inFlight -= 1;
      for (const record of records) if ("opSeq" in record) unsettled.delete(record.opSeq);
    }
    if (appended >= COMPACT_EVERY && inFlight === 0 && compacting === undefined) compacting = compact();
  }

  async function compact(): Promise<void> {
    try {
      prune(state);
      await store.replace([{ kind: "snapshot", snapshot: snapshotOf(state) }]);
      appended = 1;
    } catch (err) {
      // The old file is still whole. Trying again only after another round keeps a full disk from being hammered.
      logger.warn({ err }, "the journal could not be compacted");
      appended = 0;
    } finally {
      compacting = undefined;
    }
  }

  const settledSeq = (): number => (unsettled.size === 0 ? state.opSeq : Math.min(...unsettled) - 1);
  return { state, load, nextSeq, write, settledSeq };
}

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException | undefined)?.code ?? "write failed";
