/**
 * Keeps watch over our containers: probes the running ones, starts again by policy what died by itself. Invariants: it
 * starts nothing before `release`, nothing that was asked to stop, nothing that it has no record of; a container is
 * looked at again under its component's lock before it is started; whatever wakes it, truth comes from a look.
 */
import type { Clock, Logger, Rng } from "@skep/core";
import type { KeyedLock } from "../../keyed-lock.ts";
import { decideRestart } from "../../runner/decide-restart.ts";
import { probeOnce } from "../../runner/probe.ts";
import type { ProbeTarget } from "../../runner/probe.ts";
import type { ExitRecord, RunTimings } from "../../runner/run-state.ts";
import { watchHealth } from "../../runner/watch-health.ts";
import { keyOf } from "../labels.ts";
import type { Collector } from "./collect-logs.ts";
import { isRunning, timeOf, wasStarted } from "./context.ts";
import type { View } from "./context.ts";
import { howItEnded } from "./decide-observed.ts";
import type { Vital } from "./decide-observed.ts";
import { EngineRefusal, plainWords } from "./engine-error.ts";
import type { Engine } from "./engine.ts";
import { insideAddress } from "./published-ports.ts";
import type { ContainerRecord, Records } from "./records.ts";

export interface Keeper {
  /** Takes note of what was just seen. */
  see(view: View): Vital;
  /** Everything there is was seen by a look that began at `sinceMs` (monotonic): forget the rest. */
  seenAll(ids: ReadonlySet<string>, sinceMs: number): void;
  /** Ends a pending restart. */
  cancel(id: string): void;
  /** While `work` runs, a container that is not up yet is starting and not failed. */
  starting<T>(id: string, work: () => Promise<T>): Promise<T>;
  release(): void;
  close(): void;
}

export interface KeeperDeps {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly records: Records;
  readonly lock: KeyedLock;
  readonly collector: Collector;
  readonly timings: RunTimings;
  readonly hostBootId: string;
  readonly runCommand: (containerId: string) => ProbeTarget["exec"];
  /** Something changed by itself: tell those who wait, and look again. */
  readonly changed: () => void;
}

/** Starting an existing container; the engine answers when its first process was executed. */
export const START_DEADLINE_MS = 60_000;

interface Life {
  readonly startedAt: string | undefined;
  readonly bornMs: number;
  readonly over: AbortController;
  health: Vital["health"];
}

