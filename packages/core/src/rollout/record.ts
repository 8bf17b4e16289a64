/** A rollout: the master's record of one change in place, and how far it has come. */
import type { DeploymentId, HostId, JobId, PlacementId, RolloutId } from "../ids.ts";
import type { PlacementRequest } from "../ports/records.ts";
import type { Instant } from "../time.ts";
import type { RolloutPolicy } from "./policy.ts";

export const OPEN_ROLLOUT_STATUSES = ["running", "paused", "rolling_back"] as const;
export const ENDED_ROLLOUT_STATUSES = ["succeeded", "failed", "rolled_back", "superseded"] as const;
export const ROLLOUT_STATUSES = [...OPEN_ROLLOUT_STATUSES, ...ENDED_ROLLOUT_STATUSES] as const;
export type RolloutStatus = (typeof ROLLOUT_STATUSES)[number];

export const isOpenRollout = (status: RolloutStatus): boolean => (OPEN_ROLLOUT_STATUSES as readonly string[]).includes(status);

export const ROLLOUT_ACTIONS = ["deploy", "mutate", "redeploy", "rollback"] as const;
export type RolloutAction = (typeof ROLLOUT_ACTIONS)[number];

export const MEMBER_STATES = ["waiting", "open", "passed", "refused", "skipped", "leaving"] as const;
/**
 * `waiting` its wave has not opened · `open` it has, and the gate has not spoken · `passed` · `refused` by the gate ·
 * `skipped` its host was away when its turn came: it follows on its host's return · `leaving` it runs on as it is until
 * all the others have passed, and is torn down then; on the way back it stays.
 */
export type MemberState = (typeof MEMBER_STATES)[number];

export const ROLLBACK_STATES = ["open", "done", "left"] as const;
/** `left`: not taken back within its time, or not at all; reconcile goes on with it where it may. */
export type RollbackState = (typeof ROLLBACK_STATES)[number];

export interface RolloutMember {
  readonly placementId: PlacementId;
  readonly hostId: HostId;
  readonly host: string;
  readonly state: MemberState;
  /** New in this change: opened beside the first wave and judged by the same gate. */
  readonly arriving?: true | undefined;
  /** From 1; undefined until its wave opens. */
  readonly wave?: number | undefined;
  readonly rowId?: JobId | undefined;
  /** Why it was refused, skipped or left: the host's own words where it said any. */
  readonly because?: string | undefined;
  readonly rollback?: RollbackState | undefined;
  readonly rollbackRowId?: JobId | undefined;
}

export interface RolloutRecord {
  readonly id: RolloutId;
  readonly deploymentId: DeploymentId;
  readonly deployment: string;
  readonly action: RolloutAction;
  readonly status: RolloutStatus;
  readonly generation: number;
  readonly desired: "running" | "stopped";
  /** What to go back to; undefined = there is nothing else that ever ran. */
  readonly baseGeneration: number | undefined;
  readonly baseDesired: "running" | "stopped";
  /**
   * Where it was to run before a deploy that lets leave last: the way back restores it, and tears down what arrived.
   * Undefined where nothing could be restored: what left is gone, so what arrived stays and gets the base's spec.
   */
  readonly basePlacement: PlacementRequest | undefined;
  /** The new generation that carries the base's spec, once it goes back. */
  readonly rollbackGeneration: number | undefined;
  readonly policy: RolloutPolicy;
  /** Only these components may be touched, forth and back (B13). */
  readonly components: readonly string[] | undefined;
  /** The generation whose spec the change was computed from: a bounded change holds only where that is applied. */
  readonly patchedGeneration: number | undefined;
  /** Rows carry the whole spec as a `deploy`, not a `mutate`. */
  readonly whole: boolean;
  readonly timeoutS: number | undefined;
  /** The wave that opened last. */
  readonly wave: number;
  /** A person let it go on after the canary. */
  readonly promoted: boolean;
  readonly members: readonly RolloutMember[];
  /** Why it is as it is, in words: the last decision's reason. */
  readonly because: string;
  /** When a wave opened, a placement passed, or a person said "go on". */
  readonly progressAt: Instant;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
  readonly completedAt: Instant | undefined;
  readonly version: number;
}

export type NewRollout = Omit<RolloutRecord, "rollbackGeneration" | "promoted" | "progressAt" | "createdAt" | "updatedAt" | "completedAt" | "version">;

export interface RolloutPatch {
  readonly status?: RolloutStatus;
  readonly rollbackGeneration?: number;
  readonly wave?: number;
  readonly promoted?: boolean;
  readonly members?: readonly RolloutMember[];
  readonly because?: string;
  /** Something moved: the progress deadline runs from now. */
  readonly progressed?: boolean;
}

/** Members that the waves are cut from: what arrives comes beside the first one, and what leaves comes after the last. */
export const inWaves = <T extends Pick<RolloutMember, "state" | "arriving">>(members: readonly T[]): readonly T[] => members.filter((member) => member.state !== "leaving" && member.arriving !== true);

/** Members that are to have the new generation. */
export const gated = (members: readonly RolloutMember[]): readonly RolloutMember[] => members.filter((member) => member.state !== "leaving");

/** There is a copy where it was before, so this one is one too many. */
export const goesOnTheWayBack = (rollout: Pick<RolloutRecord, "basePlacement">, member: RolloutMember): boolean => member.arriving === true && rollout.basePlacement !== undefined;

/**
 * Placements that the deployment's newest rollout would have go and has not let go: a change in place that follows lets
 * them go as well, or what a deploy left behind would be carried on for ever. Of a rollout that is no longer the
 * deployment's newest change it says nothing: that change has decided about them.
 */
export function leftBehind(newest: Pick<RolloutRecord, "status" | "members" | "generation" | "basePlacement" | "rollbackGeneration"> | undefined, generation: number): ReadonlySet<PlacementId> {
  if (newest === undefined || newest.status === "succeeded" || (newest.rollbackGeneration ?? newest.generation) !== generation) return new Set();
  const back = newest.rollbackGeneration !== undefined;
  return new Set(newest.members.filter((member) => (back ? goesOnTheWayBack(newest, member) : member.state === "leaving")).map((member) => member.placementId));
}

/** Whether the rollout still has to decide about this placement, so that nobody else does meanwhile. */
export function isHeld(rollout: Pick<RolloutRecord, "status" | "members">, placementId: PlacementId): boolean {
  if (!isOpenRollout(rollout.status)) return false;
  const member = rollout.members.find((one) => one.placementId === placementId);
  if (member === undefined) return false;
  return rollout.status === "rolling_back" ? member.rollback !== "done" && member.rollback !== "left" : member.state === "open";
}

/**
 * Why a generation that the gate refused is not tried again by itself; undefined = nothing speaks against it. A
 * placement that did pass is repaired like any other: its version is known to work there.
 */
export function refusalOf(rollout: Pick<RolloutRecord, "status" | "members" | "generation">, placement: { readonly id: PlacementId; readonly generation: number; readonly appliedGeneration: number | undefined }): string | undefined {
  if (rollout.status !== "failed" || placement.generation !== rollout.generation) return undefined;
  const member = rollout.members.find((one) => one.placementId === placement.id);
  if (member === undefined) return undefined;
  if (member.state === "refused") return member.because ?? "the gate refused it";
  return placement.appliedGeneration === placement.generation ? undefined : "its rollout failed before it was applied here";
}
