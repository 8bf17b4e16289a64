/**
 * What a move does next. Pure: from the record, both placements as they are now known, and the database's now. Invariants:
 * without `breakFirst` the old placement is not touched before the new one was seen as wanted; with it the two are never
 * up at once, on the way back neither; and what does not move runs into a deadline, so that a move never holds its
 * deployment for ever.
 */
import { isTerminal } from "../lifecycle/states.ts";
import type { LifecycleRow } from "../lifecycle/row.ts";
import type { DeploymentRecord } from "../ports/records.ts";
import type { PlacementView } from "../ports/store.ts";
import { latest } from "../rollout/judge-member.ts";
import { rolloutPolicy } from "../rollout/policy.ts";
import type { Spec } from "../spec/spec.ts";
import type { Instant } from "../time.ts";
import type { MoveRecord } from "./record.ts";

export interface MoveSide {
  readonly view: PlacementView;
  /** The newest row of this placement, open or not. */
  readonly lastRow: LifecycleRow | undefined;
}

export interface MoveFacts {
  readonly deployment: Pick<DeploymentRecord, "name" | "desired" | "deletedAt" | "rollout"> | undefined;
  readonly rolloutOpen: boolean;
  /** Undefined = it was removed. */
  readonly from: MoveSide | undefined;
  readonly to: MoveSide | undefined;
  /** Why the new host cannot take it now; only asked before the new placement exists. */
  readonly targetRejected: string | undefined;
  /** Why it is not its turn: other moves of the deployment, or of the fleet. */
  readonly noTurn: string | undefined;
}

export type MoveEnd = "succeeded" | "failed" | "cancelled";
export type MoveStep =
  | { readonly kind: "wait"; readonly because: string }
  /** Its turn has come: the first row is opened, whichever that is. */
  | { readonly kind: "begin" }
  | { readonly kind: "deploy_new"; readonly because: string }
  | { readonly kind: "remove_old"; readonly because: string }
  | { readonly kind: "cancel_new"; readonly because: string }
  /** `end`: the removal goes on by itself and nobody waits for it. */
  | { readonly kind: "remove_new"; readonly because: string; readonly end: MoveEnd | undefined }
  | { readonly kind: "start_old"; readonly because: string; readonly end: MoveEnd }
  | { readonly kind: "end"; readonly status: MoveEnd; readonly because: string };

const wait = (because: string): MoveStep => ({ kind: "wait", because });
const end = (status: MoveEnd, because: string): MoveStep => ({ kind: "end", status, because });

/** Somebody may still be working on it. */
const busy = (side: MoveSide | undefined): LifecycleRow | undefined => (side?.view.openRow?.status === "lost" ? undefined : side?.view.openRow);

export function decideMove(move: MoveRecord, facts: MoveFacts, now: Instant): MoveStep {
  const { deployment, from } = facts;
  if (deployment === undefined || deployment.deletedAt !== undefined || deployment.desired === "absent") return end("cancelled", "its deployment is torn down");
  switch (move.status) {
    case "pending":
      return decidePending(move, facts);
    case "starting":
      if (from === undefined) return end("cancelled", `the old placement on ${move.fromHost} is gone; the new one stays`);
      return decideStarting(move, facts, from, now);
    case "stopping":
      return move.toPlacementId === undefined ? decideBreaking(move, facts, now) : decideRemoving(move, facts);
    case "returning":
      return decideReturning(move, facts);
    case "succeeded":
    case "failed":
    case "cancelled":
      return wait(`it is ${move.status}`);
  }
}

function decidePending(move: MoveRecord, { from, rolloutOpen, targetRejected, noTurn }: MoveFacts): MoveStep {
  if (move.cancelRequested) return end("cancelled", "cancelled before it began");
  if (from === undefined || from.view.placement.desired === "absent") return end("cancelled", `the old placement on ${move.fromHost} is gone or going`);
  if (targetRejected !== undefined) return end("cancelled", `${move.toHost} cannot take it any more: ${targetRejected}`);
  if (rolloutOpen) return wait("a rollout of the deployment is open");
  const { openRow } = from.view;
  if (openRow !== undefined) return wait(`an earlier ${openRow.operation} is still ${openRow.status}`);
  return noTurn === undefined ? { kind: "begin" } : wait(noTurn);
}

