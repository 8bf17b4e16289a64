/**
 * A job while it runs: its lease, its slot, its place in the world. The lease is the job's `timeout_s` counted from the
 * last progress: a pull that moves is never killed, and a job in which nothing moves always is (G2).
 */
import { addMs, type AbortSignalLike, type Span, type StepResult, NO_TRACES } from "@skep/core";
import type { JobEntry } from "../journal/records.ts";
import { runtimeName } from "./eyes.ts";
import { Halted, type AbortReason, type JobContext } from "./job-context.ts";
import type { RuntimeWatch } from "./runtime-watch.ts";
import type { SchedulerDeps } from "./scheduler.ts";
import type { Slots } from "./slots.ts";

export interface LiveRun {
  readonly context: JobContext;
  /** Of the whole run; steps are below it. */
  readonly span: Span;
  readonly steps: readonly StepResult[];
  /** Grows with every real movement and never else. */
  progress(): number;
  phase(): string;
  /** Of the "it runs" delta; undefined until it has begun. */
  readonly delta: { readonly id: string; forgotten: boolean } | undefined;
  abort(reason: AbortReason): void;
  /** Gives back what it holds. */
  end(): void;
}

interface LiveRunDeps extends SchedulerDeps {
  readonly entry: JobEntry;
  readonly span: Span;
  readonly slot: string;
  readonly slots: Slots;
  readonly watch: RuntimeWatch;
  readonly halt: AbortSignalLike;
  readonly writeUntilDone: (write: () => Promise<void>, signal: AbortSignal | undefined) => Promise<void>;
}

export function createLiveRun(deps: LiveRunDeps): LiveRun {
  const { entry, span, slot, slots, watch, halt, ledger, eyes, clock, tracer = NO_TRACES } = deps;
  const { state } = ledger;
  const command = entry.command!;
  const controller = new AbortController();
  const ended = new AbortController();
  const steps: StepResult[] = [...entry.steps];
  const needed = deps.neededBy(entry);
  let reason: AbortReason | undefined;
  let delta: LiveRun["delta"];
  let progress = entry.steps.length;
  let phase = "look";
  let touched = false;
  let holding = true;
  let movedMs = clock.mono();
  let waiting: Promise<void> | undefined;

  const abort = (why: AbortReason): void => {
    reason ??= why;
    controller.abort();
  };
  const moved = (): void => {
    progress += 1;
    movedMs = clock.mono();
  };
  const letGo = (): void => {
    if (holding) slots.give(slot);
    holding = false;
  };

  async function watchLease(): Promise<void> {
    while (!ended.signal.aborted && !controller.signal.aborted) {
      const leftMs = movedMs + command.timeout_s * 1000 - clock.mono();
      if (leftMs <= 0) return abort("timeout");
      await clock.sleep(leftMs, ended.signal);
    }
  }

  /** Parallel steps of one job wait together: the slot is given up once and taken once. */
  async function waitWithoutSlot(driver: (typeof deps.drivers)[number], leave: AbortSignalLike | undefined): Promise<void> {
    letGo();
    phase = `waiting for ${runtimeName(driver)}`;
    deps.onChange();
    await watch.until(driver, leave);
    if (halt.aborted) throw new Halted();
    let go = (): void => {};
    const leaving = new Promise<void>((resolve) => (go = resolve));
    halt.addEventListener("abort", go, { once: true });
    const taken = slots.wait(slot).then(() => void (ended.signal.aborted ? slots.give(slot) : (holding = true)));
    await Promise.race([taken, leaving]);
    halt.removeEventListener("abort", go);
    if (halt.aborted) throw new Halted();
  }

  void watchLease();
  const context: JobContext = {
    command, clock, signal: controller.signal, hash: deps.hash, moved,
    applied: state.placements.get(entry.placementId),
    reason: () => reason,
    halted: () => halt.aborted,
    isNewest: () => {
      const floor = state.floors.get(entry.placementId);
      return !deps.policy.generationCheck || floor === undefined || (command.generation >= floor.generation && command.epoch >= floor.epoch);
    },
    look: () => eyes.placement(entry.placementId, needed),
    driver: eyes.driver,
    needed: deps.drivers.filter((driver) => needed === "all" || needed.includes(driver.name)),
    canLook: eyes.canLook,
    begin: async (wanted) => {
      await deps.writeUntilDone(() => ledger.write([{ kind: "begun", jobId: entry.jobId, at: deps.now(), wanted }], { sync: true }), controller.signal);
      delta = { id: deps.newId(), forgotten: false };
      deps.onDelta();
    },
    record: (one, about) => {
      steps.push(one);
      moved();
      if (about !== undefined) {
        const { word, component, code } = about;
        const { deployment, operation, generation } = entry;
        tracer.startSpan(`step ${word}`, {
          parent: span.traceparent, startedAt: addMs(clock.now(), -one.ms), attributes: { deployment, component, operation, generation, lifecycleId: entry.jobId, status: one.ok ? "ok" : "failed" },
        }).end({ error: code });
      }
      // Not synced, not awaited: steps of a job in progress are for people; the outcome carries them again.
      void ledger.write([{ kind: "step", jobId: entry.jobId, step: one }], { sync: false }).catch(() => undefined);
    },
    enter: (name) => void (phase = name),
    touch: () => void (touched = true),
    touched: () => touched,
    awaitRuntime: (driver, leave) => (waiting ??= waitWithoutSlot(driver, leave).finally(() => (waiting = undefined))),
    failpoint: (name) => deps.failpoint?.(name),
  };

  return {
    context, span, steps, abort,
    progress: () => progress,
    phase: () => phase,
    get delta() {
      return delta;
    },
    end: () => {
      ended.abort();
      letGo();
    },
  };
}
