/**
 * What a rollout does next. Pure: given the record, what is known of its placements and the database's now. Invariants:
 * no wave opens before every placement of the one before has passed; no more placements are between versions than the
 * policy allows; nothing leaves before all that stay and come have passed or are skipped; one refusal ends the going
 * forward; and it always ends, because whatever does not move runs into a deadline.
 */
import type { PlacementId } from "../ids.ts";
import type { HostStatus } from "../liveness/decide-host.ts";
import type { Policy } from "../policy.ts";
import type { Instant } from "../time.ts";
import { isTerminal } from "../lifecycle/states.ts";
import { decideRollback } from "./decide-rollback.ts";
import { isAway, judgeMember, latest, named, type Judgement, type MemberFacts } from "./judge-member.ts";
import { waveSize } from "./policy.ts";
import { inWaves, type RolloutMember, type RolloutRecord } from "./record.ts";

export type RolloutStep =
  | { readonly kind: "wait"; readonly because: string }
  | { readonly kind: "open_wave"; readonly placements: readonly PlacementId[]; readonly because: string }
  | { readonly kind: "pause"; readonly because: string }
  /** Their hosts stay away: they follow later, and what leaves need not wait for them. */
  | { readonly kind: "skip"; readonly placements: readonly PlacementId[]; readonly because: string }
  | { readonly kind: "let_go"; readonly placements: readonly PlacementId[]; readonly because: string }
  /** `left`: what should be gone and is not yet; its teardown goes on by itself. */
  | { readonly kind: "succeed"; readonly skip: readonly PlacementId[]; readonly left: readonly PlacementId[]; readonly because: string }
  | { readonly kind: "roll_back"; readonly because: string }
  | { readonly kind: "fail"; readonly because: string }
  /** Towards the base: rows to open, rows to stop first, placements that only follow later. */
  | { readonly kind: "take_back"; readonly open: readonly PlacementId[]; readonly cancel: readonly PlacementId[]; readonly because: string }
  | { readonly kind: "end_rollback"; readonly status: "rolled_back" | "failed"; readonly because: string };

export interface RolloutDecision {
  readonly step: RolloutStep;
  /** The members as they are now known to be; the same array when nothing changed. */
  readonly members: readonly RolloutMember[];
}

export function decideRollout(rollout: RolloutRecord, facts: readonly MemberFacts[], now: Instant, policy: Policy): RolloutDecision {
  switch (rollout.status) {
    case "running":
      return decideForward(rollout, facts, now, policy);
    case "rolling_back":
      return decideRollback(rollout, facts, now);
    case "paused":
      return { step: { kind: "wait", because: "paused: it goes on when a person says so" }, members: rollout.members };
    case "succeeded":
    case "failed":
    case "rolled_back":
    case "superseded":
      return { step: { kind: "wait", because: `it is ${rollout.status}` }, members: rollout.members };
  }
}

function decideForward(rollout: RolloutRecord, facts: readonly MemberFacts[], now: Instant, policy: Policy): RolloutDecision {
  const open = facts.filter(({ member }) => member.state === "open");
  const judged = new Map<PlacementId, Judgement>(open.map((item) => [item.member.placementId, policy.rolloutGate ? judgeMember(rollout, item) : { kind: "passed" }]));
  const refuseStuck = (because: string): void => {
    for (const [id, judgement] of judged) if (judgement.kind === "waiting" && !judgement.healthy) judged.set(id, { kind: "refused", because: `${judgement.because}; ${because}` });
  };
  const next = nextWave(rollout, facts, false);
  const waiting = [...judged.values()].filter((one) => one.kind === "waiting");
  const passedNow = [...judged.values()].some((one) => one.kind === "passed");
  const leaving = facts.filter(({ member }) => member.state === "leaving");
  const movedAt = latest(rollout.progressAt, ...waiting.map((one) => one.movedAt), ...leaving.map(({ row }) => row?.runningAt ?? row?.progressAt)) ?? rollout.progressAt;
  const late = !passedNow && now - movedAt > rollout.policy.progressDeadlineS * 1_000;
  const deadline = `no progress for ${rollout.policy.progressDeadlineS} s`;
  if (late) refuseStuck(deadline);

  const members = settle(rollout.members, judged);
  const refusals = [...judged.values()].flatMap((one) => (one.kind === "refused" ? [one.because] : []));
  const decide = (step: RolloutStep): RolloutDecision => ({ step, members });
  const giveUp = (because: string): RolloutDecision =>
    decide(rollout.policy.autoRollback && rollout.baseGeneration !== undefined
      ? { kind: "roll_back", because: `wave ${rollout.wave} did not pass: ${because}` }
      : { kind: "fail", because: `wave ${rollout.wave} did not pass: ${because}; ${rollout.baseGeneration === undefined ? "there is no earlier generation to go back to" : "auto_rollback is off"}` });

  if (refusals.length > 0) return giveUp(named(refusals));
  const still = [...judged.values()].flatMap((one) => (one.kind === "waiting" ? [one.because] : []));
  if (still.length > 0) return decide({ kind: "wait", because: named(still) });
  switch (next.kind) {
    case "none":
      // Members of removed placements are left out: where nobody else is left, what leaves is all there is of it.
      if (leaving.length > 0 && leaving.length === facts.length && leaving.every(({ member }) => member.rowId === undefined)) return giveUp("what was to replace the earlier placements is no longer there");
      return decide(decideLeaving(facts, late, `every placement passed${skippedWords(members)}`));
    case "away":
      // One that is away for a moment has its turn like any other; nobody but them waits for it.
      if (!late) return decide({ kind: "wait", because: `waiting for hosts to return: ${named(next.hosts)}` });
      if (leaving.length > 0) return decide({ kind: "skip", placements: next.placements, because: `skipped, to follow when their hosts return: ${named(next.hosts)}` });
      return decide({ kind: "succeed", skip: next.placements, left: [], because: `every placement that could be reached passed; skipped, to follow when their hosts return: ${named(next.hosts)}` });
    case "busy":
      return late ? giveUp(`${deadline}: ${named(next.because)}`) : decide({ kind: "wait", because: named(next.because) });
    case "open":
      if (rollout.wave === 1 && rollout.policy.canary > 0 && !rollout.policy.autoPromote && !rollout.promoted) {
        return decide({ kind: "pause", because: "the canary passed and auto_promote is off: resume to go on, abort to go back" });
      }
      return decide({ kind: "open_wave", placements: next.placements, because: rollout.wave === 0 ? "the first wave" : `wave ${rollout.wave} passed` });
  }
}