function decideStarting(move: MoveRecord, facts: MoveFacts, from: MoveSide, now: Instant): MoveStep {
  const { to } = facts;
  if (to === undefined) return turnBack(move, facts, `the new placement on ${move.toHost} is gone`);
  const open = busy(to);
  if (move.cancelRequested) {
    if (open === undefined) return turnBack(move, facts, "cancelled by an operator");
    return open.cancelRequestedAt === undefined ? { kind: "cancel_new", because: "cancelled by an operator" } : wait(`${move.toHost} is told to stop its ${open.operation}`);
  }
  const { lastRow } = to;
  if (open !== undefined) return wait(`${open.operation} on ${move.toHost} is ${open.status} (${open.jobPhase ?? open.phase})`);
  if (lastRow === undefined) return turnBack(move, facts, `the row of the new placement on ${move.toHost} is not in the ledger`);
  if (isTerminal(lastRow.status) && lastRow.status !== "succeeded") return turnBack(move, facts, `${lastRow.operation} on ${move.toHost} ${lastRow.status}: ${lastRow.error ?? lastRow.because ?? "no reason given"}`);
  const policy = rolloutPolicy(facts.deployment?.rollout ?? {});
  const late = (since: Instant | undefined): boolean => now - (latest(move.progressAt, since) ?? now) > policy.progressDeadlineS * 1_000;
  if (lastRow.status === "lost") {
    return late(undefined) ? turnBack(move, facts, `the outcome on ${move.toHost} has been unknown for ${policy.progressDeadlineS} s`) : wait(`the outcome on ${move.toHost} is unknown: its host is ${to.view.hostStatus}`);
  }
  const seen = sinceEnded(to);
  if (seen === undefined || seen.generation < to.view.placement.generation) {
    return late(lastRow.completedAt) ? turnBack(move, facts, `${move.toHost} has not reported it for ${policy.progressDeadlineS} s`) : wait(`${move.toHost} has not reported it yet`);
  }
  if (seen.state === move.desired) {
    const seenMs = seen.observedAt - seen.changedAt;
    if (seenMs < policy.minHealthyS * 1_000) return wait(`${seen.state} on ${move.toHost} for ${Math.floor(seenMs / 1_000)} of ${policy.minHealthyS} s`);
    const old = busy(from);
    if (old !== undefined) return wait(`${old.operation} on ${move.fromHost} is ${old.status}`);
    return facts.rolloutOpen ? wait("a rollout of the deployment is open") : { kind: "remove_old", because: `${seen.state} on ${move.toHost}` };
  }
  const off = seen.state === "degraded" || seen.state === "failed" || seen.state === "stopped" || seen.state === "absent";
  if (off || late(lastRow.completedAt)) return turnBack(move, facts, `it is ${seen.state} on ${move.toHost}${errorsOf(to)}`);
  return wait(`it is ${seen.state} on ${move.toHost}`);
}

/** The old copy is being stopped, and only its host's word that it is ends the waiting. */
function decideBreaking(move: MoveRecord, facts: MoveFacts, now: Instant): MoveStep {
  const { from, targetRejected } = facts;
  if (from === undefined) return end("cancelled", `the old placement on ${move.fromHost} is gone`);
  const open = busy(from);
  if (open !== undefined) return wait(`the old copy on ${move.fromHost} is being stopped: ${open.operation} is ${open.status}`);
  const { lastRow } = from;
  if (move.cancelRequested) return turnBack(move, facts, "cancelled by an operator");
  if (lastRow !== undefined && isTerminal(lastRow.status) && lastRow.status !== "succeeded") return turnBack(move, facts, `stopping it on ${move.fromHost} ${lastRow.status}: ${lastRow.error ?? lastRow.because ?? "no reason given"}`);
  const seen = lastRow?.status === "lost" ? undefined : sinceEnded(from);
  if (seen?.state === "stopped" || seen?.state === "absent") {
    if (targetRejected !== undefined) return turnBack(move, facts, `${move.toHost} cannot take it any more: ${targetRejected}`);
    return { kind: "deploy_new", because: `${seen.state} on ${move.fromHost}` };
  }
  const { progressDeadlineS } = rolloutPolicy(facts.deployment?.rollout ?? {});
  if (now - (latest(move.progressAt, lastRow?.completedAt) ?? now) > progressDeadlineS * 1_000) return turnBack(move, facts, `${move.fromHost} has not said for ${progressDeadlineS} s that the old copy is stopped`);
  return wait(`${move.fromHost} (${from.view.hostStatus}) has not reported the old copy as stopped yet`);
}

