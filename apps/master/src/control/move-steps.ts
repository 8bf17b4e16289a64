/** Writing what a move's decision says: rows, the record and the event that tells of it, under the deployment's lock. */
import {
  NO_TRACES, SkepError, breaksFirst, decideMove, type DesiredState, type HostId, type LifecycleRow, type MovePatch, type MoveRecord, type MoveStep, type NewEvent, type Operation, type PlacementId, type PlacementView, type Tx,
} from "@skep/core";
import type { ControlDeps } from "../ports.ts";
import { loadMove, originOf, type LoadedMove } from "./move-facts.ts";
import { openRow } from "./open-row.ts";
import { applyChanges, refreshDeployment } from "./outcome.ts";

export interface MoveEffects {
  readonly opened: number;
  /** Rows that wait for their agent's word that they are stopped. */
  readonly toCancel: readonly LifecycleRow[];
}

/** Decides anew under the lock and takes the step; undefined = there is none to take. */
export async function advanceMove(tx: Tx, deps: ControlDeps, seen: MoveRecord): Promise<MoveEffects | undefined> {
  await tx.lockDeployment(seen.deploymentId);
  const move = await tx.findMove(seen.id);
  if (move === undefined) return undefined;
  const loaded = await loadMove(tx, move);
  const step = decideMove(move, loaded.facts, await tx.now());
  if (step.kind === "wait") return undefined;
  const effects = await takeStep(tx, deps, move, loaded, step);
  await refreshDeployment(tx, move.deploymentId);
  return effects;
}

async function takeStep(tx: Tx, deps: ControlDeps, move: MoveRecord, { facts, slot }: LoadedMove, step: Exclude<MoveStep, { kind: "wait" }>): Promise<MoveEffects> {
  const { from, to } = facts;
  const open = (view: PlacementView, operation: Operation, desired: DesiredState, because: string) => openMoveRow(tx, deps, move, view, operation, desired, because);
  switch (step.kind) {
    case "begin":
      return begin(tx, deps, move, from!.view, slot!);
    case "deploy_new": {
      const toPlacementId = await openNew(tx, deps, move, from!.view, move.desired);
      await write(tx, move, { status: "starting", toPlacementId, because: step.because }, "move.starting", "info", `${move.deployment} is ${step.because} and now starts on ${move.toHost}`);
      return { opened: 1, toCancel: [] };
    }
    case "remove_old":
      await open(from!.view, "teardown", "absent", `move to ${move.toHost}: ${step.because}`);
      await write(tx, move, { status: "stopping", because: step.because }, "move.stopping", "info", `${move.deployment} is ${step.because}; it is removed from ${move.fromHost}`);
      return { opened: 1, toCancel: [] };
    case "cancel_new":
      return { opened: 0, toCancel: await cancelRow(tx, to!.view.openRow!, step.because) };
    case "remove_new":
      await open(to!.view, "teardown", "absent", `move from ${move.fromHost} is taken back: ${step.because}`);
      await write(tx, move, { status: step.end ?? "returning", because: step.because }, ...told(move, step.end, step.because));
      return { opened: 1, toCancel: [] };
    case "start_old":
      await open(from!.view, "deploy", move.desired, `move to ${move.toHost} is taken back: ${step.because}`);
      await write(tx, move, { status: step.end, because: step.because }, ...told(move, step.end, step.because));
      return { opened: 1, toCancel: [] };
    case "end":
      await write(tx, move, { status: step.status, because: step.because }, ...told(move, step.status, step.because));
      return { opened: 0, toCancel: [] };
  }
}

async function begin(tx: Tx, deps: ControlDeps, move: MoveRecord, from: PlacementView, slot: number): Promise<MoveEffects> {
  const { placement } = from;
  const spec = (await tx.findGeneration(move.deploymentId, placement.generation))?.spec;
  if (spec === undefined) {
    const because = `the ledger holds no spec for generation ${placement.generation}`;
    await write(tx, move, { status: "failed", because }, ...told(move, "failed", because));
    return { opened: 0, toCancel: [] };
  }
  const desired = placement.desired === "stopped" ? "stopped" : "running";
  const breakFirst = desired === "running" && breaksFirst(spec, await addressOf(tx, move.fromHostId), await addressOf(tx, move.toHostId));
  const message = `${move.deployment} moves from ${move.fromHost} to ${move.toHost} (${move.reason})${breakFirst ? "; it stops there before it starts here" : ""}`;
  if (breakFirst) {
    await openMoveRow(tx, deps, move, from, "deploy", "stopped", `move to ${move.toHost}: stopped before it starts there`);
    await write(tx, move, { status: "stopping", slot, desired, breakFirst, because: "the old copy is being stopped" }, "move.started", "info", message);
  } else {
    const toPlacementId = await openNew(tx, deps, move, from, desired);
    await write(tx, move, { status: "starting", slot, desired, breakFirst, toPlacementId, because: "the new copy is being started" }, "move.started", "info", message);
  }
  return { opened: 1, toCancel: [] };
}

