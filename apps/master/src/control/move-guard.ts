/** Moves and an operator's changes of the same deployment: one at a time, or a change would start what a move is stopping. */
import { SkepError, isActiveMove, type DeploymentRecord, type Tx } from "@skep/core";

/** Under the deployment's lock. A move that has not begun is no hindrance: it looks anew when it does. A teardown needs no leave: it takes both copies, and the move ends. */
export async function requireNoMove(tx: Tx, { id, name }: Pick<DeploymentRecord, "id" | "name">): Promise<void> {
  const move = (await tx.listMoves({ deploymentId: id, open: true, limit: 1_000 })).find((one) => isActiveMove(one.status));
  if (move === undefined) return;
  throw new SkepError("operation_in_progress", `${name} is moving from ${move.fromHost} to ${move.toHost} (${move.status}, move ${move.id}): wait until it has ended, or cancel it: skep move cancel ${move.id}`, { retryAfterMs: 2_000 });
}
