/**
 * One breaker and one record of calls per host, around every call this master makes to an agent. Kept in memory: what a
 * master saw of a host is its own view, and a new master has none. What was decided by people (a reset) comes with the
 * host's record from the database, so every master follows it.
 * Invariants: nobody calls an agent without a pass; every pass is settled once; an entry outlives neither its host nor
 * what was known under other pins or another address.
 */
import {
  CLOSED_BREAKER, admitCall, createCallMetrics, resetBreaker, settleCall, viewBreaker, type Breaker, type CallMetrics, type CallOutcome, type CallSummary, type CircuitState, type CircuitView,
  type Clock, type HostId, type HostRecord,
} from "@skep/core";
import { agentUrlOf } from "./pools.ts";

/** How a call went, for its breaker and for whoever counts. */
export interface CallEnd {
  readonly outcome: CallOutcome;
  readonly bytesSent?: number;
  readonly bytesReceived?: number;
  /** Why it failed. */
  readonly because?: string;
}

export interface OpenCall {
  readonly kind: "admitted";
  /** Once; a second one does nothing. */
  settle(end: CallEnd): void;
}

export interface CircuitOpen {
  readonly kind: "circuit_open";
  /** Undefined: no time mends it, only a reset, another pin or another address. */
  readonly retryAfterMs: number | undefined;
  readonly because: string;
  /** How long ago a call to this host really failed: the fact behind the refusal. */
  readonly failedAgoMs: number | undefined;
}

export interface CallObserver {
  onCall?(call: { readonly host: HostRecord; readonly outcome: CallOutcome; readonly ms: number; readonly bytesSent: number; readonly bytesReceived: number }): void;
  /** Edges people care for: it opened, or it closed. A trial that failed re-opens in silence. */
  onTransition(change: { readonly host: HostRecord; readonly to: CircuitState; readonly cause: Breaker["cause"]; readonly because: string | undefined; readonly told: boolean }): void;
}

export interface Circuits {
  begin(host: HostRecord): OpenCall | CircuitOpen;
  view(host: HostRecord): CircuitView;
  /** Hosts whose circuit may not be closed: a reset that only the database knows of is not seen here. */
  open(): readonly HostId[];
  calls(hostId: HostId): CallSummary;
  /** The host's pins changed: what was known under the old ones is void. Without any pin left the host is gone. */
  pinsChanged(hostId: HostId): void;
}

interface Entry {
  /** As it was last called. */
  host: HostRecord;
  breaker: Breaker;
  readonly calls: CallMetrics;
  address: string | undefined;
  resets: number;
  lastFailureAt: number | undefined;
}

export interface CircuitsDeps {
  readonly clock: Clock;
  readonly pinsOf: (hostId: string) => ReadonlySet<string>;
  readonly observer?: CallObserver | undefined;
  /** How long an open circuit waits for its trial; another than core's in tests only. */
  readonly coolDownMs?: number | undefined;
}

export function createCircuits(deps: CircuitsDeps): Circuits {
  const { clock, observer, coolDownMs } = deps;
  const entries = new Map<string, Entry>();

  const move = (host: HostRecord, entry: Entry, next: Breaker): void => {
    const { state: was } = entry.breaker;
    entry.breaker = next;
    if (was === next.state) return;
    // Half open is a question, not an answer, and a trial that fails is no news; that a stranger answered it is.
    const told = (next.state === "open" && (was === "closed" || next.cause === "identity")) || next.state === "closed";
    observer?.onTransition({ host, to: next.state, cause: next.cause, because: next.because, told });
  };

  // What failed at the old address says nothing of the new one. A record read before the last reset must not undo it.
  const isOutdated = (entry: Entry, host: HostRecord): boolean => entry.address !== agentUrlOf(host) || host.breakerResets > entry.resets;

  const entryOf = (host: HostRecord): Entry => {
    const address = agentUrlOf(host);
    let entry = entries.get(host.id);
    if (entry === undefined) {
      entry = { host, breaker: CLOSED_BREAKER, calls: createCallMetrics(clock.mono()), address, resets: host.breakerResets, lastFailureAt: undefined };
      entries.set(host.id, entry);
    }
    entry.host = host;
    if (isOutdated(entry, host)) {
      entry.address = address;
      entry.resets = Math.max(entry.resets, host.breakerResets);
      move(host, entry, resetBreaker(entry.breaker));
    }
    return entry;
  };

  return {
    begin(host) {
      const entry = entryOf(host);
      const startedAt = clock.mono();
      const admission = admitCall(entry.breaker, startedAt, coolDownMs);
      if (admission.kind === "refused") {
        const { retryAfterMs, because } = admission;
        return { kind: "circuit_open", retryAfterMs, because, failedAgoMs: entry.lastFailureAt === undefined ? undefined : startedAt - entry.lastFailureAt };
      }
      move(host, entry, admission.breaker);
      let settled = false;
      return {
        kind: "admitted",
        settle: ({ outcome: said, bytesSent = 0, bytesReceived = 0, because }) => {
          if (settled) return;
          settled = true;
          const now = clock.mono();
          // With no pin at hand (the database is away) every peer is a stranger: that is our blindness, not its identity.
          const outcome = said === "identity" && deps.pinsOf(host.id).size === 0 ? "aborted" : said;
          if (outcome === "failure" || outcome === "identity") entry.lastFailureAt = now;
          move(host, entry, settleCall(entry.breaker, admission.pass, outcome, now, because));
          if (outcome !== "aborted") entry.calls.record({ ok: outcome === "success", ms: now - startedAt, bytesSent, bytesReceived }, now);
          observer?.onCall?.({ host, outcome, ms: now - startedAt, bytesSent, bytesReceived });
        },
      };
    },
    // Looking changes nothing, not even what a reset is about to: the next call does.
    view: (host) => {
      const entry = entries.get(host.id);
      return viewBreaker(entry === undefined || isOutdated(entry, host) ? CLOSED_BREAKER : entry.breaker, clock.mono(), coolDownMs);
    },
    open: () => [...entries.values()].filter((entry) => entry.breaker.state !== "closed").map((entry) => entry.host.id),
    calls: (hostId) => (entries.get(hostId)?.calls ?? createCallMetrics(clock.mono())).summary(clock.mono()),
    pinsChanged: (hostId) => {
      const entry = entries.get(hostId);
      if (entry === undefined) return;
      if (deps.pinsOf(hostId).size === 0) entries.delete(hostId);
      else move(entry.host, entry, resetBreaker(entry.breaker));
    },
  };
}
