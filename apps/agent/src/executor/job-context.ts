/**
 * What a job is given and how it speaks: steps, guards and outcomes. A step that fails is recorded before its error
 * travels on, so that a row that says `failed` says where.
 */
import { DriverError, SkepError, type AbortSignalLike, type Clock, type StepResult } from "@skep/core";
import type { PendingJob } from "@skep/protocol";
import type { EndStatus, PlacementEntry } from "../journal/records.ts";
import type { Seen } from "./plan.ts";

export interface JobOutcome {
  readonly status: EndStatus;
  readonly error?: string | undefined;
  readonly errorCode?: string | undefined;
  /** null = gone, undefined = unchanged. */
  readonly placement?: PlacementEntry | null | undefined;
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
  /** What every driver runs or remembers for this placement. */
  look(): Promise<Seen[]>;
  driver(name: string): Seen["driver"];
  /** Durable before it resolves. */
  begin(wanted: Readonly<Record<string, string>>): Promise<void>;
  record(step: StepResult): void;
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
  if (reason !== undefined) throw new JobFailure(reason, reason === "timeout" ? `it ran past its limit of ${context.command.timeout_s} s` : "it was cancelled");
}

export async function step(context: JobContext, name: string, work: () => Promise<void>): Promise<void> {
  if (context.halted()) throw new Halted();
  const startMs = context.clock.mono();
  const ms = (): number => Math.max(0, Math.round(context.clock.mono() - startMs));
  try {
    await work();
  } catch (error) {
    // A failure that arrives while the process is leaving is the leaving's fault, not the job's.
    if (context.halted()) throw new Halted();
    context.record({ name, ok: false, error: wordsOf(error), ms: ms() });
    throw error;
  }
  if (context.halted()) throw new Halted();
  context.record({ name, ok: true, ms: ms() });
}

export function outcomeOf(error: unknown, context: JobContext, note = ""): JobOutcome {
  const reason = context.reason();
  const words = `${wordsOf(error)}${note}`.slice(0, 2_000);
  if (reason === "cancelled") return { status: "cancelled", errorCode: "cancelled", error: `cancelled${note}` };
  if (reason === "timeout") return { status: "failed", errorCode: "timeout", error: `ran past its limit of ${context.command.timeout_s} s: ${words}`.slice(0, 2_000) };
  const code = error instanceof JobFailure || error instanceof DriverError || error instanceof SkepError ? error.code : "internal";
  return { status: "failed", errorCode: code, error: words };
}

/** For people, in one line of at most 2000 characters without control characters. */
// oxlint-disable-next-line no-control-regex -- they are what is being replaced
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, "?").slice(0, 2_000);
