/** The statements of the background passes: each sees one moment of the ledger and is one indivisible step. */
import { addMs, isTerminal } from "@skep/core";
import type { Delivery, JobInventory, LifecycleRow, ObservedRecord, PlacementRecord, ReconcileCase, Store, SweepCase } from "@skep/core";
import { claimWebhookDeliveries, retainAlerts } from "./alerts.ts";
import { generationKey, observedOf } from "./deployments.ts";
import { retain } from "./events.ts";
import { retainHistory } from "./history.ts";
import { viewOf } from "./hosts.ts";
import { claimProbes } from "./reachability.ts";
import { byId, type Context, type Sync } from "./state.ts";

type PassStatements = Sync<Pick<Store, "claimDispatchable" | "claimProbes" | "deliveriesFor" | "sweepCases" | "silentHosts" | "reconcileCases" | "claimWebhookDeliveries" | "retain">>;

export function passStatements(context: Context): PassStatements {
  const { state, now } = context;
  const rowsById = (keep: (row: LifecycleRow) => boolean): LifecycleRow[] => [...state.lifecycle.values()].filter(keep).sort(byId);
  const takesWork = (hostId: string): boolean => {
    const status = state.hosts.get(hostId)?.status;
    return status !== undefined && status !== "pending" && status !== "decommissioned";
  };
  const deliveryOf = (row: LifecycleRow): Delivery => ({
    row,
    host: state.hosts.get(row.hostId)!,
    placement: state.placements.get(row.placementId)!,
    generation: state.generations.get(generationKey(row.deploymentId, row.generation)),
  });
  return {
    claimDispatchable: (limit, claimMs) => {
      const due = rowsById(
        (row) =>
          row.status === "pending" && row.nextDispatchAt <= now() && (row.claimExpiresAt === undefined || row.claimExpiresAt <= now()) &&
          !(row.cancelReason !== undefined && row.sentAt === undefined) && takesWork(row.hostId),
      ).sort((a, b) => a.nextDispatchAt - b.nextDispatchAt || byId(a, b));
      return due.slice(0, limit).map((row) => {
        const claimed: LifecycleRow = {
          ...row, phase: "sent", sentAt: row.sentAt ?? now(), dispatchAttempts: row.dispatchAttempts + 1, claimExpiresAt: addMs(now(), claimMs),
          updatedAt: now(), version: row.version + 1,
        };
        state.lifecycle.set(row.id, claimed);
        return deliveryOf(claimed);
      });
    },
    claimProbes: (lane, limit, everyMs) => claimProbes(context, lane, limit, everyMs),
    deliveriesFor: (ids) => rowsById((row) => (ids as readonly string[]).includes(row.id)).map(deliveryOf),
    sweepCases: (limit, after) => {
      const rows = rowsById((row) => !isTerminal(row.status) && (after === undefined || row.id > after)).slice(0, limit);
      const cases: SweepCase[] = rows.map((row) => ({ row, host: state.hosts.get(row.hostId)!, inventory: inventoryOf(context, row.hostId) }));
      return { now: now(), cases };
    },
    silentHosts: (olderThanMs, limit) => {
      const hosts = [...state.hosts.values()]
        .map((host) => viewOf(context, host))
        .filter(({ host: { status }, liveness }) => {
          if (liveness === undefined) return false;
          const silent = now() - liveness.lastHeartbeatAt > olderThanMs;
          return silent ? status === "active" || status === "suspect" : status === "suspect" || status === "unreachable";
        })
        .sort((a, b) => a.liveness!.lastHeartbeatAt - b.liveness!.lastHeartbeatAt || byId(a.host, b.host));
      return { now: now(), hosts: hosts.slice(0, limit) };
    },
    reconcileCases: (limit, after, options) => ({ now: now(), cases: reconcileCases(context, after, options?.all === true).slice(0, limit) }),
    claimWebhookDeliveries: claimWebhookDeliveries(context),
    retain: (limits) => ({ ...retain(context, limits), ...retainAlerts(context, limits.alertsMs), ...retainHistory(context, limits.historyMs), more: false }),
  };
}

function inventoryOf({ state }: Context, hostId: string): JobInventory | undefined {
  const report = state.reports.get(hostId);
  const liveness = state.liveness.get(hostId);
  if (report === undefined || liveness?.snapshotAt === undefined || liveness.bootId !== report.bootId) return undefined;
  return {
    receivedAt: liveness.snapshotAt, bootId: report.bootId, opSeq: liveness.opSeq ?? report.opSeq, jobIds: report.jobIds, truncated: report.jobsTruncated,
    beats: liveness.seq - report.sinceSeq + 1,
  };
}

function reconcileCases(context: Context, after: string | undefined, all: boolean): ReconcileCase[] {
  const { state, now } = context;
  const cases: ReconcileCase[] = [];
  for (const placement of [...state.placements.values()].sort(byId)) {
    if (placement.removedAt !== undefined || (after !== undefined && placement.id <= after)) continue;
    if (!all && placement.reconcileNotBefore !== undefined && placement.reconcileNotBefore > now()) continue;
    const rows = [...state.lifecycle.values()].filter((row) => row.placementId === placement.id).sort((a, b) => a.createdAt - b.createdAt || byId(a, b));
    if (rows.some((row) => !isTerminal(row.status))) continue;
    const observed = observedOf(context, placement);
    const deployment = state.deployments.get(placement.deploymentId)!;
    if (observed === undefined || deployment.deletedAt !== undefined) continue;
    // It was said to differ, and nobody repairs it: that it is as desired again is worth saying too.
    const told = deployment.reconcile === "report" && placement.reconcileNotBefore !== undefined;
    if (!told && !differs(placement, observed)) continue;
    const host = state.hosts.get(placement.hostId)!;
    cases.push({
      placement, observed, deployment, hostName: host.name, hostStatus: host.status, lastRow: rows.at(-1),
      rollout: [...state.rollouts.values()].filter((one) => one.deploymentId === deployment.id).sort((a, b) => a.createdAt - b.createdAt || byId(a, b)).at(-1),
    });
  }
  return cases;
}

/** An older generation or epoch that runs is not what is desired; what should be gone and is still in the books is a case whatever is seen. */
function differs(placement: PlacementRecord, observed: ObservedRecord): boolean {
  if (placement.desired === "absent") return true;
  return observed.state !== placement.desired || observed.generation !== placement.generation || observed.epoch !== placement.epoch;
}
