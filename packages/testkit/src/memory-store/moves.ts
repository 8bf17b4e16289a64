/** Moves and drains: one open at most for each placement and each host; one that ended never changes. */
import { isOpenDrain, isOpenMove } from "@skep/core";
import type { Reads, Tx } from "@skep/core";
import { afterPage, byId, check, type Context, type Sync } from "./state.ts";

export function moveReads({ state }: Context): Sync<Pick<Reads, "findMove" | "listMoves" | "findDrain" | "listOpenDrains">> {
  return {
    findMove: (id) => state.moves.get(id),
    listMoves: ({ deploymentId, hostId, drainId, open, ...query }) => {
      const found = [...state.moves.values()].filter(
        (move) =>
          (deploymentId === undefined || move.deploymentId === deploymentId) && (hostId === undefined || move.fromHostId === hostId || move.toHostId === hostId) &&
          (drainId === undefined || move.drainId === drainId) && (open === undefined || isOpenMove(move.status) === open),
      );
      if (query.newestFirst !== true) return afterPage(found, query);
      return found.sort((a, b) => byId(b, a)).filter((move) => query.after === undefined || move.id < query.after).slice(0, query.limit);
    },
    findDrain: (hostId) => [...state.drains.values()].filter((drain) => drain.hostId === hostId).sort((a, b) => Number(isOpenDrain(a.status)) - Number(isOpenDrain(b.status)) || a.createdAt - b.createdAt || byId(a, b)).at(-1),
    listOpenDrains: (page) => afterPage([...state.drains.values()].filter((drain) => isOpenDrain(drain.status)), page),
  };
}

export function moveWrites(context: Context): Sync<Pick<Tx, "insertMove" | "casMove" | "insertDrain" | "casDrain">> {
  const { state, policy, now } = context;
  const active = (status: string): boolean => status === "starting" || status === "stopping" || status === "returning";
  return {
    insertMove: (move) => {
      check(state.moves.get(move.id) === undefined, "moves_pkey");
      check(state.deployments.get(move.deploymentId) !== undefined && state.placements.get(move.fromPlacementId) !== undefined && state.hosts.get(move.toHostId) !== undefined, "moves_fk");
      check(active(move.status) === (move.slot !== undefined), "moves_active_has_slot");
      for (const other of state.moves.values()) if (other.fromPlacementId === move.fromPlacementId && isOpenMove(other.status)) return "move_open";
      state.moves.set(move.id, { ...move, cancelRequested: false, progressAt: now(), createdAt: now(), updatedAt: now(), completedAt: undefined, version: 1 });
      context.signal("moves");
      return "inserted";
    },
    casMove: (id, expectedVersion, patch) => {
      const move = state.moves.get(id);
      if (move === undefined || ((move.version !== expectedVersion || !isOpenMove(move.status)) && policy.compareAndSet)) return false;
      if (patch.slot !== undefined) for (const other of state.moves.values()) if (other.id !== id && other.slot === patch.slot) return false;
      const ends = patch.status !== undefined && !isOpenMove(patch.status);
      const next = {
        ...move, ...patch,
        ...(patch.status === undefined ? {} : { progressAt: now() }),
        ...(ends ? { completedAt: now(), slot: undefined } : {}),
        updatedAt: now(), version: move.version + 1,
      };
      check(active(next.status) === (next.slot !== undefined), "moves_active_has_slot");
      state.moves.set(id, next);
      context.signal("moves");
      return true;
    },
    insertDrain: (drain) => {
      check(state.drains.get(drain.id) === undefined, "drains_pkey");
      check(state.hosts.get(drain.hostId) !== undefined, "drains_host_fk");
      for (const other of state.drains.values()) if (other.hostId === drain.hostId && isOpenDrain(other.status)) return "drain_open";
      state.drains.set(drain.id, { ...drain, createdAt: now(), updatedAt: now(), completedAt: isOpenDrain(drain.status) ? undefined : now(), version: 1 });
      context.signal("moves");
      return "inserted";
    },
    casDrain: (id, expectedVersion, patch) => {
      const drain = state.drains.get(id);
      if (drain === undefined || ((drain.version !== expectedVersion || !isOpenDrain(drain.status)) && policy.compareAndSet)) return false;
      state.drains.set(id, { ...drain, ...patch, ...(patch.status !== undefined && !isOpenDrain(patch.status) ? { completedAt: now() } : {}), updatedAt: now(), version: drain.version + 1 });
      context.signal("moves");
      return true;
    },
  };
}
