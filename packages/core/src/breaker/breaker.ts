/**
 * The circuit breaker around a master's calls to one host, as a reducer: (state, what happened, monotonic now) → state.
 * Times are monotonic ms of the process that owns it (defect 0-5).
 *
 * Invariants, each a property of test/breaker.test.ts:
 * - half open lets out exactly one token; while it is out everybody else is refused (0-1);
 * - an outcome counts only for the generation its call was admitted in: a late success does not close an open
 *   circuit, a late failure does not lengthen its cool-down (0-2, 0-3);
 * - a token always comes back: its call ends, is given up, or is overdue and forgotten (0-4);
 * - a peer that is not the pinned one opens at once and for as long as nobody answers for it (0-7).
 */

export const CIRCUIT_STATES = ["closed", "open", "half_open"] as const;
export type CircuitState = (typeof CIRCUIT_STATES)[number];

/** Consecutive failures (0-8). Fewer opens on a hiccup; more keeps calling a host that is gone. */
export const BREAKER_FAILURES = 5;
/** Shorter hammers a host that is down; longer keeps work from one that is back. */
export const BREAKER_COOLDOWN_MS = 60_000;
/** A token older than this is lost, whatever its holder does later. Longer than the longest call (15 s), or a slow probe would lose it. */
export const BREAKER_TOKEN_MS = 30_000;

export interface Breaker {
  readonly state: CircuitState;
  /** +1 with every change of state: the answer of a call from before is nobody's news. */
  readonly generation: number;
  /** Consecutive failures; those that opened it stay on show while it is not closed. */
  readonly failures: number;
  /** When it opened; fixed until it opens anew. */
  readonly openedAt: number | undefined;
  /** While half open: since when the token is out. */
  readonly tokenSince: number | undefined;
  /** Why it opened: `failures` cool down by themselves, an `identity` that is not the pinned one never does. */
  readonly cause: "failures" | "identity" | undefined;
  /** The last failure in words. */
  readonly because: string | undefined;
}

export const CLOSED_BREAKER: Breaker = Object.freeze({ state: "closed", generation: 0, failures: 0, openedAt: undefined, tokenSince: undefined, cause: undefined, because: undefined });

/** What an admitted call holds until it is settled. */
export interface CallPass {
  readonly generation: number;
}

export type CallAdmission =
  | { readonly kind: "admitted"; readonly breaker: Breaker; readonly pass: CallPass }
  /** `retryAfterMs` undefined: time alone does not mend it. */
  | { readonly kind: "refused"; readonly retryAfterMs: number | undefined; readonly because: string };

/**
 * `success`: the host answered, a refusal of the caller's own making (4xx) included · `failure`: transport error, time-out or
 * 5xx · `identity`: whoever answered is not the pinned host · `aborted`: given up by the caller; says nothing of the host.
 */
export const CALL_OUTCOMES = ["success", "failure", "identity", "aborted"] as const;
export type CallOutcome = (typeof CALL_OUTCOMES)[number];

export function admitCall(breaker: Breaker, now: number, coolDownMs: number = BREAKER_COOLDOWN_MS): CallAdmission {
  switch (breaker.state) {
    case "closed":
      return { kind: "admitted", breaker, pass: { generation: breaker.generation } };
    case "open": {
      if (breaker.cause === "identity") return { kind: "refused", retryAfterMs: undefined, because: breaker.because ?? "the peer is not the pinned host" };
      const left = (breaker.openedAt ?? now) + coolDownMs - now;
      if (left > 0) return { kind: "refused", retryAfterMs: Math.ceil(left), because: breaker.because ?? "its last calls failed" };
      return letOut({ ...breaker, state: "half_open", generation: breaker.generation + 1 }, now);
    }
    case "half_open": {
      const left = (breaker.tokenSince ?? now) + BREAKER_TOKEN_MS - now;
      if (breaker.tokenSince !== undefined && left > 0) return { kind: "refused", retryAfterMs: Math.ceil(left), because: "one call is out to see whether it is back" };
      return letOut({ ...breaker, generation: breaker.generation + 1 }, now);
    }
  }
}

const letOut = (breaker: Breaker, now: number): CallAdmission => ({ kind: "admitted", breaker: { ...breaker, tokenSince: now }, pass: { generation: breaker.generation } });

/** Returns the very same value when the outcome changes nothing. */
export function settleCall(breaker: Breaker, pass: CallPass, outcome: CallOutcome, now: number, because?: string): Breaker {
  if (pass.generation !== breaker.generation || breaker.state === "open") return breaker;
  switch (outcome) {
    case "success":
      if (breaker.state === "closed" && breaker.failures === 0) return breaker;
      return { ...CLOSED_BREAKER, generation: breaker.generation + (breaker.state === "closed" ? 0 : 1) };
    case "identity":
      return open({ ...breaker, failures: breaker.failures + 1 }, "identity", now, because);
    case "failure": {
      const failures = breaker.failures + 1;
      if (breaker.state === "half_open" || failures >= BREAKER_FAILURES) return open({ ...breaker, failures }, "failures", now, because);
      return { ...breaker, failures, because };
    }
    case "aborted":
      // The token is back and the next caller has it at once: the cool-down is over already.
      return breaker.state === "closed" ? breaker : { ...breaker, generation: breaker.generation + 1, tokenSince: undefined };
  }
}

const open = (breaker: Breaker, cause: NonNullable<Breaker["cause"]>, now: number, because: string | undefined): Breaker => ({
  state: "open", generation: breaker.generation + 1, failures: breaker.failures, openedAt: now, tokenSince: undefined, cause, because: because ?? breaker.because,
});

/** An operator's word, or a new pin: whatever is under way from before no longer counts. */
export const resetBreaker = (breaker: Breaker): Breaker => ({ ...CLOSED_BREAKER, generation: breaker.generation + 1 });

/** A breaker as people see it. */
export interface CircuitView {
  readonly state: CircuitState;
  readonly consecutiveFailures: number;
  /** How long ago it opened, ms. */
  readonly openedForMs: number | undefined;
  /** When the next call may go, ms from now: 0 = now; undefined = only after a reset or a new pin. */
  readonly retryInMs: number | undefined;
  readonly cause: Breaker["cause"];
  readonly because: string | undefined;
}

export function viewBreaker(breaker: Breaker, now: number, coolDownMs: number = BREAKER_COOLDOWN_MS): CircuitView {
  const admission = admitCall(breaker, now, coolDownMs);
  return {
    state: breaker.state,
    consecutiveFailures: breaker.failures,
    openedForMs: breaker.openedAt === undefined ? undefined : Math.max(0, now - breaker.openedAt),
    retryInMs: admission.kind === "admitted" ? 0 : admission.retryAfterMs,
    cause: breaker.cause,
    because: breaker.because,
  };
}
