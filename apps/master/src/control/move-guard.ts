/** Moves and an operator's changes of the same deployment: one at a time, or a change would start what a move is stopping. */
import { SkepError, isActiveMove, type DeploymentId, type DeploymentRecord, type Tx } from "@skep/core";

/** Under the deployment's lock. A move that has not begun is no hindrance: it looks anew when it does. */
export async function requireNoMove(tx: Tx, { id, name }: Pick<DeploymentRecord, "id" | "name">): Promise<void> {
  const move = (await tx.listMoves({ deploymentId: id, open: true, limit: 1_000 })).find((one) => isActiveMove(one.status));
  if (move === undefined) return;
  throw new SkepError("operation_in_progress", `${name} is moving from ${move.fromHost} to ${move.toHost} (${move.status}, move ${move.id}): wait until it has ended, or cancel it: skep move cancel ${move.id}`, { retryAfterMs: 2_000 });
}

/** A teardown ends them: both placements are torn down like any other. */
export async function cancelMovesOf(tx: Tx, deploymentId: DeploymentId, because: string): Promise<void> {
  for (const move of await tx.listMoves({ deploymentId, open: true, limit: 1_000 })) {
    if (!(await tx.casMove(move.id, move.version, { status: "cancelled", because }))) throw new SkepError("request_in_progress", "a move of the deployment went on at the same moment", { retryAfterMs: 100 });
    await tx.appendEvent({ kind: "move.cancelled", severity: "info", message: `the move of ${move.deployment} from ${move.fromHost} to ${move.toHost} is cancelled: ${because}`, hostId: move.fromHostId, deploymentId, placementId: move.fromPlacementId, data: { move_id: move.id } });
  }
}
