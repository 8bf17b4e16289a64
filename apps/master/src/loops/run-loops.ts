/**
 * What the master does again and again. Every round looks at the database anew; wake-ups only make a round come sooner,
 * so each of them may be lost (style 6). Any number of masters may run these at the same time.
 */
import { HOUR_MS, SkepError, type Clock, type Logger, type Rng, type Store, type Timings } from "@skep/core";
import { loop, type Loop } from "@skep/runtime";
import type { Control } from "../control/control.ts";
import { POLL_MS, type PinCache } from "../identity/pin-cache.ts";

export interface LoopDeps {
  readonly control: Control;
  readonly store: Store;
  readonly pins: PinCache;
  /** Renews the master's own certificate when due. */
  readonly renewCredentials: () => void;
  readonly timings: Timings;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Short enough to hide a lost wake-up, long enough to cost nothing at rest. */
const DISPATCH_EVERY_MS = 1_000;
/** A wave that has passed waits this long at most for the next one; each look at a large rollout reads all its placements. */
const ROLLOUT_EVERY_MS = 1_000;
/** How late a due probe may start. Each look costs two small statements; looking less often is seen in how late results are. */
const PROBE_EVERY_MS = 250;
/** What happened is an alert this much later at most. */
const ALERTS_EVERY_MS = 1_000;
/** Retries become due by themselves; what is new wakes the loop. */
const DELIVERIES_EVERY_MS = 1_000;
/** A placement that is seen to run on its new host is on both for this long at most. */
const MOVE_EVERY_MS = 1_000;
/** Spread, so that masters that started together do not sweep together. */
const JITTER = 0.1;

/** More than there are; far fewer than a leak would make. */
export const MAX_LOOPS = 16;

/** Starts all loops; resolves when every one of them has ended after the signal. */
export function runLoops(deps: LoopDeps): { readonly stopped: Promise<void> } {
  const { control, timings, store } = deps;
  const start = (name: string, everyMs: number, once: () => Promise<unknown>): Loop =>
    loop({ name, everyMs, jitterShare: JITTER, clock: deps.clock, rng: deps.rng, logger: deps.logger, signal: deps.signal, once: quietly(name, once, deps.logger) });

  const dispatch = start("dispatch", Math.min(DISPATCH_EVERY_MS, timings.heartbeatIntervalMs / 4), () => control.dispatchOnce());
  const sweep = start("sweep", timings.sweepIntervalMs, async () => {
    // With pins too old to trust every beat is refused: our deafness, not the hosts' silence. Read now and not with the
    // next poll, because the database may be back already, and after a short interval or two its hosts would be given up.
    if (!deps.pins.isFresh()) {
      await deps.pins.poll();
      control.wentDeaf();
    }
    // Who is silent is settled first: what the sweep may conclude of a row depends on its host.
    await control.livenessOnce();
    await control.sweepOnce();
  });
  const probes = start("probes", Math.min(PROBE_EVERY_MS, timings.heartbeatIntervalMs / 4), () => control.probeOnce());
  const reconcile = start("reconcile", timings.heartbeatIntervalMs, () => control.reconcileOnce());
  const rollouts = start("rollouts", Math.min(ROLLOUT_EVERY_MS, timings.heartbeatIntervalMs / 2), () => control.rolloutOnce());
  const alerts = start("alerts", Math.min(ALERTS_EVERY_MS, timings.heartbeatIntervalMs / 2), () => control.alertOnce());
  const deliveries = start("webhooks", DELIVERIES_EVERY_MS, () => control.deliverOnce());
  const moves = start("moves", Math.min(MOVE_EVERY_MS, timings.heartbeatIntervalMs / 2), () => control.drainOnce());
  const pins = start("pins", POLL_MS, () => deps.pins.poll());
  const retention = start("retention", HOUR_MS, () => control.retainOnce());
  const credentials = start("credentials", HOUR_MS, async () => deps.renewCredentials());

  control.onWorkDue(() => dispatch.wake());
  control.onRolloutDue(() => rollouts.wake());
  control.onProbeDue(() => probes.wake());
  control.onDeliveryDue(() => deliveries.wake());
  control.onMoveDue(() => moves.wake());
  const unsubscribe = store.onSignal((topic) => {
    if (topic === "lifecycle") dispatch.wake();
    else if (topic === "rollouts") rollouts.wake();
    else if (topic === "moves") moves.wake();
    else if (topic === "pins") pins.wake();
  });
  const all = [dispatch, sweep, probes, reconcile, rollouts, alerts, deliveries, moves, pins, retention, credentials];
  return { stopped: Promise.all(all.map((one) => one.stopped)).then(() => unsubscribe()) };
}

/** A database that is away is one line when it goes and one when it is back, not one a round. */
function quietly(name: string, once: () => Promise<unknown>, logger: Logger): () => Promise<void> {
  let away = false;
  return async () => {
    try {
      await once();
      if (away) logger.info({ loop: name }, "the loop works again");
      away = false;
    } catch (error) {
      if (!(error instanceof SkepError) || !error.retryable || error.code === "internal") throw error;
      if (!away) logger.warn({ loop: name, code: error.code, detail: error.detail }, "a loop waits for the database");
      away = true;
    }
  };
}
