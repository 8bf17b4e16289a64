/**
 * What one probe means for a host's reachability. Pure: the record as it is, what the probe brought, the database's now.
 * Invariants: a probe that was withheld is no observation; `unreachable` is told and `reachable` is told by turns, each
 * once; a master that is still warming up counts and concludes nothing, so that its own start alarms nobody.
 */
import { addMs, type Instant } from "../time.ts";
import type { EventSeverity } from "../ports/records.ts";
import type { Reachability, ReachabilityState } from "./record.ts";

/** How many in a row it takes. */
export interface ProbeThresholds {
  /** Fewer alarms for a hiccup; more tells late of a host that is gone. */
  readonly failures: number;
  /** More than one holds back good news until a shaky link has shown itself steady. */
  readonly successes: number;
}

export const PROBE_THRESHOLDS: ProbeThresholds = Object.freeze({ failures: 3, successes: 1 });
export const MAX_PROBE_THRESHOLD = 20;

/** This many changes of state within the window are a host that comes and goes. Fewer calls every repair flapping. */
export const FLAP_TRANSITIONS = 3;
/** In probing periods: 10 minutes at 30 s. Too short forgets a slow flapper; too long keeps calling a steady host one. */
export const FLAP_WINDOW_PERIODS = 20;

/** What came of one probe. */
export type ProbeOutcome =
  | { readonly kind: "ok" }
  | { readonly kind: "failed"; readonly error: string }
  /** The host was not asked: the asking master's circuit to it is open. */
  | {
      readonly kind: "withheld";
      readonly error: string;
      /** That master's calls that really failed, in a row. */
      readonly consecutiveFailures: number;
      /** When the last of them failed; undefined = none did. */
      readonly failedAt: Instant | undefined;
      /** Whoever answers at its address is not the pinned host. */
      readonly stranger: boolean;
    };

export interface ReachabilityRules extends ProbeThresholds {
  /** How often a host is asked: what the flap window is counted in. */
  readonly periodMs: number;
  /** The master has not run for long enough to conclude anything. */
  readonly warmingUp: boolean;
}

/** The kinds of event that reachability tells. */
export const REACHABILITY_EVENTS = ["host.network_unreachable", "host.network_reachable", "host.flapping", "host.settled"] as const;

export interface ReachabilityNews {
  readonly kind: (typeof REACHABILITY_EVENTS)[number];
  readonly severity: EventSeverity;
  /** Goes on from "host NAME ". */
  readonly says: string;
}

/** `next` is the very record given when nothing changes; its `dueAt` and `version` are never touched here. */
export function decideReachability(was: Reachability, outcome: ProbeOutcome, now: Instant, rules: ReachabilityRules): { readonly next: Reachability; readonly news: readonly ReachabilityNews[] } {
  const counted = count(was, outcome, now);
  const wanted = wantedState(counted, outcome, rules);
  const first = was.state === "unknown" && wanted === "reachable";
  if (rules.warmingUp) return { next: first ? { ...counted, state: "reachable", changedAt: now } : counted, news: [] };

  const news: ReachabilityNews[] = [];
  let next = counted;
  if (wanted !== was.state) {
    next = { ...next, state: wanted, changedAt: now, lastError: outcome.kind === "withheld" ? `not asked: ${failedCalls(outcome)}` : next.lastError };
    // The first answer of a new host is what everybody expected, and no turn.
    if (!first) news.push(wanted === "reachable" ? REACHABLE : unreachable(next, outcome));
  }
  return { next: judgeFlapping(was, next, now, rules, news), news };
}

function count(was: Reachability, outcome: ProbeOutcome, now: Instant): Reachability {
  switch (outcome.kind) {
    case "ok":
      return { ...was, consecutiveFailures: 0, consecutiveSuccesses: was.consecutiveSuccesses + 1, lastProbeAt: now, lastOkAt: now, lastError: undefined };
    case "failed":
      return { ...was, consecutiveFailures: was.consecutiveFailures + 1, consecutiveSuccesses: 0, lastProbeAt: now, lastError: outcome.error };
    case "withheld":
      return was;
  }
}

function wantedState(counted: Reachability, outcome: ProbeOutcome, rules: ReachabilityRules): ReachabilityState {
  switch (outcome.kind) {
    case "ok":
      return counted.consecutiveSuccesses >= rules.successes ? "reachable" : counted.state;
    case "failed":
      return counted.consecutiveFailures >= rules.failures ? "unreachable" : counted.state;
    case "withheld": {
      // The open circuit itself proves nothing; the calls that opened it do, unless the host has answered somebody since.
      const proven = outcome.stranger || outcome.consecutiveFailures >= rules.failures;
      const outweighed = outcome.failedAt === undefined || (counted.lastOkAt !== undefined && counted.lastOkAt > outcome.failedAt);
      return proven && !outweighed ? "unreachable" : counted.state;
    }
  }
}

function judgeFlapping(was: Reachability, next: Reachability, now: Instant, { periodMs }: ReachabilityRules, news: ReachabilityNews[]): Reachability {
  const since = addMs(now, -FLAP_WINDOW_PERIODS * periodMs);
  const kept = was.transitions.filter((at) => at > since);
  const turned = was.state !== "unknown" && next.state !== was.state;
  const transitions = turned ? [...kept, now] : kept;
  const flapping = transitions.length >= FLAP_TRANSITIONS;
  if (flapping !== was.flapping) news.push(flapping ? flaps(transitions.length) : SETTLED);
  if (!turned && kept.length === was.transitions.length && flapping === was.flapping) return next;
  return { ...next, transitions, flapping };
}

const REACHABLE: ReachabilityNews = { kind: "host.network_reachable", severity: "info", says: "answers its masters again" };
const SETTLED: ReachabilityNews = { kind: "host.settled", severity: "info", says: "no longer comes and goes" };

const flaps = (times: number): ReachabilityNews => ({
  kind: "host.flapping", severity: "warning",
  says: `comes and goes: its reachability changed ${times} times within ${FLAP_WINDOW_PERIODS} probing periods; look for a link, a switch or an agent that does`,
});

function unreachable(next: Reachability, outcome: ProbeOutcome): ReachabilityNews {
  const why = outcome.kind === "withheld" ? failedCalls(outcome) : `${next.consecutiveFailures} probes in a row failed: ${next.lastError ?? "no answer"}`;
  return { kind: "host.network_unreachable", severity: "warning", says: `does not answer its masters (${why}); check the way from the master to its agent's port. Work still reaches it with its heartbeats` };
}

const failedCalls = ({ stranger, consecutiveFailures, error }: Extract<ProbeOutcome, { kind: "withheld" }>): string =>
  stranger ? `whoever answers at its address is another: ${error}` : `${consecutiveFailures} calls of a master in a row failed: ${error}`;
