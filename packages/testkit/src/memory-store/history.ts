/** Retention of what has ended and may be read again: rollouts, moves and drains. */
import { addMs, type DrainRecord, type Instant, type RolloutRecord } from "@skep/core";
import { byId, type Context } from "./state.ts";

const isOld = (row: { readonly completedAt: Instant | undefined }, before: Instant): boolean => row.completedAt !== undefined && row.completedAt < before;
const byCreation = (a: { readonly id: string; readonly createdAt: Instant }, b: { readonly id: string; readonly createdAt: Instant }): number => a.createdAt - b.createdAt || byId(a, b);

/** Drops what ended before the limit, except for what is still read (the port says what that is). */
export function retainHistory({ state, now }: Context, historyMs: number): { rollouts: number; moves: number; drains: number } {
  const before = addMs(now(), -historyMs);
  const placements = [...state.placements.values()].filter((placement) => placement.removedAt === undefined);
  const rollouts = [...state.rollouts.values()];
  const isRead = (rollout: RolloutRecord): boolean => {
    const others = rollouts.filter((one) => one.deploymentId === rollout.deploymentId);
    return !others.some((one) => byCreation(one, rollout) > 0) || !others.some((one) => byId(one, rollout) > 0)
      || placements.some((one) => one.deploymentId === rollout.deploymentId && (one.generation === rollout.generation || one.appliedGeneration === rollout.generation));
  };
  const goneRollouts = rollouts.filter((rollout) => isOld(rollout, before) && !isRead(rollout));
  for (const { id } of goneRollouts) state.rollouts.delete(id);

  const drains = [...state.drains.values()];
  const isOver = (drain: DrainRecord): boolean => isOld(drain, before) && drains.some((one) => one.hostId === drain.hostId && byCreation(one, drain) > 0);
  const over = new Set<string | undefined>([undefined, ...drains.filter(isOver).map((drain) => drain.id)]);
  const goneMoves = [...state.moves.values()].filter((move) => isOld(move, before) && over.has(move.drainId));
  for (const { id } of goneMoves) state.moves.delete(id);

  const moved = new Set([...state.moves.values()].map((move) => move.drainId));
  const goneDrains = drains.filter((drain) => over.has(drain.id) && !moved.has(drain.id));
  for (const { id } of goneDrains) state.drains.delete(id);
  return { rollouts: goneRollouts.length, moves: goneMoves.length, drains: goneDrains.length };
}
