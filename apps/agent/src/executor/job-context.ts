/**
 * What a job is given and how it speaks: guards and outcomes. A step that fails is recorded before its error travels
 * on (step.ts), so that a row that says `failed` says where.
 */
import { DriverError, SkepError, type AbortSignalLike, type Clock, type Driver, type StepResult } from "@skep/core";
import type { PendingJob } from "@skep/protocol";
import type { EndStatus, PlacementEntry } from "../journal/records.ts";
import type { JobPhase } from "./limits.ts";
import type { Seen } from "./plan.ts";

export interface JobOutcome {
  readonly status: EndStatus;
  readonly error?: string | undefined;
  readonly errorCode?: string | undefined;
  /** null = gone, undefined = unchanged. */
  readonly placement?: PlacementEntry | null | undefined;
}

export interface StepSpan {
  readonly word: JobPhase | "undo";
  readonly component: string | undefined;
  /** Of its failure. */
  readonly code: string | undefined;
}

export type AbortReason = "cancelled" | "timeout";

export interface JobContext {
  readonly command: PendingJob;
  readonly applied: PlacementEntry | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignalLike;
  /** Why the signal aborted. */
  reason(): AbortReason | undefined;
  /** The process is leaving: stop at the next step and say nothing; the next start settles the job by looking. */
  halted(): boolean;
  /** No newer generation or epoch of this placement has been taken since. */
  isNewest(): boolean;
  /** What every driver runs or remembers for this placement. Rejects when one that it needs cannot look. */
  look(): Promise<Seen[]>;
  driver(name: string): Driver;
  /** The drivers that may hold something of this placement. */
  readonly needed: readonly Driver[];
  canLook(driver: Driver): Promise<boolean>;
  /** Durable before it resolves. */
  begin(wanted: Readonly<Record<string, string>>): Promise<void>;
  /** `about`: for its span; a step that is only told of has none. */
  record(step: StepResult, about?: StepSpan): void;
  /** What it is doing, for people. */
  enter(phase: string): void;
  /** Real work moved on: the job's limit runs anew. */
  moved(): void;
  /** From here on something of it may run or be half done: it ends on what is seen, however long the runtime is away. */
  touch(): void;
  touched(): boolean;
  /**
   * Gives the job's slot up until `driver` can observe again, and takes one then. `leave` ends the waiting early.
   * Rejects with `Halted` only.
   */
  awaitRuntime(driver: Driver, leave: AbortSignalLike | undefined): Promise<void>;
  hash(value: object): string;
  failpoint(name: string): void;
}

/** Thrown to leave a job as it is; never an outcome. */
export class Halted extends Error {}

export class JobFailure extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Asked before stop-old and again before start-new: the world may have moved while we waited. */
export function guard(context: JobContext): void {
  guardAbort(context);
  if (!context.isNewest()) throw new JobFailure("stale_generation", "a newer generation of this placement was taken meanwhile");
}

/** At the end of the work: a cancel that came in time counts, a newer generation no longer matters. */
export function guardAbort(context: JobContext): void {
  if (context.halted()) throw new Halted();
  const reason = context.reason();
  if (reason !== undefined) throw new JobFailure(reason, reason === "timeout" ? limitWords(context) : "it was cancelled");
}

const limitWords = (context: JobContext): string => `nothing moved for its limit of ${context.command.timeout_s} s`;

/** What the undoing of a job came to. */
export interface Undone {
  /** To add to the error: empty when all is as it was. */
  readonly note: string;
  /** Components of the job's own that still run. */
  readonly left: readonly string[];
}

export function outcomeOf(error: unknown, context: JobContext, { note, left }: Undone = { note: "", left: [] }): JobOutcome {
  const reason = context.reason();
  const words = `${wordsOf(error)}${note}`.slice(0, 2_000);
  // Cancelled means confirmed stopped: what still runs makes it a failure that says so.
  if (reason === "cancelled" && left.length > 0) return { status: "failed", errorCode: "still_running", error: `it was cancelled, and ${left.join(", ")} could not be stopped${note}`.slice(0, 2_000) };
  if (reason === "cancelled") {
    // What was the matter until then is why somebody cancelled it, more often than not: a probe's words, an exit.
    const until = error instanceof DriverError && error.code !== "hung" ? `; until then: ${wordsOf(error)}` : "";
    return { status: "cancelled", errorCode: "cancelled", error: `cancelled${until}${note}`.slice(0, 2_000) };
  }
  if (reason === "timeout") {
    const limit = limitWords(context);
    return { status: "failed", errorCode: "timeout", error: (words.startsWith(limit) ? words : `${limit}: ${words}`).slice(0, 2_000) };
  }
  return { status: "failed", errorCode: codeOf(error), error: words };
}

export const codeOf = (error: unknown): string => (error instanceof JobFailure || error instanceof DriverError || error instanceof SkepError ? error.code : "internal");

/** For people, in one line of at most 2000 characters without control characters. */
// oxlint-disable-next-line no-control-regex -- they are what is being replaced
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, "?").slice(0, 2_000);
