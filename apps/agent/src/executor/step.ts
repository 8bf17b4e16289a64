/**
 * Steps: a piece of a job with a name, a phase and a limit. A runtime that cannot be asked is no failure: the step gives
 * the job's slot up, waits until the driver can observe again and is tried again, which every verb's idempotence makes
 * safe. Invariant: a job that has touched anything leaves that waiting by sight, or with the process, never by a guess.
 */
import { DriverError, RUNTIME_UNAVAILABLE, type AbortSignalLike, type Driver, type Progress } from "@skep/core";
import { RuntimeAway } from "./eyes.ts";
import { Halted, codeOf, guardAbort, wordsOf, type JobContext } from "./job-context.ts";
import { LOOK_LIMIT_MS, PREPARE_LIMIT_MS, REMOVE_LIMIT_MS, START_LIMIT_MS, type JobPhase } from "./limits.ts";
import type { Seen } from "./plan.ts";
import { leased, withinMs } from "./verbs.ts";

export interface Step {
  readonly name: string;
  readonly phase: JobPhase;
  /** Whose it is, when it is one component's. */
  readonly component?: string | undefined;
  /** Whose runtime it asks. */
  readonly driver: Driver;
  /** Instead of the phase's own. */
  readonly limitMs?: number | undefined;
  /** Instead of the job's. */
  readonly signal?: AbortSignalLike | undefined;
  /** Part of putting things right: a cancel or the job's own limit does not end it. */
  readonly undoing?: boolean | undefined;
}

type Work<T> = (signal: AbortSignalLike, progress: Progress) => Promise<T>;

/** `healthy` has none of its own: how long a component may take to come up is its operator's to say, with timeout_s. */
const LIMITS: Readonly<Record<JobPhase, number | undefined>> = {
  look: LOOK_LIMIT_MS, prepare: PREPARE_LIMIT_MS, start: START_LIMIT_MS, healthy: undefined, stop: undefined, remove: REMOVE_LIMIT_MS,
};
const NEVER = new AbortController().signal;
const TOUCHES: readonly JobPhase[] = ["start", "stop", "remove"];

/** Recorded, whichever way it ends. */
export async function step(context: JobContext, one: Step, work: Work<void>): Promise<void> {
  if (context.halted()) throw new Halted();
  const startMs = context.clock.mono();
  const record = (error?: unknown): void => {
    const ms = Math.max(0, Math.round(context.clock.mono() - startMs));
    context.record({ name: one.name, ok: error === undefined, ...(error === undefined ? {} : { error: wordsOf(error) }), ms },
      { word: one.undoing === true ? "undo" : one.phase, component: one.component, code: error === undefined ? undefined : codeOf(error) });
  };
  try {
    await attempt(context, one, work);
  } catch (error) {
    // A failure that arrives while the process is leaving is the leaving's fault, not the job's.
    if (context.halted()) throw new Halted();
    record(error);
    throw error;
  }
  if (context.halted()) throw new Halted();
  record();
}

/** The same without a record: for looks. */
export async function attempt<T>(context: JobContext, one: Step, work: Work<T>): Promise<T> {
  const { driver, undoing = false } = one;
  const signal = undoing ? undefined : (one.signal ?? context.signal);
  if (TOUCHES.includes(one.phase)) context.touch();
  for (;;) {
    context.enter(one.phase);
    try {
      return await once(context, one, signal, work);
    } catch (error) {
      if (context.halted()) throw new Halted();
      const away = await whoIsAway(context, error, driver);
      if (away === undefined) throw error;
      await context.awaitRuntime(away, undoing || context.touched() ? undefined : signal);
      if (!undoing) guardAbort(context);
      // A sibling's failure ended the wait for this one: its own error says what was known.
      if (signal?.aborted === true) throw error;
    }
  }
}

function once<T>(context: JobContext, one: Step, signal: AbortSignalLike | undefined, work: Work<T>): Promise<T> {
  const limitMs = one.limitMs ?? LIMITS[one.phase];
  // What stops and removes goes on until it is done: half a stop is worse than a late cancel.
  if (limitMs !== undefined && (one.phase === "stop" || one.phase === "remove")) return withinMs(context.clock, one.name, limitMs, () => work(NEVER, context.moved));
  return leased(context.clock, { what: one.name, limitMs, signal, moved: context.moved }, work);
}

/** A verb that hangs while its driver cannot even look is the runtime's doing, and not the verb's. */
async function whoIsAway(context: JobContext, error: unknown, driver: Driver): Promise<Driver | undefined> {
  if (!(error instanceof DriverError)) return undefined;
  if (error instanceof RuntimeAway) return error.driver;
  if (error.code === RUNTIME_UNAVAILABLE) return driver;
  return error.code === "hung" && !(await context.canLook(driver)) ? driver : undefined;
}

/** A look that waits until it can look. */
export const look = (context: JobContext, how: { readonly undoing?: boolean } = {}): Promise<Seen[]> => {
  // Its own driver is only the one to ask when a look hangs as a whole; the one that is away is named by the error.
  const driver = context.needed[0];
  if (driver === undefined) return context.look();
  return attempt(context, { name: "look", phase: "look", driver, limitMs: LOOK_LIMIT_MS * 2, ...how }, () => context.look());
};