export function createKeeper(deps: KeeperDeps): Keeper {
  const { engine, clock, rng, logger, records, collector, timings, changed } = deps;
  const lives = new Map<string, Life>();
  const backoffs = new Map<string, { readonly because: string; readonly since: number; readonly nap: AbortController }>();
  const starts = new Map<string, number>();
  let released = false;
  let closed = false;

  const endLife = (id: string): void => {
    lives.get(id)?.over.abort();
    lives.delete(id);
  };

  const watch = (view: View): void => {
    const startedAt = view.seen.State?.StartedAt;
    if (closed || view.damage !== undefined || lives.get(view.id)?.startedAt === startedAt && lives.has(view.id)) return;
    endLife(view.id);
    const over = new AbortController();
    const life: Life = { startedAt, bornMs: clock.mono(), over, health: undefined };
    lives.set(view.id, life);
    const probe = view.spec?.probe;
    const ageMs = Math.max(0, clock.now() - (timeOf(startedAt) ?? clock.now()));
    if (probe === undefined && ageMs >= timings.settleMs) {
      life.health = { state: "running", since: timeOf(startedAt) ?? clock.now() };
      return;
    }
    const ports = Object.fromEntries((view.spec?.ports ?? []).flatMap((port) => (port.container === undefined ? [] : [[port.name, port.container]])));
    const host = insideAddress(view.seen);
    void watchHealth({
      probe, settleMs: timings.settleMs - ageMs, clock, over: over.signal,
      probeOnce: async (what) => (host === undefined && what.type !== "exec" ? "it has no address: it is on no network" : probeOnce(what, { host: host ?? "", ports, exec: deps.runCommand(view.id) }, clock, over.signal)),
      report: (health) => {
        life.health = { ...health, since: clock.now() };
        changed();
      },
    });
  };

  /** What died by itself: again later, or never more. */
  const consider = (view: View): void => {
    const record = records.get(view.id);
    if (!released || closed || record === undefined || view.spec === undefined || view.damage !== undefined) return;
    if (record.stop !== undefined || record.ended !== undefined || backoffs.has(view.id) || starts.has(view.id) || !wasStarted(view)) return;
    const { restart, run_to_completion: once } = view.spec;
    const at = timeOf(view.seen.State?.FinishedAt) ?? clock.now();
    const exit: ExitRecord = record.startError === undefined ? { code: view.seen.State?.ExitCode ?? -1, at } : { notStarted: record.startError, at };
    // A reboot ended it and not its own doing: what is never restarted stays as the reboot left it.
    if (record.hostBootId !== deps.hostBootId && restart.policy === "never" && !(once === true && exit.code === 0)) return;
    const ranMs = exit.at - (timeOf(view.seen.State?.StartedAt) ?? exit.at);
    const crashes = ranMs >= timings.resetAfterMs && record.startError === undefined ? 0 : record.crashes;
    const next = once === true && exit.code === 0 ? ({ kind: "end", state: "exited", error: undefined } as const) : decideRestart(restart, exit, crashes, timings, rng);
    if (next.kind === "end") {
      const gaveUp = next.error?.includes("; ") === true ? `; ${next.error.split("; ")[1]}` : "";
      records.insist({ ...record, ended: { error: exit.code === 0 && gaveUp === "" ? undefined : `${record.startError ?? howItEnded(view)}${gaveUp}` } });
      return changed();
    }
    const nap = new AbortController();
    backoffs.set(view.id, { because: `${record.startError ?? howItEnded(view)}; restarts in ${next.delayMs} ms`, since: clock.now(), nap });
    void restartLater(view, next.delayMs, crashes, nap.signal);
    changed();
  };

  const restartLater = async (view: View, delayMs: number, crashes: number, nap: AbortSignal): Promise<void> => {
    await clock.sleep(delayMs, nap);
    try {
      await deps.lock.run([keyOf(view.labels)], async () => {
        if (nap.aborted || closed) return;
        const record = records.get(view.id);
        const seen = await engine.inspect(view.id);
        if (record === undefined || record.stop !== undefined || record.ended !== undefined || seen === undefined || seen.State?.Running === true) return;
        await restart({ ...record, crashes }, record);
      });
    } catch (err) {
      logger.warn({ err, component: keyOf(view.labels) }, "a container could not be restarted yet");
    } finally {
      backoffs.delete(view.id);
      changed();
    }
  };

  const restart = async (record: ContainerRecord, before: ContainerRecord): Promise<void> => {
    records.insist({ ...record, restarts: record.restarts + 1, crashes: record.crashes + 1, hostBootId: deps.hostBootId, startError: undefined });
    try {
      await engine.start(record.id, undefined, START_DEADLINE_MS);
      logger.info({ component: keyOf(record.labels), restarts: record.restarts + 1 }, "a container that ended by itself was started again");
    } catch (error) {
      // A refusal is one more crash; where nothing is known, nothing is counted.
      if (error instanceof EngineRefusal) records.insist({ ...record, crashes: record.crashes + 1, startError: `could not be started again: ${plainWords(error.message)}` });
      else records.insist(before);
      throw error;
    }
  };

  const vitalOf = (id: string): Vital => ({ health: lives.get(id)?.health, backoff: backoffs.get(id), starting: starts.has(id) });

  return {
    see: (view) => {
      collector.see(view);
      if (isRunning(view)) watch(view);
      else {
        endLife(view.id);
        consider(view);
      }
      return vitalOf(view.id);
    },
    seenAll: (ids, sinceMs) => {
      for (const [id, life] of lives) if (!ids.has(id) && life.bornMs < sinceMs) endLife(id);
    },
    cancel: (id) => {
      backoffs.get(id)?.nap.abort();
      backoffs.delete(id);
    },
    starting: async (id, work) => {
      starts.set(id, (starts.get(id) ?? 0) + 1);
      try {
        return await work();
      } finally {
        const left = (starts.get(id) ?? 1) - 1;
        if (left > 0) starts.set(id, left);
        else starts.delete(id);
      }
    },
    release: () => {
      released = true;
      changed();
    },
    close: () => {
      closed = true;
      for (const id of lives.keys()) endLife(id);
      for (const { nap } of backoffs.values()) nap.abort();
    },
  };
}
