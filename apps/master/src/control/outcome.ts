/**
 * The one way a lifecycle row changes: under its deployment's lock, by compare-and-set, with the event that tells
 * of it and everything that follows for the placement and the deployment, in one transaction.
 */
import {
  applyReport, deploymentStatus, isTerminal, type Actor, type DeltaVerdict, type DeploymentId, type HostId,
  type JobReport, type LifecycleRow, type LifecycleStatus, type Policy, type RowChange, type Tx,
} from "@skep/core";

const WORDS: Readonly<Record<LifecycleStatus, string>> = {
  pending: "is pending", running: "is running", lost: "is lost", succeeded: "succeeded", failed: "failed", cancelled: "was cancelled", superseded: "was superseded",
};

/** Applies one change; `undefined` = somebody else was faster, which is an answer and not an error. */
export async function recordChange(tx: Tx, change: RowChange, needsDecision = false): Promise<LifecycleRow | undefined> {
  const row = await tx.casLifecycle(change);
  if (row === undefined) return undefined;
  if (change.status !== undefined) {
    await tx.appendEvent({
      kind: needsDecision ? "lifecycle.needs_decision" : `lifecycle.${row.status}`,
      severity: row.status === "failed" ? "error" : row.status === "lost" || needsDecision ? "warning" : "info",
      message: `${row.operation} of ${row.deployment} ${WORDS[row.status]}: ${row.because ?? ""}`,
      hostId: row.hostId,
      deploymentId: row.deploymentId,
      placementId: row.placementId,
      lifecycleId: row.id,
      data: { generation: row.generation, ...(row.failureCode === undefined ? {} : { failure_code: row.failureCode }), ...(row.error === undefined ? {} : { error: row.error }) },
    });
  }
  if (row.status === "succeeded") await applySuccess(tx, row);
  return row;
}

/** Success moves what is applied; what runs is for the next observation to say (defect 4-10). */
async function applySuccess(tx: Tx, row: LifecycleRow): Promise<void> {
  const placement = (await tx.findPlacement(row.placementId))?.placement;
  if (placement === undefined) return;
  if (row.operation === "teardown") {
    if (placement.desired === "absent") await tx.casPlacement(placement.id, placement.version, { removed: true, appliedGeneration: null });
  } else {
    await tx.casPlacement(placement.id, placement.version, { appliedGeneration: row.generation });
  }
}

/** Recomputes the stored status of a deployment from what is there; call it last in a transaction. */
export async function refreshDeployment(tx: Tx, id: DeploymentId, lastError?: string): Promise<void> {
  const deployment = await tx.lockDeployment(id);
  if (deployment === undefined || deployment.deletedAt !== undefined) return;
  const views = await tx.listPlacements({ deploymentId: id });
  const rolling = deployment.desired !== "absent" && (await tx.listRollouts({ deploymentId: id, open: true, limit: 1 })).length > 0;
  const status = deploymentStatus(deployment.desired, views, rolling);
  const patch = {
    ...(status === deployment.status ? {} : { status }),
    ...(lastError === undefined || lastError === deployment.lastError ? {} : { lastError }),
    ...(status === "active" && deployment.lastError !== undefined && lastError === undefined ? { lastError: null } : {}),
    ...(status === "torn_down" ? { deleted: true } : {}),
  };
  if (Object.keys(patch).length === 0) return;
  await tx.casDeployment(id, deployment.version, patch);
  if (patch.status !== undefined) {
    await tx.appendEvent({
      kind: `deployment.${status}`,
      severity: status === "failed" || status === "teardown_failed" ? "error" : status === "degraded" ? "warning" : "info",
      message: `deployment ${deployment.name} is ${status}`,
      deploymentId: id,
      data: { was: deployment.status, generation: deployment.generation },
    });
  }
}

export interface IncomingReport {
  readonly rowId: string;
  readonly report: JobReport;
  readonly hostId: HostId;
  readonly bootId: string | undefined;
  readonly actor: Actor;
  /** The master's own reason where the agent confirmed a cancel that is not on the row. */
  readonly cancelReason?: NonNullable<RowChange["cancelReason"]>;
}

/**
 * Applies reports to their rows. Deployments are locked before rows and both in id order, the order every other
 * writer uses; a report that only says `running` needs no deployment at all.
 */
export async function applyReports(tx: Tx, incoming: readonly IncomingReport[], policy: Policy): Promise<readonly DeltaVerdict[]> {
  if (incoming.length === 0) return [];
  const ids = [...new Set(incoming.map((item) => item.rowId))].sort();
  const seen = await tx.listLifecycle({ ids, limit: ids.length });
  const ending = new Set(incoming.filter((item) => item.report.status !== "running").map((item) => item.rowId));
  const visible = (row: LifecycleRow): boolean => ending.has(row.id) || row.status === "lost";
  const deployments = [...new Set(seen.filter(visible).map((row) => row.deploymentId))].sort();
  for (const id of deployments) await tx.lockDeployment(id);
  const rows = new Map<string, LifecycleRow>((await tx.lockLifecycle(ids)).map((row) => [row.id, row]));

  const verdicts: DeltaVerdict[] = [];
  const errors = new Map<DeploymentId, string>();
  const touched = new Set<DeploymentId>();
  for (const item of incoming) {
    const row = rows.get(item.rowId);
    const judged = row === undefined || item.cancelReason === undefined || row.cancelReason !== undefined ? row : { ...row, cancelReason: item.cancelReason };
    const verdict = applyReport(judged, item.report, { hostId: item.hostId, actor: item.actor, bootId: item.bootId }, policy);
    verdicts.push(verdict);
    if (verdict.result !== "applied") continue;
    const now = await recordChange(tx, verdict.change);
    if (now === undefined) continue;
    rows.set(now.id, now);
    if (isTerminal(now.status) || row?.status === "lost") touched.add(now.deploymentId);
    if (now.status === "failed" && now.error !== undefined) errors.set(now.deploymentId, now.error);
  }
  for (const id of [...touched].sort()) await refreshDeployment(tx, id, errors.get(id));
  return verdicts;
}

/** The same for changes decided elsewhere: the sweep's and the dispatcher's. Returns how many were news. */
export async function applyChanges(tx: Tx, changes: readonly { readonly row: LifecycleRow; readonly change: RowChange; readonly needsDecision: boolean }[]): Promise<{ applied: number; stale: number }> {
  const visible = changes.filter(({ change }) => change.status !== undefined && change.status !== "running");
  const deployments = [...new Set(visible.map(({ row }) => row.deploymentId))].sort();
  for (const id of deployments) await tx.lockDeployment(id);
  let applied = 0;
  let stale = 0;
  const errors = new Map<DeploymentId, string>();
  for (const { change, needsDecision } of [...changes].sort((a, b) => (a.change.id < b.change.id ? -1 : 1))) {
    const row = await recordChange(tx, change, needsDecision);
    if (row === undefined) stale += 1;
    else {
      applied += 1;
      if (row.status === "failed") errors.set(row.deploymentId, row.error ?? row.because ?? "failed");
    }
  }
  for (const id of deployments) await refreshDeployment(tx, id, errors.get(id));
  return { applied, stale };
}