/** The new placement is wanted at what is wanted of the old one: a move is no change of the deployment. */
async function openNew(tx: Tx, deps: ControlDeps, move: MoveRecord, from: PlacementView, desired: "running" | "stopped"): Promise<PlacementId> {
  const { placement } = from;
  const { placementId } = await openRow(tx, deps, {
    traceparent: await traced(tx, deps, move, from, "deploy", move.toHost),
    deployment: { id: move.deploymentId, name: move.deployment }, generation: placement.generation, timeoutS: undefined, options: undefined, action: "a move", because: `move from ${move.fromHost} (${move.reason})`,
    planned: { existing: undefined, hostId: move.toHostId, desired, row: { operation: "deploy", baseGeneration: undefined, supersedes: undefined } },
  });
  return placementId;
}

async function openMoveRow(tx: Tx, deps: ControlDeps, move: MoveRecord, view: PlacementView, operation: Operation, desired: DesiredState, because: string): Promise<void> {
  const { placement, openRow: open } = view;
  await openRow(tx, deps, {
    traceparent: await traced(tx, deps, move, view, operation, view.hostName),
    deployment: { id: move.deploymentId, name: move.deployment }, generation: placement.generation, timeoutS: undefined, options: undefined, action: "a move", because, fence: true,
    planned: { existing: placement, hostId: placement.hostId, desired, row: { operation, baseGeneration: undefined, supersedes: open?.status === "lost" ? open : undefined } },
  });
}

async function traced(tx: Tx, { tracer = NO_TRACES }: ControlDeps, { deployment }: MoveRecord, view: PlacementView, operation: Operation, host: string): Promise<string | undefined> {
  const span = tracer.startSpan("move", { parent: await originOf(tx, view), attributes: { deployment, host, operation, generation: view.placement.generation } });
  span.end();
  return span.traceparent;
}

/** What was never sent ends here; everything else ends when its agent says so. */
export async function cancelRow(tx: Tx, row: LifecycleRow, because: string): Promise<readonly LifecycleRow[]> {
  if (row.status === "pending" && row.sentAt === undefined) {
    await applyChanges(tx, [{ row, needsDecision: false, change: { id: row.id, expectedVersion: row.version, status: "cancelled", cancelReason: "operator", because: `never sent: ${because}` } }]);
    return [];
  }
  const marked = await tx.requestCancel(row.id, row.version, "operator");
  return marked === undefined ? [] : [marked];
}

/** By what the operator said, or the agent at its registration: two agents of one machine have the same. */
async function addressOf(tx: Tx, hostId: HostId): Promise<string | undefined> {
  const host = await tx.findHost(hostId);
  if (host?.agentUrl !== undefined && URL.canParse(host.agentUrl)) return new URL(host.agentUrl).hostname;
  return host?.address;
}

function told(move: MoveRecord, status: "succeeded" | "failed" | "cancelled" | undefined, because: string): [kind: string, severity: NewEvent["severity"], message: string] {
  const what = `the move of ${move.deployment} from ${move.fromHost} to ${move.toHost}`;
  switch (status) {
    case undefined:
      return ["move.returning", "warning", `${what} is taken back: ${because}`];
    case "succeeded":
      return ["move.succeeded", "info", `${what} succeeded: ${because}`];
    case "failed":
      return ["move.failed", "warning", `${what} failed: ${because}`];
    case "cancelled":
      return ["move.cancelled", "info", `${what} is cancelled: ${because}`];
  }
}

async function write(tx: Tx, move: MoveRecord, patch: MovePatch, kind: string, severity: NewEvent["severity"], message: string): Promise<void> {
  // Somebody was faster, on the move or on the slot: what was written beside it goes with the transaction.
  if (!(await tx.casMove(move.id, move.version, patch))) throw new SkepError("request_in_progress", "the move went on at the same moment, or its place was taken", { retryAfterMs: 100 });
  await tx.appendEvent({ kind, severity, message, hostId: move.fromHostId, deploymentId: move.deploymentId, placementId: move.fromPlacementId, data: { move_id: move.id, from_host: move.fromHost, to_host: move.toHost, reason: move.reason } });
}
