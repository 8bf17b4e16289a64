/** Moves and drains as the API shows them. */
import { toIso, type DrainDecision, type DrainRecord, type HostRecord, type MoveRecord } from "@skep/core";
import type { DrainJson, DrainPlanJson, MoveJson } from "@skep/protocol";
import { timeOrNull } from "./time.ts";

export const moveJson = (move: MoveRecord): MoveJson => ({
  id: move.id,
  deployment_id: move.deploymentId,
  deployment: move.deployment,
  reason: move.reason,
  drain_id: move.drainId ?? null,
  status: move.status,
  from_placement_id: move.fromPlacementId,
  from_host_id: move.fromHostId,
  from_host: move.fromHost,
  to_placement_id: move.toPlacementId ?? null,
  to_host_id: move.toHostId,
  to_host: move.toHost,
  break_first: move.breakFirst,
  cancel_requested: move.cancelRequested,
  because: move.because,
  created_at: toIso(move.createdAt),
  updated_at: toIso(move.updatedAt),
  completed_at: timeOrNull(move.completedAt),
});

const itemsJson = (decision: DrainDecision | undefined): DrainJson["placements"] =>
  (decision?.items ?? []).map((item) => ({
    placement_id: item.placementId, deployment_id: item.deploymentId, deployment: item.deployment, state: item.state, because: item.because, next: item.next ?? null,
    to_host_id: item.to?.hostId ?? null, to_host: item.to?.host ?? null, move_id: item.moveId ?? null,
  }));

/** `decision`: as judged now, of an open one; an ended one says what it said at its end. */
export const drainJson = (drain: DrainRecord, decision: DrainDecision | undefined): DrainJson => ({
  id: drain.id,
  host_id: drain.hostId,
  host: drain.host,
  status: drain.status,
  because: decision?.because ?? drain.because,
  next: decision?.next ?? null,
  stop_pinned: drain.stopPinned,
  placements: itemsJson(decision),
  created_at: toIso(drain.createdAt),
  updated_at: toIso(drain.updatedAt),
  completed_at: timeOrNull(drain.completedAt),
});

export const drainPlanJson = (host: HostRecord, stopPinned: boolean, decision: DrainDecision): DrainPlanJson => ({
  status: "dry_run", host_id: host.id, host: host.name, because: decision.because, next: decision.next ?? null, stop_pinned: stopPinned, placements: itemsJson(decision),
});
