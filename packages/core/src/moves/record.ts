/** Moves and drains as the ledger keeps them: what is under way from one host to another, and which hosts are being emptied. */
import type { DeploymentId, DrainId, HostId, MoveId, PlacementId } from "../ids.ts";
import type { Instant } from "../time.ts";

export const OPEN_MOVE_STATUSES = ["pending", "starting", "stopping", "returning"] as const;
export const ENDED_MOVE_STATUSES = ["succeeded", "failed", "cancelled"] as const;
export const MOVE_STATUSES = [...OPEN_MOVE_STATUSES, ...ENDED_MOVE_STATUSES] as const;
/**
 * `pending` waits for its turn · `starting` the new placement is being brought up · `stopping` the old one is being stopped or
 * removed · `returning` it did not work: the new one is removed, then the old one runs again · the rest are ends.
 */
export type MoveStatus = (typeof MOVE_STATUSES)[number];
export const isOpenMove = (status: MoveStatus): boolean => (OPEN_MOVE_STATUSES as readonly string[]).includes(status);
/** It holds a place: its deployment and the fleet wait for it. */
export const isActiveMove = (status: MoveStatus): boolean => isOpenMove(status) && status !== "pending";

export const MOVE_REASONS = ["drain", "rebalance"] as const;
export type MoveReason = (typeof MOVE_REASONS)[number];

export interface MoveRecord {
  readonly id: MoveId;
  readonly deploymentId: DeploymentId;
  readonly deployment: string;
  readonly reason: MoveReason;
  readonly drainId: DrainId | undefined;
  readonly status: MoveStatus;
  readonly fromPlacementId: PlacementId;
  readonly fromHostId: HostId;
  readonly fromHost: string;
  readonly toHostId: HostId;
  readonly toHost: string;
  /** Undefined until the new placement exists. */
  readonly toPlacementId: PlacementId | undefined;
  /** What the old placement was wanted as, and the new one is. */
  readonly desired: "running" | "stopped";
  /** The old copy stops before the new one starts: never two of them. */
  readonly breakFirst: boolean;
  /** A person wants it undone; a new copy that is not needed yet goes, the old one stays. */
  readonly cancelRequested: boolean;
  /** Which of the fleet's places for moves it holds while active; unique, so that the limit holds without a lock. */
  readonly slot: number | undefined;
  /** Why it is as it is, in words. */
  readonly because: string;
  /** When its status last changed: its deadline runs from there. */
  readonly progressAt: Instant;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
  readonly completedAt: Instant | undefined;
  readonly version: number;
}

export type NewMove = Omit<MoveRecord, "cancelRequested" | "progressAt" | "createdAt" | "updatedAt" | "completedAt" | "version">;

/** An end gives the place back by itself. */
export interface MovePatch {
  readonly status?: MoveStatus;
  readonly toPlacementId?: PlacementId;
  readonly desired?: "running" | "stopped";
  readonly breakFirst?: boolean;
  readonly cancelRequested?: boolean;
  readonly slot?: number;
  readonly because?: string;
}

export const OPEN_DRAIN_STATUSES = ["draining", "blocked"] as const;
export const ENDED_DRAIN_STATUSES = ["drained", "cancelled"] as const;
export const DRAIN_STATUSES = [...OPEN_DRAIN_STATUSES, ...ENDED_DRAIN_STATUSES] as const;
/** `blocked`: nothing is under way, and what is left cannot move without a person. It goes on by itself once it can. */
export type DrainStatus = (typeof DRAIN_STATUSES)[number];
export const isOpenDrain = (status: DrainStatus): boolean => (OPEN_DRAIN_STATUSES as readonly string[]).includes(status);

export interface DrainRecord {
  readonly id: DrainId;
  readonly hostId: HostId;
  readonly host: string;
  readonly status: DrainStatus;
  /** Placements that are pinned here are stopped instead of holding the drain up. */
  readonly stopPinned: boolean;
  readonly because: string;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
  readonly completedAt: Instant | undefined;
  readonly version: number;
}
export type NewDrain = Omit<DrainRecord, "createdAt" | "updatedAt" | "completedAt" | "version">;
export interface DrainPatch {
  readonly status?: DrainStatus;
  readonly stopPinned?: boolean;
  readonly because?: string;
}

/** More would take a deployment's capacity away faster than it is seen to be back. */
export const MAX_MOVES_OF_DEPLOYMENT = 1;
/** More would bring every image pull and every start of a fleet's drain down on its other hosts at once. */
export const MAX_MOVES_OF_FLEET = 8;
