/** The reconcile pass: opens retries for placements that are not as desired, when core says that it is time. */
import { DEFAULT_TIMEOUT_S, NO_TRACES, decideNotice, decideReconcile, heldBack, uuidv7, type Instant, type JobId, type Notice, type ReconcileCase, type ReconcileDecision } from "@skep/core";
import type { ControlDeps } from "../ports.ts";
import { refreshDeployment } from "./outcome.ts";

const PAGE = 500;

export function createReconcile(deps: ControlDeps, wake: () => void): { reconcileOnce(): Promise<{ opened: number; gaveUp: number }> } {
  const { tracer = NO_TRACES } = deps;
  const note = (item: ReconcileCase, kind: string, message: string, severity: "info" | "warning" | "error") => ({
    kind, severity, message, hostId: item.placement.hostId, deploymentId: item.deployment.id, placementId: item.placement.id,
  });

  const act = async (item: ReconcileCase, decision: Exclude<ReconcileDecision, { kind: "leave" }>): Promise<boolean> =>
    deps.store.transaction(async (tx) => {
      const { placement, deployment } = item;
      // The lock orders this against operators; the version says whether the decision still stands.
      await tx.lockDeployment(deployment.id);
      const patch = decision.kind === "give_up"
        ? { reconcileAttempts: decision.attempts }
        : { reconcileAttempts: decision.attempts, reconcileNotBefore: decision.notBefore };
      if (!(await tx.casPlacement(placement.id, placement.version, patch))) return false;
      switch (decision.kind) {
        case "wait":
          await tx.appendEvent(note(item, "placement.drift", `${deployment.name} differs from what is desired: ${decision.because}`, "warning"));
          return false;
        case "give_up":
          await tx.appendEvent(note(item, "placement.crash_loop", `${deployment.name}: ${decision.because}`, "error"));
          return true;
        case "retry": {
          // What made the last row made this one, too: one trace tells of the request and of all that was done for it.
          const span = tracer.startSpan("reconcile", { parent: item.lastRow?.traceparent, attributes: { deployment: deployment.name, host: item.hostName, operation: decision.operation, generation: placement.generation, attempt: decision.attempts } });
          const inserted = await tx.insertLifecycle({
            id: uuidv7(deps.clock.now(), deps.rng) as JobId, placementId: placement.id, deploymentId: deployment.id, hostId: placement.hostId,
            operation: decision.operation, generation: placement.generation, epoch: placement.epoch, timeoutS: DEFAULT_TIMEOUT_S[decision.operation],
            retryOf: item.lastRow?.id, because: `reconcile, try ${decision.attempts}: ${decision.because}`, traceparent: span.traceparent,
          });
          if (inserted === "operation_in_progress") return false;
          await tx.appendEvent(note(item, "placement.reconcile", `${decision.operation} of ${deployment.name}, try ${decision.attempts}: ${decision.because}`, "info"));
          await refreshDeployment(tx, deployment.id);
          span.end();
          return true;
        }
      }
    }, { pool: "background" });

  /** The version makes it once, however many masters look. */
  const tell = (item: ReconcileCase, notice: Notice, now: Instant): Promise<void> =>
    deps.store.transaction(async (tx) => {
      const { placement, deployment } = item;
      const told = notice.kind === "differs" ? now : null;
      if (!(await tx.casPlacement(placement.id, placement.version, { reconcileNotBefore: told }))) return;
      await tx.appendEvent(notice.kind === "differs"
        ? note(item, "placement.drift", `${deployment.name} differs from what is desired: ${notice.because}; it is reported only (${heldBack(item)})`, "warning")
        : note(item, "placement.as_desired", `${deployment.name} is as desired again`, "info"));
    }, { pool: "background" });

  /** The stored status follows every change; this makes sure that none was missed, whoever was killed in between. */
  const refreshUnsettled = async (): Promise<void> => {
    let after: string | undefined;
    for (;;) {
      const page = await deps.store.listDeployments({ limit: PAGE, after, unsettled: true });
      for (const deployment of page) await deps.store.transaction((tx) => refreshDeployment(tx, deployment.id), { pool: "background" });
      if (page.length < PAGE) return;
      after = page.at(-1)?.id;
    }
  };

  return {
    async reconcileOnce() {
      const counts = { opened: 0, gaveUp: 0 };
      await refreshUnsettled();
      let after: string | undefined;
      for (;;) {
        const page = await deps.store.reconcileCases(PAGE, after);
        for (const item of page.cases) {
          const decision = decideReconcile(item, page.now);
          if (decision.kind === "leave") {
            const notice = decideNotice(item);
            if (notice !== undefined) await tell(item, notice, page.now);
            continue;
          }
          if (!(await act(item, decision))) continue;
          if (decision.kind === "give_up") counts.gaveUp += 1;
          else counts.opened += 1;
        }
        if (page.cases.length < PAGE) break;
        after = page.cases.at(-1)?.placement.id;
      }
      if (counts.opened > 0) wake();
      return counts;
    },
  };
}