/** The end: what leaves is let go once, and only as long as it moves. What cannot be reached or stopped is named; its teardown goes on by itself. */
function decideLeaving(facts: readonly MemberFacts[], late: boolean, passed: string): RolloutStep {
  const leaving = facts.filter(({ member }) => member.state === "leaving");
  const unasked = leaving.filter(({ member }) => member.rowId === undefined);
  const free = unasked.filter(({ openRow }) => openRow === undefined || openRow.status === "lost");
  if (free.length > 0) return { kind: "let_go", placements: free.map(({ member }) => member.placementId), because: passed };
  const busy = unasked.map(({ member, openRow }) => `${member.host}: an earlier ${openRow!.operation} is still ${openRow!.status}`);
  const asked = leaving.filter(({ member, row }) => member.rowId !== undefined && row?.status !== "succeeded");
  const waiting = [...busy, ...asked.filter((item) => !isAway(item) && item.row !== undefined && !isTerminal(item.row.status)).map(({ member, row }) => `${member.host}: ${row!.operation} is ${row!.status}`)];
  if (waiting.length > 0 && !late) return { kind: "wait", because: `${passed}; leaving: ${named(waiting)}` };
  const words = [...busy, ...asked.map(({ member, row, hostStatus }) => `${member.host}: teardown ${row === undefined ? "is not in the ledger" : `is ${row.status}${row.error === undefined ? "" : ` (${row.error})`}`}, its host is ${hostStatus}`)];
  const left = [...unasked, ...asked].map(({ member }) => member.placementId);
  return { kind: "succeed", skip: [], left, because: left.length === 0 ? passed : `${passed}; not gone yet: ${named(words)}` };
}

export type NextWave =
  | { readonly kind: "none" }
  | { readonly kind: "open"; readonly placements: readonly PlacementId[] }
  | { readonly kind: "busy"; readonly because: readonly string[] }
  | { readonly kind: "away"; readonly placements: readonly PlacementId[]; readonly hosts: readonly string[] };

/** Those who come next: hosts that answer before those that do not, and nobody whose earlier operation is still open. `first`: somebody must, even if all are away. */
export function nextWave(rollout: Pick<RolloutRecord, "policy" | "wave">, facts: readonly MemberFacts[], first: boolean): NextWave {
  const total = inWaves(facts.map(({ member }) => member)).length;
  const left = facts.filter(({ member }) => member.state === "waiting");
  if (left.length === 0) return { kind: "none" };
  const here = left.filter((item) => !isAway(item));
  const pool = here.length === 0 && first ? left : here;
  if (pool.length === 0) return { kind: "away", placements: left.map(({ member }) => member.placementId), hosts: left.map(({ member }) => member.host) };
  const free = pool.filter(({ openRow }) => openRow === undefined || openRow.status === "lost");
  if (free.length === 0) return { kind: "busy", because: pool.map(({ member, openRow }) => `${member.host}: an earlier ${openRow!.operation} is still ${openRow!.status}`) };
  const ordered = [...free].sort((a, b) => comesBefore({ host: a.member.host, hostStatus: a.hostStatus }, { host: b.member.host, hostStatus: b.hostStatus }));
  return { kind: "open", placements: ordered.slice(0, waveSize(rollout.policy, rollout.wave + 1, total)).map(({ member }) => member.placementId) };
}

/** Hosts that beat come before those that do not, then by name: people must be able to foretell it. */
export function comesBefore(a: { readonly host: string; readonly hostStatus: HostStatus }, b: { readonly host: string; readonly hostStatus: HostStatus }): number {
  const late = (status: HostStatus): number => (status === "active" ? 0 : 1);
  return late(a.hostStatus) - late(b.hostStatus) || (a.host < b.host ? -1 : a.host > b.host ? 1 : 0);
}

function settle(members: readonly RolloutMember[], judged: ReadonlyMap<PlacementId, Judgement>): readonly RolloutMember[] {
  if ([...judged.values()].every((one) => one.kind === "waiting")) return members;
  return members.map((member) => {
    const judgement = judged.get(member.placementId);
    if (judgement === undefined || judgement.kind === "waiting") return member;
    return judgement.kind === "passed" ? { ...member, state: "passed" } : { ...member, state: "refused", because: judgement.because };
  });
}

function skippedWords(members: readonly RolloutMember[]): string {
  const skipped = members.filter((member) => member.state === "skipped");
  return skipped.length === 0 ? "" : `; skipped: ${named(skipped.map((member) => member.host))}`;
}
