/**
 * One component's life: spawn, watch, restart by policy, stop. Invariants: at most one child at a time, the next is
 * spawned only after the last one's whole group is gone; every change is in the state file before anybody is told;
 * after a stop request nothing is spawned.
 */
import { appendFileSync } from "node:fs";
import type { Clock, Rng } from "@skep/core";
import { endGroup, spawnChild, SpawnFailure } from "./child.ts";
import type { Child } from "./child.ts";
import { decideRestart } from "./decide-restart.ts";
import type { LogWriter } from "./log-segments.ts";
import { runProbeCommand } from "./probe-exec.ts";
import { probeOnce, type ProbeTarget } from "./probe.ts";
import type { ExitRecord, LaunchOrder, LaunchResult, RunState } from "./run-state.ts";
import { watchHealth } from "./watch-health.ts";

export interface SupervisorDeps {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: LogWriter;
  /** Makes a state durable and known. Never throws: what cannot be written now is tried again. */
  readonly publish: (state: RunState) => void;
}

export interface Supervisor {
  state(): RunState;
  /** Runs to the end of the component; `started` hears once whether the first spawn worked. */
  run(started: (result: LaunchResult) => void): Promise<void>;
  /** Asks for the end; several requests are one, the most impatient timeout wins. Watch the state for the outcome. */
  stop(timeoutMs: number, because?: string): void;
}

export function createSupervisor(order: LaunchOrder, { clock, rng, log, publish }: SupervisorDeps): Supervisor {
  const { spec, labels } = order.state;
  let state = order.state;
  let stopDeadlineMs = Number.POSITIVE_INFINITY;
  let stopReason: string | undefined;
  const stopping = new AbortController();
  const probed: ProbeTarget = { host: "127.0.0.1", ports: order.state.ports, exec: (command, over) => runProbeCommand(command, order, over) };

  const change = (patch: Partial<RunState>): void => {
    const moved = patch.state !== undefined && patch.state !== state.state;
    state = { ...state, ...patch, since: moved ? clock.now() : state.since };
    publish(state);
  };

  const stop = (timeoutMs: number, because?: string): void => {
    stopDeadlineMs = Math.min(stopDeadlineMs, clock.mono() + timeoutMs);
    stopReason ??= because;
    stopping.abort();
  };

  /** The effect itself, counted where tests can see it: one line per spawn. */
  const recordStart = (child: Child): void => {
    const line = { placement: labels.placementId, component: labels.component, job: labels.jobId, generation: labels.generation, epoch: labels.epoch, count: state.starts + 1, pid: child.id.pid };
    try {
      appendFileSync(order.startsLog, `${JSON.stringify(line)}\n`, { mode: 0o600 });
    } catch {
      // a full disk must not end what has just started
    }
  };

  /** One life: from the spawn to the end of the group. */
  const live = async (child: Child): Promise<ExitRecord> => {
    const over = new AbortController();
    const health = watchHealth({
      probe: spec.probe, settleMs: order.timings.settleMs, clock, over: over.signal,
      probeOnce: (probe) => probeOnce(probe, probed, clock, over.signal),
      report: (seen) => change({ state: seen.state, error: seen.error }),
    });
    const stopped = new Promise<void>((resolve) => (stopping.signal.aborted ? resolve() : stopping.signal.addEventListener("abort", () => resolve(), { once: true })));
    await Promise.race([child.exited, stopped]);
    over.abort();
    await health;
    // Leftovers of a child that ended by itself get its own stop timeout, a requested stop the request's.
    const ownDeadlineMs = clock.mono() + spec.stop_timeout_s * 1_000;
    await endGroup(child.id.pid, () => (stopping.signal.aborted ? stopDeadlineMs : ownDeadlineMs), clock);
    return child.exited;
  };

  const finishStopped = (exit?: ExitRecord): void => change({ state: "stopped", child: null, error: stopReason, ...(exit === undefined ? {} : { exit }) });

  const run = async (started: (result: LaunchResult) => void): Promise<void> => {
    let crashes = 0;
    for (let first = true; ; first = false) {
      const startMs = clock.mono();
      let exit: ExitRecord;
      try {
        const child = await spawnChild(order, clock, (chunk) => log.write(chunk));
        recordStart(child);
        change({ state: "starting", child: child.id, starts: state.starts + 1, restarts: first ? 0 : state.restarts + 1, error: undefined });
        if (first) started({ ok: true });
        exit = await live(child);
      } catch (error) {
        if (!(error instanceof SpawnFailure)) throw error;
        if (first) {
          change({ state: "failed", error: error.message });
          return started({ ok: false, code: error.code, message: error.message });
        }
        exit = { notStarted: error.message, at: clock.now() };
      }
      if (stopping.signal.aborted) return finishStopped(exit);
      if (clock.mono() - startMs >= order.timings.resetAfterMs) crashes = 0;
      const next = decideRestart(spec.restart, exit, crashes, order.timings, rng);
      if (next.kind === "end") return change({ state: next.state, child: null, exit, error: next.error });
      crashes++;
      change({ state: "backoff", child: null, exit, error: `${next.because}; restarts in ${next.delayMs} ms` });
      await clock.sleep(next.delayMs, stopping.signal);
      if (stopping.signal.aborted) return finishStopped();
    }
  };

  return { state: () => state, run, stop };
}