function decideRemoving(move: MoveRecord, { from }: MoveFacts): MoveStep {
  if (from === undefined) return end("succeeded", `it is on ${move.toHost}, and gone from ${move.fromHost}`);
  const { lastRow, view } = from;
  if (view.openRow !== undefined) return wait(`${view.openRow.operation} on ${move.fromHost} is ${view.openRow.status}${view.hostStatus === "active" ? "" : `, its host is ${view.hostStatus}`}`);
  if (view.placement.desired !== "absent" || lastRow?.operation !== "teardown") return { kind: "remove_old", because: `it is on ${move.toHost}` };
  return end("failed", `it is on ${move.toHost}, but was not removed from ${move.fromHost}: ${lastRow.error ?? lastRow.because ?? lastRow.status}`);
}

/** Only with `breakFirst`: the new copy must be gone before the old one may run again. */
function decideReturning(move: MoveRecord, { from, to }: MoveFacts): MoveStep {
  if (to !== undefined) {
    const { openRow } = to.view;
    if (openRow !== undefined && (openRow.operation === "teardown" || openRow.status !== "lost")) return wait(`${move.because}; the new copy must be gone from ${move.toHost} before the old one starts again: ${openRow.operation} is ${openRow.status}`);
    const removal = to.lastRow?.operation === "teardown" ? to.lastRow : undefined;
    if (removal === undefined) return { kind: "remove_new", because: move.because, end: undefined };
    // A person's word that the host will never answer counts as gone; a failure does not, and is tried again by reconcile.
    if (removal.failureCode !== "host_lost") return wait(`${move.because}; the new copy could not be removed from ${move.toHost}: ${removal.error ?? removal.because ?? removal.status}`);
  }
  if (from === undefined) return end(endOf(move), `${move.because}; the old placement on ${move.fromHost} is gone`);
  const open = busy(from);
  return open === undefined ? { kind: "start_old", because: move.because, end: endOf(move) } : wait(`${move.because}; ${open.operation} on ${move.fromHost} is ${open.status}`);
}

const endOf = (move: MoveRecord): MoveEnd => (move.cancelRequested ? "cancelled" : "failed");

function turnBack(move: MoveRecord, { to, from }: MoveFacts, because: string): MoveStep {
  if (!move.breakFirst) return to === undefined ? end(endOf(move), because) : { kind: "remove_new", because, end: endOf(move) };
  if (to !== undefined) return { kind: "remove_new", because, end: undefined };
  return from === undefined ? end(endOf(move), because) : { kind: "start_old", because, end: endOf(move) };
}

/** What its host saw of it after the last operation on it ended: anything older says nothing of the result. */
function sinceEnded({ view: { observed }, lastRow }: MoveSide): PlacementView["observed"] {
  if (observed === undefined || (lastRow?.completedAt !== undefined && observed.observedAt <= lastRow.completedAt)) return undefined;
  return observed;
}

function errorsOf({ view: { observed } }: MoveSide): string {
  const words = (observed?.components ?? []).filter((component) => component.error !== undefined).map((component) => `${component.name}: ${component.error}`);
  return words.length === 0 ? "" : ` (${words.join("; ")})`;
}

/**
 * Whether the old copy must be stopped before the new one starts. A stateful deployment: two copies would write one state.
 * And two hosts of one machine (agents side by side) share its ports: the new copy could never bind a fixed one that
 * the old still holds. Between machines a fixed port is no reason: there it would only cost an outage.
 */
export function breaksFirst(spec: Spec, fromAddress: string | undefined, toAddress: string | undefined): boolean {
  if (spec.stateful === true) return true;
  const sameMachine = fromAddress !== undefined && fromAddress === toAddress;
  return sameMachine && spec.components.some((component) => component.ports.some((port) => port.host !== undefined && port.publish !== false));
}
