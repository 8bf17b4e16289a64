/**
 * Drains, moves and the pass that goes on with both. Any number of masters run it; each step is decided anew under its
 * deployments' locks and written by compare-and-set, so that it is taken once and a master killed between two of them
 * costs nothing.
 */
import {
  SkepError, decideDrain, decideMove, isOpenDrain, isOpenMove, uuidv7, type DrainDecision, type DrainId, type DrainItem, type DrainRecord, type HostRecord, type HostView, type LifecycleRow, type MoveId, type MoveRecord, type Tx,
} from "@skep/core";
import { drainJson, drainPlanJson, moveJson } from "../http/views/move.ts";
import type { ControlDeps, OperatorContext } from "../ports.ts";
import { accept } from "./accept.ts";
import type { MoveControl } from "./control.ts";
import { loadDrain, loadMove, originOf } from "./move-facts.ts";
import { advanceMove, type MoveEffects } from "./move-steps.ts";
import { openRow } from "./open-row.ts";
import { refreshDeployment } from "./outcome.ts";
import { createRebalance } from "./rebalance.ts";

const PAGE = 100;

export interface MoveWakes {
  /** Rows were opened. */
  readonly dispatch: () => void;
  /** A row is to be stopped: told at once where it can be. */
  readonly tellCancel: (row: LifecycleRow) => void;
  /** There may be more to decide. */
  readonly moves: () => void;
}

