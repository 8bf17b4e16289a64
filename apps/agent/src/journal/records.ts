/**
 * What the agent writes down, in the order it happened. Replaying the records gives the agent's memory back, so each
 * record must be true by itself: a record is appended before its effect is promised to anybody, never after.
 */
import type { JobStatus, Operation, Spec, StepResult } from "@skep/core";
import type { PendingJob } from "@skep/protocol";

export type EndStatus = Extract<JobStatus, "succeeded" | "failed" | "cancelled">;

/** What runs (or is stopped) for a placement by the last job that succeeded; never what a job merely attempts (defect 4-9). */
export interface PlacementEntry {
  readonly placementId: string;
  readonly deployment: string;
  readonly epoch: number;
  readonly generation: number;
  readonly spec: Spec;
  readonly specHash: string;
  readonly desired: "running" | "stopped";
  /** Component → hash of what was really started; a filtered mutate leaves the others' hashes as they were. */
  readonly hashes: Readonly<Record<string, string>>;
  readonly jobId: string;
  readonly previous?: { readonly generation: number; readonly spec: Spec; readonly specHash: string } | undefined;
}

export interface Floor {
  readonly placementId: string;
  readonly epoch: number;
  readonly generation: number;
}

/** Whose job a tombstone stands for, as far as the asker said. */
export interface TombstoneTarget {
  readonly placementId: string;
  readonly deployment: string;
  readonly operation: Operation;
  readonly generation: number;
  readonly epoch: number;
}

/** One job as the journal knows it. `command` is dropped once the job has ended: the spec is then in the placement. */
export interface JobEntry {
  readonly jobId: string;
  readonly operation: Operation;
  readonly placementId: string;
  readonly deployment: string;
  readonly generation: number;
  readonly epoch: number;
  readonly opSeq: number;
  readonly bootId: string;
  readonly acceptedAt: string;
  readonly status: JobStatus;
  /** The first effect may have happened. */
  readonly begun: boolean;
  readonly wanted: Readonly<Record<string, string>>;
  readonly startedAt?: string | undefined;
  readonly completedAt?: string | undefined;
  readonly steps: readonly StepResult[];
  readonly error?: string | undefined;
  readonly errorCode?: string | undefined;
  /** Of the terminal delta; undefined while the job is unfinished, or when there is nobody to address it to. */
  readonly deltaId?: string | undefined;
  readonly endedSeq?: number | undefined;
  readonly acked: boolean;
  readonly tombstone: boolean;
  readonly command?: PendingJob | undefined;
  /** The last span of ours that had to do with it. Journals of older agents have none. */
  readonly traceparent?: string | undefined;
}

export interface JournalSnapshot {
  readonly opSeq: number;
  readonly jobs: readonly JobEntry[];
  readonly placements: readonly PlacementEntry[];
  readonly floors: readonly Floor[];
}

export type JournalRecord =
  | { readonly kind: "accepted"; readonly opSeq: number; readonly bootId: string; readonly at: string; readonly command: PendingJob; /** Refused for ever: raises no floor. */ readonly refused?: boolean | undefined; readonly traceparent?: string | undefined }
  | { readonly kind: "begun"; readonly jobId: string; readonly at: string; readonly wanted: Readonly<Record<string, string>> }
  | { readonly kind: "step"; readonly jobId: string; readonly step: StepResult }
  | EndedRecord
  | { readonly kind: "tombstone"; readonly opSeq: number; readonly bootId: string; readonly at: string; readonly jobId: string; readonly deltaId?: string | undefined; readonly target?: TombstoneTarget | undefined; readonly traceparent?: string | undefined }
  | { readonly kind: "floors"; readonly floors: readonly Floor[] }
  | { readonly kind: "acked"; readonly jobIds: readonly string[] }
  | { readonly kind: "snapshot"; readonly snapshot: JournalSnapshot };

/** The outcome and its effect on the placement table are one record: there is no moment at which only one of them holds. */
export interface EndedRecord {
  readonly kind: "ended";
  readonly opSeq: number;
  readonly jobId: string;
  readonly status: EndStatus;
  readonly at: string;
  readonly deltaId: string;
  readonly steps: readonly StepResult[];
  readonly error?: string | undefined;
  readonly errorCode?: string | undefined;
  /** The new entry; null = the placement is gone; absent = unchanged. */
  readonly placement?: PlacementEntry | null | undefined;
  readonly traceparent?: string | undefined;
}

/**
 * Where records go. `append` with `sync` resolves only once the records survive a power cut, and rejects when they
 * might not; records keep their order. `replace` swaps the whole content atomically (compaction).
 */
export interface JournalStore {
  load(): Promise<readonly JournalRecord[]>;
  append(records: readonly JournalRecord[], options: { readonly sync: boolean }): Promise<void>;
  replace(records: readonly JournalRecord[]): Promise<void>;
}
