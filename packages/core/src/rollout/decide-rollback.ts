/**
 * Going back: every placement that was there before gets the base's spec as a new generation, and what came with the
 * release is torn down, at most as many at once as the policy allows. A refusal stops nobody here, for there is nothing
 * better to go to: what cannot be taken back in its time is left, named, and makes the end `failed`. It never starts
 * another rollback.
 */
import type { PlacementId } from "../ids.ts";
import { isTerminal } from "../lifecycle/states.ts";
import type { Instant } from "../time.ts";
import type { RolloutDecision } from "./decide-rollout.ts";
import { isAway, named, type MemberFacts } from "./judge-member.ts";
import { maxInFlight } from "./policy.ts";
import { goesOnTheWayBack, type RolloutMember, type RolloutRecord } from "./record.ts";

type Fate =
  | { readonly kind: "done" }
  | { readonly kind: "left"; readonly because: string }
  | { readonly kind: "in_flight"; readonly because: string; readonly cancel: boolean }
  | { readonly kind: "ready" };

export function decideRollback(rollout: RolloutRecord, facts: readonly MemberFacts[], now: Instant): RolloutDecision {
  const fates = facts.map((item) => ({ item, fate: fateOf(rollout, item, now) }));
  const members = settle(withoutGone(rollout, facts), fates);
  const of = (kind: Fate["kind"]): typeof fates => fates.filter(({ fate }) => fate.kind === kind);
  const inFlight = of("in_flight");
  const ready = of("ready").map(({ item }) => item).sort((a, b) => rank(a) - rank(b));
  const open = ready.slice(0, Math.max(0, maxInFlight(rollout.policy, facts.length) - inFlight.length)).map(({ member }) => member.placementId);
  const cancel = inFlight.flatMap(({ item, fate }) => (fate.kind === "in_flight" && fate.cancel ? [item.member.placementId] : []));
  if (open.length > 0 || cancel.length > 0) return { step: { kind: "take_back", open, cancel, because: `going back to generation ${rollout.baseGeneration ?? "?"}` }, members };
  if (inFlight.length > 0) return { step: { kind: "wait", because: named(inFlight.map(({ fate }) => (fate.kind === "in_flight" ? fate.because : ""))) }, members };
  const left = of("left").map(({ fate }) => (fate.kind === "left" ? fate.because : ""));
  return left.length === 0
    ? { step: { kind: "end_rollback", status: "rolled_back", because: `every placement is back at the spec of generation ${rollout.baseGeneration ?? "?"}` }, members }
    : { step: { kind: "end_rollback", status: "failed", because: `not taken back: ${named(left)}` }, members };
}

/** What arrived and is no longer there has been taken back: its teardown ended, or somebody else's did. */
function withoutGone(rollout: RolloutRecord, facts: readonly MemberFacts[]): readonly RolloutMember[] {
  const { members } = rollout;
  const there = new Set(facts.map(({ member }) => member.placementId));
  const isGone = (member: RolloutMember): boolean => goesOnTheWayBack(rollout, member) && member.rollback !== "done" && !there.has(member.placementId);
  return members.some(isGone) ? members.map((member) => (isGone(member) ? { ...member, rollback: "done" } : member)) : members;
}

/** What the new version reached goes first; hosts that do not answer last. */
const rank = (item: MemberFacts): number => (isAway(item) ? 2 : 0) + (item.member.rowId === undefined ? 1 : 0);

function fateOf(rollout: RolloutRecord, { member, rollbackRow, openRow, hostStatus }: MemberFacts, now: Instant): Fate {
  const { host } = member;
  const limitMs = rollout.policy.progressDeadlineS * 1_000;
  if (member.rollback === "done") return { kind: "done" };
  if (member.rollback === "left") return { kind: "left", because: member.because ?? host };
  if (rollbackRow !== undefined) {
    if (rollbackRow.status === "succeeded") return { kind: "done" };
    const what = `${host}: ${rollbackRow.operation} is ${rollbackRow.status}`;
    if (isTerminal(rollbackRow.status)) return { kind: "left", because: `${what}: ${rollbackRow.error ?? rollbackRow.because ?? "no reason given"}` };
    if (now - rollbackRow.createdAt > limitMs) return { kind: "left", because: `${what} after ${rollout.policy.progressDeadlineS} s, its host is ${hostStatus}; the operation goes on by itself` };
    return { kind: "in_flight", because: what, cancel: false };
  }
  if (openRow !== undefined && openRow.status !== "lost") {
    const what = `${host}: ${openRow.operation} of generation ${openRow.generation} is still ${openRow.status}`;
    const sinceMs = now - (openRow.cancelRequestedAt ?? rollout.progressAt);
    if (sinceMs > limitMs) return { kind: "left", because: `${what}, its host is ${hostStatus}` };
    // Only the release itself is stopped; a repair of what ran before may as well end.
    return { kind: "in_flight", because: what, cancel: openRow.cancelReason === undefined && openRow.generation === rollout.generation };
  }
  // Untouched on a host that does not answer: nothing of the release is there to be taken back.
  if (member.rowId === undefined && openRow === undefined && isAway({ hostStatus })) return { kind: "done" };
  return { kind: "ready" };
}

function settle(members: readonly RolloutMember[], fates: readonly { readonly item: MemberFacts; readonly fate: Fate }[]): readonly RolloutMember[] {
  const ended = new Map<PlacementId, Fate>(fates.filter(({ item, fate }) => (fate.kind === "done" || fate.kind === "left") && item.member.rollback !== fate.kind).map(({ item, fate }) => [item.member.placementId, fate]));
  if (ended.size === 0) return members;
  return members.map((member) => {
    const fate = ended.get(member.placementId);
    if (fate?.kind === "done") return { ...member, rollback: "done" };
    return fate?.kind === "left" ? { ...member, rollback: "left", because: fate.because } : member;
  });
}
