/**
 * The boot sequence: stage by stage, members of a stage together, what blocks tried again for ever. Invariants: a stage
 * starts its own members and nothing else (defect 1-1); every round starts what is missing again (1-2); every wait ends
 * with `leaving` (1-3); members share the deadline and are judged each by itself (1-4); the truth about it is one value,
 * `report()`, at any moment.
 */
import {
  bootAlerts, bootReportOf, decideStage, nextStage, type AbortSignalLike, type BootReport, type BootStage, type BootState, type Clock, type Logger, type MemberOutcome, type Rng, type StageHealth, type StageResult,
} from "@skep/core";
import { wordsOf } from "../executor/job-context.ts";
import { AwaitsMaster, bringUp, judge, type BringUpDeps } from "./bring-up.ts";
import { outlasting } from "./patience.ts";

/** Between tries of one member within a round, doubling. Shorter hammers a program that fails at once; longer wastes the stage's time. */
const TRY_AGAIN_MS = 1_000;
const TRY_AGAIN_CAP_MS = 10_000;
/** Between looks at what the sequence went on without, and the longest of one. It only changes what is told, so it need not be quick. */
const RECHECK_MS = 5_000;

export interface SequenceDeps extends Omit<BringUpDeps, "leftMs"> {
  readonly stages: readonly BootStage[];
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** The process is going: every wait ends. */
  readonly leaving: AbortSignalLike;
  /** The report says something new. */
  readonly onChange: () => void;
}

export interface BootSequence {
  /** undefined = there is no sequence. */
  report(): BootReport | undefined;
  results(): readonly StageResult[];
  /** Once the journal is known. Resolves when all stages were gone through, or with `leaving`. */
  run(): Promise<void>;
  /** Stages as configured now. Those gone through stay so; the present one begins anew. */
  reconfigure(stages: readonly BootStage[]): void;
}

interface Current {
  readonly stage: BootStage;
  state: Extract<BootState, "waiting" | "starting" | "blocked">;
  readonly members: Map<string, MemberOutcome>;
}

