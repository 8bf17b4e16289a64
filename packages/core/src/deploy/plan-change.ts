/**
 * What an operator's request does to a deployment's placements: which rows are opened, which lost ones are
 * superseded, which placements come and go. Pure; the shell locks, loads, calls this and writes what it says.
 */
import type { HostId, JobId, PlacementId } from "../ids.ts";
import type { LifecycleRow } from "../lifecycle/row.ts";
import type { Operation } from "../lifecycle/states.ts";
import type { DesiredState, PlacementRecord } from "../ports/records.ts";

export interface ExistingPlacement {
  readonly placement: PlacementRecord;
  readonly openRow: LifecycleRow | undefined;
}

export interface PlannedRow {
  readonly operation: Operation;
  readonly baseGeneration: number | undefined;
  /** A lost row that this one takes over; closed in the same transaction. */
  readonly supersedes: LifecycleRow | undefined;
}

export interface PlannedPlacement {
  /** Undefined = the placement is new on `hostId`. */
  readonly existing: PlacementRecord | undefined;
  readonly hostId: HostId;
  readonly desired: DesiredState;
  readonly row: PlannedRow;
}

export type ChangePlan =
  | { readonly kind: "plan"; readonly placements: readonly PlannedPlacement[] }
  | { readonly kind: "operation_in_progress"; readonly rows: readonly LifecycleRow[] };

/** The placements a deployment should have after a deploy: on `hosts` and nowhere else. */
export function planDeploy(existing: readonly ExistingPlacement[], hosts: readonly HostId[], desired: "running" | "stopped"): ChangePlan {
  const staying = existing.filter(({ placement }) => hosts.includes(placement.hostId));
  const leaving = existing.filter(({ placement }) => !hosts.includes(placement.hostId));
  const arriving = hosts.filter((id) => !existing.some(({ placement }) => placement.hostId === id));
  return withoutConflicts(existing, [
    ...staying.map((item) => planned(item, desired, "deploy")),
    ...arriving.map((hostId): PlannedPlacement => ({ existing: undefined, hostId, desired, row: { operation: "deploy", baseGeneration: undefined, supersedes: undefined } })),
    ...leaving.map((item) => planned(item, "absent", "teardown")),
  ]);
}

/**
 * A change in place: `mutate` where we know what is applied, `deploy` where nothing is yet, or where a lost row is
 * taken over: whether that one was applied is unknown, so the change must not depend on it.
 */
export function planMutate(existing: readonly ExistingPlacement[], desired: "running" | "stopped", leftBehind: ReadonlySet<PlacementId> = new Set()): ChangePlan {
  // What is to be gone stays so: a move or an earlier deploy has left it behind, and a change in place must not bring it back.
  const isLeaving = leavingBy(leftBehind);
  const [leaving, staying] = [existing.filter(isLeaving), existing.filter((item) => !isLeaving(item))];
  const known = ({ placement, openRow }: ExistingPlacement): boolean => placement.appliedGeneration !== undefined && openRow?.status !== "lost";
  return withoutConflicts(existing, [...staying.map((item) => planned(item, desired, known(item) ? "mutate" : "deploy")), ...leaving.map((item) => planned(item, "absent", "teardown"))]);
}

/** The whole spec again where it is, and nowhere else. */
export function planRedeploy(existing: readonly ExistingPlacement[], desired: "running" | "stopped", leftBehind: ReadonlySet<PlacementId> = new Set()): ChangePlan {
  const isLeaving = leavingBy(leftBehind);
  return planDeploy(existing, existing.filter((item) => !isLeaving(item)).map(({ placement }) => placement.hostId), desired);
}

/** `leftBehind`: wanted as they are for now, until an open rollout lets them go. */
const leavingBy = (leftBehind: ReadonlySet<PlacementId>) => ({ placement }: ExistingPlacement): boolean => placement.desired === "absent" || leftBehind.has(placement.id);

export function planTeardown(existing: readonly ExistingPlacement[]): ChangePlan {
  return withoutConflicts(existing, existing.map((item) => planned(item, "absent", "teardown")));
}

function planned({ placement, openRow }: ExistingPlacement, desired: DesiredState, operation: Operation): PlannedPlacement {
  return {
    existing: placement,
    hostId: placement.hostId,
    desired,
    row: {
      operation,
      baseGeneration: operation === "mutate" ? placement.appliedGeneration : undefined,
      supersedes: openRow?.status === "lost" ? openRow : undefined,
    },
  };
}

/** A row that may still be worked on is never taken over: only `lost` may be superseded (rulings 5). */
function withoutConflicts(existing: readonly ExistingPlacement[], placements: readonly PlannedPlacement[]): ChangePlan {
  const rows = existing.flatMap(({ openRow }) => (openRow !== undefined && openRow.status !== "lost" ? [openRow] : []));
  return rows.length > 0 ? { kind: "operation_in_progress", rows } : { kind: "plan", placements };
}

export interface IdentifiedPlacement extends PlannedPlacement {
  readonly placementId: PlacementId;
  readonly rowId: JobId;
}