export function createDrains(deps: ControlDeps, wakes: MoveWakes): MoveControl & { drainOnce(): Promise<{ looked: number; stepped: number }> } {
  const newId = (): string => uuidv7(deps.clock.now(), deps.rng);
  const after = (effects: MoveEffects): void => {
    if (effects.opened > 0) wakes.dispatch();
    for (const row of effects.toCancel) wakes.tellCancel(row);
  };

  /** Looks without a lock first: most looks find nothing to do, and heartbeats want that lock too. */
  const stepMove = async (seen: MoveRecord): Promise<boolean> => {
    if (decideMove(seen, (await loadMove(deps.store, seen)).facts, await deps.store.now()).kind === "wait") return false;
    const effects = await deps.store.transaction((tx) => advanceMove(tx, deps, seen), { pool: "background" });
    if (effects === undefined) return false;
    after(effects);
    return true;
  };

  const due = (drain: DrainRecord, { status, items }: DrainDecision): readonly DrainItem[] | undefined => {
    const todo = items.filter((item) => item.state === "to_move" || item.state === "to_stop");
    return todo.length === 0 && status === drain.status ? undefined : todo;
  };

  const stepDrain = async (seen: DrainRecord): Promise<boolean> => {
    const view = await deps.store.findHostView(seen.hostId);
    if (view === undefined) return false;
    const glance = due(seen, decideDrain(seen, await loadDrain(deps.store, view, seen)));
    if (glance === undefined) return false;
    const opened = await deps.store.transaction(async (tx) => {
      // In id order, as everybody locks; what comes to be due only under the locks waits for the next round.
      const locked = new Set([...glance.map((item) => item.deploymentId)].sort());
      for (const id of locked) await tx.lockDeployment(id);
      const [drain, host] = [await tx.findDrain(seen.hostId), await tx.findHostView(seen.hostId)];
      if (drain === undefined || host === undefined || drain.id !== seen.id || !isOpenDrain(drain.status)) return undefined;
      const decision = decideDrain(drain, await loadDrain(tx, host, drain));
      const todo = due(drain, decision)?.filter((item) => locked.has(item.deploymentId));
      if (todo === undefined || (todo.length === 0 && decision.status === drain.status)) return undefined;
      const stopped = await writeTodo(tx, drain, host, todo);
      if (!(await tx.casDrain(drain.id, drain.version, { status: decision.status, because: decision.because }))) throw new SkepError("request_in_progress", "the drain went on at the same moment");
      if (decision.status !== drain.status) await tellDrain(tx, drain, decision);
      return stopped;
    }, { pool: "background" });
    if (opened === undefined) return false;
    if (opened > 0) wakes.dispatch();
    wakes.moves();
    return true;
  };

  const writeTodo = async (tx: Tx, drain: DrainRecord, { host }: HostView, todo: readonly DrainItem[]): Promise<number> => {
    let stopped = 0;
    for (const item of todo) {
      const view = await tx.findPlacement(item.placementId);
      if (view === undefined) continue;
      const { placement } = view;
      if (item.state === "to_stop") {
        await openRow(tx, deps, {
          deployment: { id: item.deploymentId, name: item.deployment }, generation: placement.generation, timeoutS: undefined, options: undefined, action: "a drain", because: `stopped by the drain of ${host.name}`, fence: true, traceparent: await originOf(tx, view),
          planned: { existing: placement, hostId: host.id, desired: "stopped", row: { operation: "deploy", baseGeneration: undefined, supersedes: undefined } },
        });
        stopped += 1;
        await refreshDeployment(tx, item.deploymentId);
      } else if (item.to !== undefined) {
        await tx.insertMove({
          id: newId() as MoveId, deploymentId: item.deploymentId, deployment: item.deployment, reason: "drain", drainId: drain.id, status: "pending", fromPlacementId: placement.id, fromHostId: host.id, fromHost: host.name,
          toHostId: item.to.hostId, toHost: item.to.host, toPlacementId: undefined, desired: placement.desired === "stopped" ? "stopped" : "running", breakFirst: false, slot: undefined, because: `the drain of ${host.name}`,
        });
      }
    }
    return stopped;
  };

  const tellDrain = (tx: Tx, drain: Pick<DrainRecord, "id" | "host" | "hostId">, { status, because, next, items }: DrainDecision): Promise<void> => {
    const kind = { draining: "host.draining", blocked: "host.drain_blocked", drained: "host.drained", cancelled: "host.drain_cancelled" }[status];
    const blocked = items.filter((item) => item.state === "blocked").map((item) => ({ deployment: item.deployment, placement_id: item.placementId, because: item.because, next: item.next ?? null }));
    return tx.appendEvent({ kind, severity: status === "blocked" ? "warning" : "info", message: `host ${drain.host} is ${status === "blocked" ? "not drained" : status}: ${because}${next === undefined ? "" : `. ${next}`}`.slice(0, 2_000), hostId: drain.hostId, data: { drain_id: drain.id, blocked } });
  };

  const requireView = async (tx: Tx, ref: string): Promise<HostView> => {
    const view = await tx.findHostView(ref);
    if (view === undefined) throw new SkepError("host_not_found", `no host ${ref}`);
    return view;
  };
  const audit = (tx: Tx, context: OperatorContext, action: string, host: HostRecord, detail: Record<string, string | boolean> = {}): Promise<void> =>
    tx.appendAudit({ actor: context.actor, action, subject: `host:${host.id}`, outcome: "allowed", requestId: context.requestId, detail });

  const detailOf = async (tx: Tx, hostId: HostRecord["id"]) => {
    const [drain, view] = [await tx.findDrain(hostId), await tx.findHostView(hostId)];
    if (drain === undefined || view === undefined) throw new SkepError("drain_not_found");
    return drainJson(drain, isOpenDrain(drain.status) ? decideDrain(drain, await loadDrain(tx, view, drain)) : undefined);
  };

  return {
    ...createRebalance(deps, newId, wakes.moves),

    async drainHost(ref, request, context) {
      if (request.dry_run) {
        const body = await deps.store.transaction(async (tx) => {
          const view = await requireView(tx, ref);
          if (view.host.status === "decommissioned") throw new SkepError("host_decommissioned");
          return drainPlanJson(view.host, request.stop_pinned, decideDrain({ stopPinned: request.stop_pinned }, await loadDrain(tx, view, undefined)));
        });
        return { status: 200, body, replayed: false };
      }
      const reply = await accept(deps, context, async (tx) => {
        const { host } = await requireView(tx, ref);
        if (host.status === "decommissioned") throw new SkepError("host_decommissioned");
        const present = await tx.findDrain(host.id);
        if (host.schedulable) await tx.updateHost(host.id, { schedulable: false });
        if (present !== undefined && isOpenDrain(present.status)) {
          // Asked again: the same drain goes on, and may be told to stop what is pinned.
          if (request.stop_pinned && !present.stopPinned && !(await tx.casDrain(present.id, present.version, { stopPinned: true }))) throw new SkepError("request_in_progress", "the drain went on at the same moment", { retryAfterMs: 100 });
        } else {
          const drain = { id: newId() as DrainId, hostId: host.id, host: host.name, status: "draining" as const, stopPinned: request.stop_pinned, because: `asked by ${context.actor}` };
          if ((await tx.insertDrain(drain)) === "drain_open") throw new SkepError("request_in_progress", "the host began to drain at the same moment", { retryAfterMs: 100 });
          await tx.appendEvent({ kind: "host.draining", severity: "info", message: `host ${host.name} is cordoned and draining: ${drain.because}`, hostId: host.id, data: { drain_id: drain.id, stop_pinned: request.stop_pinned } });
        }
        await audit(tx, context, "host.drain", host, { stop_pinned: request.stop_pinned });
        return { status: 202, body: await detailOf(tx, host.id) };
      });
      wakes.moves();
      return reply;
    },

    async cancelDrain(ref, context) {
      const reply = await accept(deps, context, async (tx) => {
        const { host } = await requireView(tx, ref);
        const drain = await tx.findDrain(host.id);
        if (drain === undefined || !isOpenDrain(drain.status)) throw new SkepError("drain_not_open", drain === undefined ? `${host.name} was never drained` : `the last drain of ${host.name} is ${drain.status}`);
        const because = `cancelled by ${context.actor}`;
        const moves = (await tx.listMoves({ drainId: drain.id, open: true, limit: 1_000 })).filter((move) => !move.cancelRequested);
        for (const move of moves) if (!(await tx.casMove(move.id, move.version, { cancelRequested: true }))) throw new SkepError("request_in_progress", "a move of the drain went on at the same moment", { retryAfterMs: 100 });
        if (!(await tx.casDrain(drain.id, drain.version, { status: "cancelled", because }))) throw new SkepError("request_in_progress", "the drain went on at the same moment", { retryAfterMs: 100 });
        await tellDrain(tx, drain, { status: "cancelled", because: `${because}; what is there stays, and the host stays cordoned`, next: undefined, items: [] });
        await audit(tx, context, "host.drain_cancel", host);
        return { status: 200, body: await detailOf(tx, host.id) };
      });
      wakes.moves();
      return reply;
    },

    async cancelMove(id, context) {
      const reply = await accept(deps, context, async (tx) => {
        const move = await tx.findMove(id);
        if (move === undefined) throw new SkepError("move_not_found", `no move ${id}`);
        const past = move.status === "stopping" && move.toPlacementId !== undefined;
        if (!isOpenMove(move.status) || past) throw new SkepError("move_not_open", past ? `it is on ${move.toHost} already and is being removed from ${move.fromHost}` : `it is ${move.status}: ${move.because}`);
        if (!move.cancelRequested && !(await tx.casMove(move.id, move.version, { cancelRequested: true }))) throw new SkepError("request_in_progress", "the move went on at the same moment", { retryAfterMs: 100 });
        await tx.appendAudit({ actor: context.actor, action: "move.cancel", subject: `move:${move.id}`, outcome: "allowed", requestId: context.requestId, detail: { deployment: move.deployment } });
        return { status: 202, body: moveJson((await tx.findMove(id)) ?? move) };
      });
      wakes.moves();
      return reply;
    },

    async drainOnce() {
      const counts = { looked: 0, stepped: 0 };
      const attempt = async (what: object, step: () => Promise<boolean>): Promise<void> => {
        counts.looked += 1;
        try {
          if (await step()) counts.stepped += 1;
        } catch (error) {
          // Somebody was faster, or the database is away: the next round looks anew.
          if (!(error instanceof SkepError)) throw error;
          deps.logger.warn({ code: error.code, detail: error.detail, ...what }, "a move or a drain could not be taken further now");
        }
      };
      for (let last: string | undefined; ; ) {
        const page = await deps.store.listMoves({ open: true, limit: PAGE, after: last });
        for (const move of page) await attempt({ move_id: move.id }, () => stepMove(move));
        if (page.length < PAGE) break;
        last = page.at(-1)?.id;
      }
      for (let last: string | undefined; ; ) {
        const page = await deps.store.listOpenDrains({ limit: PAGE, after: last });
        for (const drain of page) await attempt({ drain_id: drain.id }, () => stepDrain(drain));
        if (page.length < PAGE) return counts;
        last = page.at(-1)?.id;
      }
    },
  };
}