export function createBootSequence(deps: SequenceDeps): BootSequence {
  const { clock, rng, logger, leaving } = deps;
  let { stages } = deps;
  let changed = new AbortController();
  let current: Current | undefined = stages[0] === undefined ? undefined : newCurrent(stages[0], "waiting");
  let results: StageResult[] = [];
  let blockedSinceMs: number | undefined;
  let pastAlerts = 0;
  /** By the name of the stage, as it was when it was gone through. */
  const healthOf = new Map<string, StageHealth>();

  const note = (member: MemberOutcome): void => {
    current?.members.set(member.name, member);
    deps.onChange();
  };
  const enter = (state: Current["state"]): void => {
    if (current === undefined || current.state === state) return;
    current.state = state;
    deps.onChange();
  };

  async function run(): Promise<void> {
    const startMs = clock.mono();
    if (stages.length > 0) logger.info({ stages: stages.map(({ name, members }) => ({ name, members })) }, "the boot sequence begins");
    for (let stage = nextStage(stages, results); stage !== undefined && !leaving.aborted; stage = nextStage(stages, results)) {
      const result = await runStage(stage);
      if (result === undefined) continue;
      healthOf.set(stage.name, stage.health);
      results = [...results, result];
    }
    current = undefined;
    deps.onChange();
    if (leaving.aborted || results.length === 0) return;
    const degraded = results.filter((result) => result.outcome !== "healthy").map((result) => result.name);
    logger[degraded.length > 0 ? "warn" : "info"]({ ms: clock.mono() - startMs, degraded }, degraded.length > 0 ? "the boot sequence is over, with members that are not healthy" : "the boot sequence is complete");
    if (degraded.length > 0) void recheck();
  }

  /** undefined = broken off: the process is leaving, or the stages were configured anew. */
  async function runStage(stage: BootStage): Promise<StageResult | undefined> {
    changed = new AbortController();
    current = newCurrent(stage, "starting");
    const startMs = clock.mono();
    const over = (): boolean => leaving.aborted || changed.signal.aborted;
    logger.info({ stage: stage.name, members: stage.members, timeoutMs: stage.timeoutMs, foundation: stage.foundation }, "a boot stage starts");
    try {
      for (let round = 0; ; round++) {
        const members = await runRound(stage);
        if (over()) return undefined;
        const verdict = decideStage(stage, members, round, rng);
        if (verdict.kind !== "blocked") {
          const result: StageResult = { name: stage.name, outcome: verdict.kind, members, rounds: round + 1, ms: Math.round(clock.mono() - startMs) };
          logger[verdict.kind === "healthy" ? "info" : "warn"](result, verdict.kind === "healthy" ? "a boot stage is healthy" : "a boot stage is not healthy; the sequence goes on without it");
          return result;
        }
        blockedSinceMs ??= clock.mono();
        enter("blocked");
        logger.error({ stage: stage.name, because: verdict.because, retryInMs: Math.round(verdict.retryInMs), alerts: alerts() }, "a foundation stage is not healthy: nothing after it is started before it is");
        await pause(verdict.retryInMs);
        if (over()) return undefined;
      }
    } finally {
      pastAlerts = alerts();
      blockedSinceMs = undefined;
    }
  }

  async function runRound(stage: BootStage): Promise<MemberOutcome[]> {
    const round = new AbortController();
    const end = (): void => round.abort();
    for (const signal of [leaving, changed.signal]) {
      if (signal.aborted) end();
      signal.addEventListener("abort", end, { once: true });
    }
    const deadlineMs = clock.mono() + stage.timeoutMs;
    const done = new AbortController();
    void clock.sleep(stage.timeoutMs, done.signal).then(() => round.abort());
    const leftMs = (): number => deadlineMs - clock.mono();
    try {
      return await Promise.all(stage.members.map((name) => runMember(name, stage, { ...deps, leftMs }, round.signal)));
    } finally {
      done.abort();
      for (const signal of [leaving, changed.signal]) signal.removeEventListener("abort", end);
    }
  }

  /** Tries until it is healthy, the round is over, or no trying can help. Never rejects. */
  async function runMember(name: string, stage: BootStage, bringUpDeps: BringUpDeps, round: AbortSignalLike): Promise<MemberOutcome> {
    const startMs = clock.mono();
    for (let pauseMs = TRY_AGAIN_MS; ; pauseMs = Math.min(pauseMs * 2, TRY_AGAIN_CAP_MS)) {
      let outcome: MemberOutcome;
      try {
        await outlasting(clock, `starting ${name}`, round, bringUp(name, stage.health, bringUpDeps, round));
        outcome = { name, healthy: true };
        logger.info({ stage: stage.name, member: name, ms: Math.round(clock.mono() - startMs) }, "a boot member is healthy");
      } catch (error) {
        outcome = { name, healthy: false, error: wordsOf(error), ...(error instanceof AwaitsMaster ? { awaitsMaster: true } : {}) };
        logger.warn({ stage: stage.name, member: name, error: outcome.error }, "a boot member is not healthy");
      }
      if (!leaving.aborted) note(outcome);
      if (outcome.healthy || outcome.awaitsMaster === true || round.aborted) return outcome;
      await clock.sleep(pauseMs, round);
      if (round.aborted) return outcome;
    }
  }

  async function pause(ms: number): Promise<void> {
    const nap = new AbortController();
    const wake = (): void => nap.abort();
    for (const signal of [leaving, changed.signal]) signal.addEventListener("abort", wake, { once: true });
    if (!leaving.aborted && !changed.signal.aborted) await clock.sleep(ms, nap.signal);
    for (const signal of [leaving, changed.signal]) signal.removeEventListener("abort", wake);
  }

  /** Looks only: from here on starting and mending is the master's business, and this one's to tell of it. */
  async function recheck(): Promise<void> {
    while (!leaving.aborted && results.some((result) => result.members.some((member) => !member.healthy))) {
      await clock.sleep(RECHECK_MS, leaving);
      if (leaving.aborted) return;
      const ill = results.flatMap((result) => result.members.filter((member) => !member.healthy).map((member) => ({ name: member.name, stage: result.name })));
      const healed = new Set<string>();
      await Promise.all(ill.map(async ({ name, stage }) => {
        if (await isHealed(name, healthOf.get(stage) ?? { kind: "own" })) healed.add(name);
      }));
      if (healed.size === 0) continue;
      results = results.map((result) => ({ ...result, members: result.members.map((member) => (healed.has(member.name) ? { name: member.name, healthy: true } : member)) }));
      logger.info({ members: [...healed] }, "healthy now: what the boot sequence went on without");
      deps.onChange();
    }
  }

  async function isHealed(name: string, health: StageHealth): Promise<boolean> {
    const limit = new AbortController();
    const done = new AbortController();
    const startMs = clock.mono();
    void clock.sleep(RECHECK_MS, done.signal).then(() => limit.abort());
    const judged = judge(name, health, { ...deps, leftMs: () => RECHECK_MS - (clock.mono() - startMs) }, limit.signal);
    const healed = await outlasting(clock, `looking at ${name}`, limit.signal, judged).then(() => true, () => false);
    done.abort();
    limit.abort();
    return healed;
  }

  const alerts = (): number => pastAlerts + bootAlerts(blockedSinceMs === undefined ? undefined : clock.mono() - blockedSinceMs);

  return {
    report: () => {
      if (current === undefined && results.length === 0) return undefined;
      return bootReportOf({ current: current && { stage: current.stage.name, state: current.state, members: [...current.members.values()] }, results, alerts: alerts() });
    },
    results: () => results,
    run,
    reconfigure: (next) => {
      stages = next;
      changed.abort();
    },
  };
}

const newCurrent = (stage: BootStage, state: Current["state"]): Current => ({
  stage, state, members: new Map(stage.members.map((name) => [name, { name, healthy: false, error: "it has not been started yet" }])),
});
