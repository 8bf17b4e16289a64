/** The operator's two decisions about an open row: stop it, or give its host up. */
import { SkepError, isTerminal, type LifecycleRow } from "@skep/core";
import type { ControlDeps } from "../ports.ts";
import { accept } from "./accept.ts";
import type { LifecycleControl } from "./control.ts";
import { applyChanges } from "./outcome.ts";

export function createLifecycleControl(deps: ControlDeps, wakeSweep: (row: LifecycleRow) => void): LifecycleControl {
  return {
    async cancel(id, context) {
      let toTell: LifecycleRow | undefined;
      const reply = await accept(deps, context, async (tx) => {
        const row = await tx.findLifecycle(id);
        if (row === undefined) throw new SkepError("lifecycle_not_found");
        if (isTerminal(row.status)) throw new SkepError("lifecycle_terminal", `it is ${row.status}: ${row.because ?? ""}`);
        await tx.lockDeployment(row.deploymentId);
        await tx.appendAudit({ actor: context.actor, action: "lifecycle.cancel", subject: `lifecycle:${row.id}`, outcome: "allowed", requestId: context.requestId });
        if (row.status === "pending" && row.sentAt === undefined) {
          const because = "cancelled before it was ever sent";
          const { applied } = await applyChanges(tx, [{ row, needsDecision: false, change: { id: row.id, expectedVersion: row.version, status: "cancelled", because } }]);
          if (applied === 1) return { status: 202, body: { id: row.id, status: "cancelled" as const, because } };
        }
        const marked = await tx.requestCancel(row.id, row.version, "operator");
        if (marked === undefined) throw new SkepError("request_in_progress", "the row changed at the same moment; try again", { retryAfterMs: 100 });
        toTell = marked;
        await tx.appendEvent({ kind: "lifecycle.cancel_requested", severity: "info", message: `cancel of ${row.operation} of ${row.deployment} requested`, hostId: row.hostId, deploymentId: row.deploymentId, placementId: row.placementId, lifecycleId: row.id });
        return { status: 202, body: { id: row.id, status: marked.status, because: "the agent is told until it confirms" } };
      });
      if (toTell !== undefined) wakeSweep(toTell);
      return reply;
    },

    resolveLost: (id, noteText, context) =>
      accept(deps, context, async (tx) => {
        const row = await tx.findLifecycle(id);
        if (row === undefined) throw new SkepError("lifecycle_not_found");
        if (isTerminal(row.status)) throw new SkepError("lifecycle_terminal", `it is ${row.status}: ${row.because ?? ""}`);
        if (row.status !== "lost") throw new SkepError("operation_in_progress", `it is ${row.status}, not lost: cancel it instead`);
        await tx.lockDeployment(row.deploymentId);
        const because = `${context.actor} decided that the host will never answer${noteText === undefined ? "" : `: ${noteText}`}`;
        const { applied } = await applyChanges(tx, [{ row, needsDecision: false, change: { id: row.id, expectedVersion: row.version, status: "failed", failureCode: "host_lost", because } }]);
        if (applied === 0) throw new SkepError("request_in_progress", "the row changed at the same moment; look again", { retryAfterMs: 100 });
        await tx.appendAudit({ actor: context.actor, action: "lifecycle.resolve", subject: `lifecycle:${row.id}`, outcome: "allowed", requestId: context.requestId, detail: { outcome: "host_lost" } });
        return { status: 200, body: { id: row.id, status: "failed" as const, because } };
      }),
  };
}
