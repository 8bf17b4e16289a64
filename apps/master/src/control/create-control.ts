/** Puts the master's operations together. The only state kept in memory is what may be forgotten without harm. */
import { DEFAULT_ALERT_COOL_DOWN_MS, DEFAULT_RETENTION, traceFacts, type HostId, type LifecycleRow, type Retention } from "@skep/core";
import type { ControlDeps, WebhookSender } from "../ports.ts";
import { createAlerts } from "./alerts.ts";
import { createBeats } from "./beats.ts";
import type { Control } from "./control.ts";
import { createDeploymentControl } from "./deployments.ts";
import { createDispatch } from "./dispatch.ts";
import { createDrains } from "./drains.ts";
import { createExecControl } from "./exec.ts";
import { createLifecycleControl } from "./lifecycle.ts";
import { createLiveness } from "./liveness.ts";
import { createProber, type ProberOptions } from "./prober.ts";
import { createReconcile } from "./reconcile.ts";
import { createRetention } from "./retention.ts";
import { createRollouts } from "./rollouts.ts";
import { createSweep } from "./sweep.ts";
import { createWebhookControl } from "./webhooks.ts";
import { createWebhookDeliveries } from "./webhook-deliveries.ts";

export interface ControlExtras {
  /** Whether the host should be told to rotate its certificate; asked on every full beat. */
  readonly rotateWanted?: (hostId: HostId) => boolean;
  readonly probing?: Pick<ProberOptions, "thresholds" | "limits">;
  /** How alerts leave; without it what is to be told waits for a master that has it. */
  readonly webhooks?: { readonly sender: WebhookSender; readonly allowLoopback: boolean };
  readonly alertCoolDownMs?: number | undefined;
  readonly retention?: Retention | undefined;
}

/** Starts listening: `listeningSince` is the database's now. */
export async function createControl(deps: ControlDeps, extras: ControlExtras = {}): Promise<Control> {
  let wakeDispatch: () => void = () => undefined;
  let wakeRollouts: () => void = () => undefined;
  let wakeDeliveries: () => void = () => undefined;
  let wakeMoves: () => void = () => undefined;
  const liveness = await createLiveness(deps);
  const prober = createProber(deps, { listeningSince: liveness.listeningSince, ...extras.probing });
  const sweep = createSweep(deps, liveness.listeningSince);
  const beats = createBeats(deps, { wentDeaf: liveness.wentDeaf, rotateWanted: extras.rotateWanted ?? (() => false) });
  const wake = (): void => wakeDispatch();

  /** A cancel is told at once; should that fail, the sweep and the heartbeat replies go on telling it. */
  const tellNow = (row: LifecycleRow): void => {
    void deps.store.findHost(row.hostId).then(async (host) => {
      if (host !== undefined) await sweep.cancelNow({ row, host, inventory: undefined }, row.cancelReason ?? "operator");
    }).catch((error: unknown) => deps.logger.warn({ err: error, lifecycle_id: row.id, ...traceFacts(row.traceparent) }, "a cancel could not be told at once"));
  };

  return {
    ...createDeploymentControl(deps, wake),
    ...createLifecycleControl(deps, tellNow),
    ...createExecControl(deps),
    ...createDispatch(deps),
    ...createReconcile(deps, wake),
    ...createRollouts(deps, { dispatch: wake, tellCancel: tellNow, rollouts: () => wakeRollouts() }),
    ...createAlerts(deps, { coolDownMs: extras.alertCoolDownMs ?? DEFAULT_ALERT_COOL_DOWN_MS, listeningSince: liveness.listeningSince, wake: () => wakeDeliveries() }),
    ...createWebhookControl(deps, extras.webhooks?.allowLoopback ?? false, () => wakeDeliveries()),
    ...createWebhookDeliveries(deps, extras.webhooks?.sender, () => wakeDeliveries()),
    ...createDrains(deps, { dispatch: wake, tellCancel: tellNow, moves: () => wakeMoves() }),
    ...createRetention(deps, extras.retention ?? DEFAULT_RETENTION),
    register: beats.register,
    beat: beats.beat,
    drain: async () => {
      await Promise.all([beats.drain(), prober.drain()]);
    },
    sweepOnce: sweep.sweepOnce,
    livenessOnce: liveness.livenessOnce,
    probeOnce: prober.probeOnce,
    onProbeDue: prober.onProbeDue,
    listeningSince: liveness.listeningSince,
    wentDeaf: liveness.wentDeaf,
    onWorkDue: (listener) => {
      wakeDispatch = listener;
    },
    onRolloutDue: (listener) => {
      wakeRollouts = listener;
    },
    onDeliveryDue: (listener) => {
      wakeDeliveries = listener;
    },
    onMoveDue: (listener) => {
      wakeMoves = listener;
    },
  };
}
