/**
 * Lifecycle rows. Invariants, those of the schema: one open row per placement; a terminal row never changes; `failed`
 * has a failure code and nothing else has; a change lands only on the version it was decided on. The last two are
 * what `policy.compareAndSet` switches off for the ablation gate.
 */
import { DISPATCH_DEADLINE_MS, addMs, cleanTraceparent, isTerminal } from "@skep/core";
import type { LifecycleRow, Reads, RowChange, Tx } from "@skep/core";
import { afterPage, byId, check, jsonCopy, type Context, type Sync } from "./state.ts";

type LifecycleReads = Sync<Pick<Reads, "findLifecycle" | "listLifecycle">>;
type LifecycleWrites = Sync<
  Pick<Tx, "insertLifecycle" | "lockLifecycle" | "casLifecycle" | "requestCancel" | "openRowsOf" | "findOpenByName" | "noteProgress" | "markSent">
>;

export function lifecycleReads({ state }: Context): LifecycleReads {
  return {
    findLifecycle: (id) => state.lifecycle.get(id),
    listLifecycle: (query) => {
      const ids = query.ids === undefined ? undefined : new Set(query.ids);
      const host = query.host;
      const rows = [...state.lifecycle.values()].filter(
        (row) =>
          (ids === undefined || ids.has(row.id)) &&
          (query.deployment === undefined || row.deploymentId === query.deployment || row.deployment === query.deployment) &&
          (host === undefined || row.hostId === host || state.hosts.get(row.hostId)?.name === host) &&
          (query.status === undefined || row.status === query.status) &&
          (query.open === undefined || isTerminal(row.status) !== query.open),
      );
      if (query.newestFirst !== true) return afterPage(rows, query);
      return rows.sort((a, b) => byId(b, a)).filter((row) => query.after === undefined || row.id < query.after).slice(0, query.limit);
    },
  };
}

export function lifecycleWrites(context: Context): LifecycleWrites {
  const { state, policy, now } = context;
  const put = (row: LifecycleRow, patch: Partial<LifecycleRow>): LifecycleRow => {
    const next = { ...row, ...patch, updatedAt: now(), version: row.version + 1 };
    state.lifecycle.set(row.id, next);
    context.signal("lifecycle");
    return next;
  };
  const open = (id: string, expectedVersion: number): LifecycleRow | undefined => {
    const row = state.lifecycle.get(id);
    if (row === undefined || !policy.compareAndSet) return row;
    return isTerminal(row.status) || row.version !== expectedVersion ? undefined : row;
  };
  const openRows = (keep: (row: LifecycleRow) => boolean): LifecycleRow[] =>
    [...state.lifecycle.values()].filter((row) => !isTerminal(row.status) && keep(row)).sort(byId);
  return {
    insertLifecycle: (row) => {
      const placement = state.placements.get(row.placementId);
      check(placement !== undefined && placement.deploymentId === row.deploymentId && placement.hostId === row.hostId, "lifecycle_placement_fk");
      check(state.lifecycle.get(row.id) === undefined, "lifecycle_pkey");
      if (openRows((other) => other.placementId === row.placementId).length > 0) return "operation_in_progress";
      state.lifecycle.set(row.id, {
        id: row.id, placementId: row.placementId, deploymentId: row.deploymentId, deployment: placement.deployment, hostId: row.hostId,
        operation: row.operation, status: "pending", phase: "queued", generation: row.generation, baseGeneration: row.baseGeneration, epoch: row.epoch,
        timeoutS: row.timeoutS, dispatchDeadline: addMs(now(), DISPATCH_DEADLINE_MS), dispatchAttempts: 0, nextDispatchAt: now(), claimExpiresAt: undefined,
        sentAt: undefined, acceptedOpSeq: undefined, acceptedBootId: undefined, cancelRequestedAt: undefined, cancelReason: undefined, failureCode: undefined,
        error: undefined, because: row.because, steps: [], retryOf: row.retryOf, options: jsonCopy(row.options ?? {}), progress: undefined, progressAt: undefined, jobPhase: undefined, traceparent: cleanTraceparent(row.traceparent), createdAt: now(), runningAt: undefined, updatedAt: now(),
        completedAt: undefined, agentCompletedAt: undefined, version: 1,
      });
      context.signal("lifecycle");
      return "inserted";
    },
    lockLifecycle: (ids) => [...new Set(ids)].map((id) => state.lifecycle.get(id)).filter((row) => row !== undefined).sort(byId),
    casLifecycle: (change) => {
      const row = open(change.id, change.expectedVersion);
      return row && put(row, patchOf(row, change, now()));
    },
    requestCancel: (id, expectedVersion, reason) => {
      const row = open(id, expectedVersion);
      return row && put(row, { cancelReason: row.cancelReason ?? reason, cancelRequestedAt: row.cancelRequestedAt ?? now() });
    },
    openRowsOf: (hostIds) => openRows((row) => hostIds.includes(row.hostId)),
    findOpenByName: (hostId, deployment, operation) =>
      openRows((row) => row.hostId === hostId && row.deployment === deployment && row.operation === operation),
    noteProgress: (notes) => {
      for (const { id, progress, jobPhase } of notes) {
        const row = state.lifecycle.get(id);
        if (row?.status !== "running") continue;
        state.lifecycle.set(id, { ...row, progress, jobPhase, progressAt: row.progress === progress ? row.progressAt : now() });
      }
    },
    markSent: (ids) => {
      const sent: LifecycleRow[] = [];
      for (const id of [...new Set(ids)].sort()) {
        const row = state.lifecycle.get(id);
        // Marking a sent row again would only make the dispatcher's own write miss its version.
        if (row?.status !== "pending") continue;
        if (row.sentAt !== undefined) sent.push(row);
        else if (row.cancelReason === undefined) sent.push(put(row, { phase: "sent", sentAt: now() }));
      }
      return sent;
    },
  };
}

function patchOf(row: LifecycleRow, change: RowChange, at: LifecycleRow["updatedAt"]): Partial<LifecycleRow> {
  const status = change.status ?? row.status;
  const failureCode = status === "failed" ? (change.failureCode ?? row.failureCode) : undefined;
  check((status === "failed") === (failureCode !== undefined), "lifecycle_failed_has_code");
  return {
    status,
    failureCode,
    because: change.because,
    ...(change.phase === undefined ? {} : { phase: change.phase }),
    ...(change.error === undefined ? {} : { error: change.error }),
    ...(change.steps === undefined ? {} : { steps: jsonCopy(change.steps) }),
    ...(change.acceptedOpSeq === undefined ? {} : { acceptedOpSeq: change.acceptedOpSeq }),
    ...(change.acceptedBootId === undefined ? {} : { acceptedBootId: change.acceptedBootId }),
    ...(change.nextDispatchAt === undefined ? {} : { nextDispatchAt: change.nextDispatchAt }),
    ...(change.progress === undefined ? {} : { progress: change.progress, progressAt: at }),
    ...(change.jobPhase === undefined ? {} : { jobPhase: change.jobPhase }),
    ...(change.agentCompletedAt === undefined ? {} : { agentCompletedAt: change.agentCompletedAt }),
    ...(change.cancelReason === undefined ? {} : { cancelReason: row.cancelReason ?? change.cancelReason, cancelRequestedAt: row.cancelRequestedAt ?? at }),
    ...(change.releaseClaim === true ? { claimExpiresAt: undefined } : {}),
    ...(status === "running" && row.runningAt === undefined ? { runningAt: at } : {}),
    completedAt: isTerminal(status) ? (row.completedAt ?? at) : undefined,
  };
}
