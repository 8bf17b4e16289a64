/**
 * The prober: asks every host how it is, at a fixed rate, for the sake of knowing (H1–H3). A round claims what is due,
 * launches the questions and goes; answers are judged in core and written in groups. Any number of masters may run it:
 * claims share the work, and a transition is written and told once because records are locked and compared.
 * Invariants: no host waits for another one's time-out; liveness is neither read nor written here; a question that was
 * given up or withheld says nothing of the host.
 */
import {
  addMs, decideReachability, PROBE_THRESHOLDS, SkepError, type HostId, type HostRecord, type Instant, type ProbeLane, type ProbeOutcome, type ProbeThresholds, type Reachability, type ReachabilityNews, type Tx,
} from "@skep/core";
import type { ControlDeps, HealthAnswer } from "../ports.ts";
import { createGroupCommit } from "./group-commit.ts";

/** Questions under way at once, per lane and master. */
export type ProbeLimits = Readonly<Record<ProbeLane, number>>;

export const PROBE_LIMITS: ProbeLimits = {
  // Hosts that have just begun to hang are here for one time-out each: too few, and a partition of half the fleet makes
  // the other half late. Too many is that many TLS handshakes in one moment.
  answering: 128,
  // Each may be held for 5 s: too few, and a recovered host is noticed late. More than that many sockets wait for nobody.
  failing: 64,
};
/**
 * A question may take this long. Where beats come faster than that (tests, the demo) asking as often would open a host's circuit, for
 * its whole minute, over a restart of two seconds.
 */
const SHORTEST_PERIOD_MS = 5_000;
/** How long results wait for company, ms. Longer is told later; shorter is a transaction for every answer. */
const RESULT_WINDOW_MS = 100;
/** The locks of a larger group are held for longer than anybody should wait for them. */
const RESULTS_AT_ONCE = 200;

export interface Prober {
  probeOnce(): Promise<{ asked: number }>;
  /** Told when a lane that was full has room again: there may be hosts waiting. */
  onProbeDue(listener: () => void): void;
  /** Gives up what is under way; resolves when every result taken in is written or refused. */
  drain(): Promise<void>;
}

export interface ProberOptions {
  readonly listeningSince: () => Instant;
  /** How many probes in a row change what is said of a host. */
  readonly thresholds?: ProbeThresholds | undefined;
  readonly limits?: ProbeLimits | undefined;
}

interface Result {
  readonly host: HostRecord;
  readonly answer: HealthAnswer;
}

export function createProber(deps: ControlDeps, { listeningSince, thresholds = PROBE_THRESHOLDS, limits = PROBE_LIMITS }: ProberOptions): Prober {
  const { store, agents, clock, logger, timings } = deps;
  const periodMs = Math.max(timings.heartbeatIntervalMs, SHORTEST_PERIOD_MS);
  const underWay: Record<ProbeLane, Set<Promise<void>>> = { answering: new Set(), failing: new Set() };
  /** With a result that waits for the database a host may come due again while it is being asked. */
  const asking = new Map<HostId, AbortController>();
  let wake: () => void = () => undefined;

  const results = createGroupCommit<Result, undefined>({
    clock, maxItems: RESULTS_AT_ONCE, windowMs: RESULT_WINDOW_MS, lanes: 1,
    flush: (items) => store.transaction((tx) => record(tx, items), { pool: "background" }),
  });

  const record = async (tx: Tx, items: readonly Result[]): Promise<undefined[]> => {
    const now = await tx.now();
    const rules = { ...thresholds, periodMs, warmingUp: now - listeningSince() < timings.warmUpMs };
    const known = new Map((await tx.lockReachability(items.map(({ host }) => host.id))).map((one) => [one.hostId, one]));
    const moves: { readonly next: Reachability; readonly news: readonly ReachabilityNews[]; readonly host: HostRecord }[] = [];
    for (const { host, answer } of items) {
      const was = known.get(host.id);
      // Decommissioned while it was asked: nobody wants to know any more.
      if (was === undefined) continue;
      const { next, news } = decideReachability(was, outcomeOf(answer, now), now, rules);
      if (next !== was) moves.push({ next, news, host });
    }
    const written = new Set(await tx.casReachability(moves.map(({ next }) => next)));
    for (const { host, news } of moves.filter((move) => written.has(move.host.id))) {
      for (const { kind, severity, says } of news) await tx.appendEvent({ kind, severity, message: `host ${host.name} ${says}`, hostId: host.id });
    }
    return items.map(() => undefined);
  };

  const probe = async (host: HostRecord, signal: AbortSignal): Promise<void> => {
    const answer = await agents.health(host, signal);
    if (signal.aborted) return;
    deps.observe?.onProbe(answer);
    try {
      await results.add({ host, answer }, false);
    } catch (error) {
      // The next probe says it again; a database that is away is no fault of the host's.
      if (!(error instanceof SkepError)) throw error;
      logger.debug({ code: error.code, host_id: host.id }, "what a probe brought could not be recorded");
    }
  };

  const launch = (lane: ProbeLane, host: HostRecord): void => {
    const question = new AbortController();
    asking.set(host.id, question);
    const task = probe(host, question.signal).catch((err: unknown) => logger.error({ err, host_id: host.id }, "a probe failed in this master")).then(() => {
      const wasFull = underWay[lane].size >= limits[lane];
      underWay[lane].delete(task);
      asking.delete(host.id);
      if (wasFull) wake();
    });
    underWay[lane].add(task);
  };

  const claim = async (lane: ProbeLane): Promise<number> => {
    const room = limits[lane] - underWay[lane].size;
    if (room <= 0) return 0;
    const hosts = (await store.claimProbes(lane, room, periodMs)).filter((host) => !asking.has(host.id));
    for (const host of hosts) launch(lane, host);
    return hosts.length;
  };

  return {
    async probeOnce() {
      const [answering, failing] = await Promise.all([claim("answering"), claim("failing")]);
      return { asked: answering + failing };
    },
    onProbeDue: (listener) => {
      wake = listener;
    },
    async drain() {
      for (const question of asking.values()) question.abort();
      await Promise.all([...underWay.answering, ...underWay.failing]);
      await results.drain();
    },
  };
}

function outcomeOf(answer: HealthAnswer, now: Instant): ProbeOutcome {
  if (answer.ok) return { kind: "ok" };
  if (answer.withheld === undefined) return { kind: "failed", error: answer.error };
  const { failedAgoMs, consecutiveFailures, stranger = false } = answer.withheld;
  return { kind: "withheld", error: answer.error, consecutiveFailures, stranger, failedAt: failedAgoMs === undefined ? undefined : addMs(now, -failedAgoMs) };
}
