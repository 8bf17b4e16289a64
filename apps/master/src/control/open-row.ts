/** Opening one lifecycle row with what follows for its placement: the same for a request, a wave and a way back. */
import { DEFAULT_TIMEOUT_S, SkepError, uuidv7, type DeploymentRecord, type JobId, type PlacementId, type PlannedPlacement, type RowOptions, type Tx } from "@skep/core";
import type { ControlDeps } from "../ports.ts";

export interface RowToOpen {
  readonly deployment: Pick<DeploymentRecord, "id" | "name">;
  readonly planned: PlannedPlacement;
  readonly generation: number;
  readonly timeoutS: number | undefined;
  readonly options: RowOptions | undefined;
  /** What takes a lost row over, in a word. */
  readonly action: string;
  readonly because: string;
  /** The span that opens it. */
  readonly traceparent: string | undefined;
  /**
   * The placement's epoch grows, so that its agent refuses whatever is still on its way to it. For rows that keep the
   * generation and undo what an earlier one of it asked for: a delayed copy of that one would pass the generation's floor.
   */
  readonly fence?: boolean | undefined;
}

export interface OpenedRow {
  readonly placementId: PlacementId;
  readonly rowId: JobId;
}

/** Under the deployment's lock. Throws `operation_in_progress` where another operation was faster. */
export async function openRow(tx: Tx, deps: Pick<ControlDeps, "clock" | "rng">, { deployment, planned, generation, timeoutS, options, action, because, traceparent, fence = false }: RowToOpen): Promise<OpenedRow> {
  const newId = (): string => uuidv7(deps.clock.now(), deps.rng);
  const { existing, hostId, desired, row } = planned;
  const epoch = (existing?.epoch ?? 1) + (fence ? 1 : 0);
  const placementId = (existing?.id ?? newId()) as PlacementId;
  if (existing === undefined) {
    await tx.insertPlacement({ id: placementId, deploymentId: deployment.id, hostId, desired, epoch, generation });
  } else {
    const moved = await tx.casPlacement(placementId, existing.version, { desired, generation, ...(fence ? { epoch } : {}), reconcileAttempts: 0, reconcileNotBefore: null });
    // A row of a generation that its placement does not want would be repaired away: the request comes again instead.
    if (!moved) throw new SkepError("request_in_progress", "the placement changed at the same moment", { retryAfterMs: 100 });
  }
  const lost = row.supersedes;
  if (lost !== undefined) {
    const closed = await tx.casLifecycle({ id: lost.id, expectedVersion: lost.version, status: "superseded", because: `taken over by ${action}` });
    if (closed === undefined) throw new SkepError("operation_in_progress", "a lost row came back to life at the same moment");
    await tx.appendEvent({ kind: "lifecycle.superseded", severity: "warning", message: `${lost.operation} of ${deployment.name} is superseded by ${action}`, hostId: lost.hostId, deploymentId: deployment.id, placementId, lifecycleId: lost.id });
  }
  const rowId = newId() as JobId;
  const inserted = await tx.insertLifecycle({
    id: rowId, placementId, deploymentId: deployment.id, hostId, operation: row.operation, generation, baseGeneration: row.baseGeneration, epoch,
    timeoutS: timeoutS ?? DEFAULT_TIMEOUT_S[row.operation], retryOf: lost?.id, options, because, traceparent,
  });
  if (inserted === "operation_in_progress") throw new SkepError("operation_in_progress");
  return { placementId, rowId };
}
