/** What drains and moves have to do with why a host or a deployment is as it is. */
import type { Reason } from "../liveness/decide-health.ts";
import type { DrainDecision } from "../moves/decide-drain.ts";
import { isOpenDrain, type DrainRecord, type MoveRecord } from "../moves/record.ts";
import type { HostRecord } from "../ports/records.ts";

/** More than a person reads; the rest is in the drain itself. */
const MAX_EXPLAINED = 10;

export interface ExplainedDrain {
  readonly record: DrainRecord;
  /** As judged now, of an open one. */
  readonly decision: DrainDecision | undefined;
}

export function explainDrain({ name, schedulable }: Pick<HostRecord, "name" | "schedulable">, drain: ExplainedDrain | undefined): Reason[] {
  if (drain === undefined) return [];
  const { record, decision } = drain;
  if (decision !== undefined && isOpenDrain(record.status)) {
    const blocked = decision.items.filter((item) => item.state === "blocked").slice(0, MAX_EXPLAINED);
    return [
      { code: "draining", message: `It is being drained: ${decision.because}.`, next: decision.next ?? `Follow it: skep host drain ${name} --status. Leave the rest where it is: skep host drain ${name} --cancel.`, since: record.createdAt },
      ...blocked.map((item): Reason => ({ code: "drain_blocked", message: `${item.deployment} holds the drain up: ${item.because}.`, next: item.next ?? `skep explain placement ${item.placementId}` })),
    ];
  }
  if (record.status === "drained" && !schedulable) return [{ code: "drained", message: `It was drained: ${record.because}.`, next: `It can be taken down. To use it again: skep host uncordon ${name}.`, since: record.completedAt }];
  return [];
}

/** `moves`: the open ones, each with what it waits for now. */
export function explainMoves(moves: readonly MoveRecord[]): Reason[] {
  return moves.slice(0, MAX_EXPLAINED).map((move): Reason => ({
    code: `move_${move.status}`, message: `A placement moves from ${move.fromHost} to ${move.toHost} (${move.reason}): ${move.because}.`, next: `Wait: skep move ls --deployment ${move.deployment}. Take it back: skep move cancel ${move.id}.`, since: move.progressAt,
  }));
}
