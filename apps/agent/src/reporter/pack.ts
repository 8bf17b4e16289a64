/**
 * Fits a report into the bytes the master takes: what is observed first, then the jobs, then as many of the oldest
 * deltas as there is room for. What is cut is said to be cut; deltas that did not fit stay in the outbox. Pure.
 */
import type { Delta } from "@skep/protocol";
import type { InventoryItem, StatusSnapshot } from "../executor/types.ts";

export interface PackInput {
  readonly status: StatusSnapshot;
  readonly jobs: readonly InventoryItem[] | null;
  /** Oldest first. */
  readonly deltas: readonly Delta[];
}

export interface Packed {
  readonly status: StatusSnapshot;
  readonly jobs: readonly InventoryItem[] | null;
  readonly jobs_truncated?: true;
  readonly lifecycle: readonly Delta[];
}

const MAX_JOBS = 1_000;
const MAX_DELTAS_PER_BEAT = 500;
/** Room for the envelope's own fields. */
const ENVELOPE_BYTES = 2_048;

const sizeOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value)) + 1;

export function packReport(input: PackInput, budgetBytes: number): Packed {
  let left = budgetBytes - ENVELOPE_BYTES;
  let status = input.status;
  if (status.placements !== null && sizeOf(status) > left) {
    // Half a list would read as "the rest is absent": rather nothing, and said so.
    status = { deployed: status.deployed, placements: null, observed_error: `the report of ${status.placements.length} placements exceeds ${budgetBytes} bytes` };
  }
  left -= sizeOf(status);
  const jobs: InventoryItem[] = [];
  for (const job of (input.jobs ?? []).slice(0, MAX_JOBS)) {
    const size = sizeOf(job);
    if (size > left) break;
    left -= size;
    jobs.push(job);
  }
  const lifecycle: Delta[] = [];
  for (const delta of input.deltas.slice(0, MAX_DELTAS_PER_BEAT)) {
    const size = sizeOf(delta);
    // One delta always goes: a budget below its size would keep it here for ever.
    if (size > left && lifecycle.length > 0) break;
    left -= size;
    lifecycle.push(delta);
  }
  const truncated = input.jobs !== null && jobs.length < input.jobs.length;
  return { status, jobs: input.jobs === null ? null : jobs, ...(truncated ? { jobs_truncated: true } : {}), lifecycle };
}
