/**
 * What a drain does next, and what it says of each placement on its host. Pure. Invariants: it says `drained` only on
 * the host's own report, newer than the last operation there; what is pinned is stopped only where that was asked;
 * what cannot move has its reason and what to do about it.
 */
import type { DeploymentId, HostId, PlacementId } from "../ids.ts";
import type { LifecycleRow } from "../lifecycle/row.ts";
import { isPinned, place, type Candidate } from "../placement/place.ts";
import type { DeploymentRecord } from "../ports/records.ts";
import type { HostView, PlacementView } from "../ports/store.ts";
import { named } from "../rollout/judge-member.ts";
import type { Spec } from "../spec/spec.ts";
import type { Instant } from "../time.ts";
import { MAX_MOVES_OF_FLEET, type DrainRecord, type DrainStatus, type MoveRecord } from "./record.ts";

export interface DrainPlacement {
  readonly view: PlacementView;
  readonly lastRow: LifecycleRow | undefined;
  readonly deployment: DeploymentRecord;
  /** Of the placement's generation; undefined only in a damaged ledger. */
  readonly spec: Spec | undefined;
  readonly rolloutOpen: boolean;
  /** Hosts that have a placement of the deployment, this one included. */
  readonly held: readonly HostId[];
  /** The deployment's order of preference, as ids of hosts that there are. */
  readonly preferred: readonly HostId[] | undefined;
}

export interface DrainFacts {
  readonly host: HostView;
  readonly placements: readonly DrainPlacement[];
  /** Every host of the fleet with its load; `holds` is not looked at. */
  readonly candidates: readonly Candidate[];
  /** Open moves of the whole fleet. */
  readonly openMoves: readonly MoveRecord[];
  /** Moves of this drain that ended. */
  readonly endedMoves: readonly MoveRecord[];
  /** When the last operation on the host ended; undefined = there never was one. */
  readonly lastOperationAt: Instant | undefined;
}

export const DRAIN_PLACEMENT_STATES = ["moving", "to_move", "waiting", "leaving", "to_stop", "stopped", "blocked"] as const;
export type DrainPlacementState = (typeof DRAIN_PLACEMENT_STATES)[number];

export interface DrainItem {
  readonly placementId: PlacementId;
  readonly deploymentId: DeploymentId;
  readonly deployment: string;
  readonly state: DrainPlacementState;
  readonly because: string;
  /** Of `blocked`: what a person can do. */
  readonly next: string | undefined;
  /** Where it goes, of `moving` and `to_move`. */
  readonly to: { readonly hostId: HostId; readonly host: string } | undefined;
  readonly moveId: MoveRecord["id"] | undefined;
}

export interface DrainDecision {
  readonly status: DrainStatus;
  readonly because: string;
  /** What to do where it is blocked as a whole. */
  readonly next: string | undefined;
  /** By deployment, then by id. */
  readonly items: readonly DrainItem[];
}

export function decideDrain(drain: Pick<DrainRecord, "stopPinned">, facts: DrainFacts): DrainDecision {
  const { host } = facts.host;
  if (host.status === "decommissioned") return { status: "cancelled", because: "the host was decommissioned", next: undefined, items: [] };
  const items = judge(drain, facts);
  const of = (...states: readonly DrainPlacementState[]): readonly DrainItem[] => items.filter((item) => states.includes(item.state));
  const blocked = of("blocked");
  const underWay = of("moving", "to_move", "waiting", "leaving", "to_stop");
  const blockedWords = blocked.length === 0 ? "" : `blocked: ${named(blocked.map((item) => `${item.deployment}: ${item.because}`))}`;
  if (underWay.length > 0) {
    const words = (["moving", "to_move", "to_stop", "leaving", "waiting"] as const).flatMap((state) => (of(state).length === 0 ? [] : [`${of(state).length} ${state.replace("_", " ")}`]));
    return { status: "draining", because: [words.join(", "), blockedWords].filter((text) => text !== "").join("; "), next: undefined, items };
  }
  if (blocked.length > 0) return { status: "blocked", because: blockedWords, next: blocked[0]?.next, items };
  return { ...judgeHost(facts), items };
}

/** Nothing of ours is placed there any more, or all of it is stopped: whether that is so, its own report says. */
function judgeHost({ host: { host, liveness, report }, lastOperationAt }: DrainFacts): Omit<DrainDecision, "items"> {
  const stay = (because: string): Omit<DrainDecision, "items"> => ({ status: "draining", because, next: undefined });
  if (host.status === "pending" || host.status === "enrolled") return { status: "drained", because: "it was never heard from and nothing is placed there", next: undefined };
  if (host.status !== "active") return stay(`its host is ${host.status}: whether something still runs there is not known before it reports`);
  const seenAt = liveness?.observedAt;
  if (seenAt === undefined || (lastOperationAt !== undefined && seenAt <= lastOperationAt)) return stay("waiting for its report of what runs there");
  if (report?.observedError !== undefined) return stay(`its agent cannot look at what runs there: ${report.observedError}`);
  const strays = (report?.orphans ?? []).filter((item) => item.state !== "absent" && item.state !== "stopped");
  if (strays.length > 0) {
    return { status: "blocked", because: `it reports ${named(strays.map((item) => `${item.deployment} (${item.state})`))}, which nobody placed there`, next: `End it on ${host.name} itself; skep drift lists it. The drain goes on when the host no longer reports it.` };
  }
  return { status: "drained", because: "its own report shows that nothing of the fleet runs there", next: undefined };
}

function judge(drain: Pick<DrainRecord, "stopPinned">, facts: DrainFacts): readonly DrainItem[] {
  const extra = new Map<HostId, number>();
  const taken = new Set<DeploymentId>();
  let open = facts.openMoves.length;
  const ordered = [...facts.placements].sort((a, b) => (a.deployment.name < b.deployment.name ? -1 : a.deployment.name > b.deployment.name ? 1 : a.view.placement.id < b.view.placement.id ? -1 : 1));
  return ordered.map((item) => {
    const { id: placementId, deploymentId } = item.view.placement;
    const fate = fateOf(drain, facts, item, extra, open, taken.has(deploymentId));
    if (fate.state === "to_move" && fate.to !== undefined) {
      extra.set(fate.to.hostId, (extra.get(fate.to.hostId) ?? 0) + 1);
      taken.add(deploymentId);
      open += 1;
    }
    return { placementId, deploymentId, deployment: item.deployment.name, next: undefined, to: undefined, moveId: undefined, ...fate };
  });
}

type Fate = Pick<DrainItem, "state" | "because"> & Partial<DrainItem>;

function fateOf(drain: Pick<DrainRecord, "stopPinned">, facts: DrainFacts, item: DrainPlacement, extra: ReadonlyMap<HostId, number>, open: number, siblingGoes: boolean): Fate {
  const { view, lastRow, deployment, rolloutOpen } = item;
  const { placement, openRow, observed } = view;
  const { name } = deployment;
  const here = facts.host.host.name;
  const move = facts.openMoves.find((one) => one.fromPlacementId === placement.id);
  if (move !== undefined) return { state: "moving", because: `to ${move.toHost}, ${move.status}: ${move.because}`, to: { hostId: move.toHostId, host: move.toHost }, moveId: move.id };
  if (facts.openMoves.some((one) => one.toPlacementId === placement.id)) return { state: "waiting", because: "a move to this host is under way; it moves on afterwards" };
  if (placement.desired === "absent" || deployment.desired === "absent") {
    if (openRow !== undefined || lastRow?.operation !== "teardown") return { state: "leaving", because: openRow === undefined ? "it is to be removed" : `${openRow.operation} is ${openRow.status}${unknownWords(view)}` };
    return { state: "blocked", because: `it was not removed: ${lastRow.error ?? lastRow.because ?? lastRow.status}`, next: `See skep explain placement ${placement.id}; it is tried again by itself where the deployment is repaired (reconcile: auto), or: skep teardown ${name}.` };
  }
  if (openRow !== undefined) return { state: "waiting", because: `${openRow.operation} is ${openRow.status}${unknownWords(view)}` };
  if (rolloutOpen) return { state: "waiting", because: "a rollout of it is open" };
  if (isPinned(deployment.placement)) {
    if (placement.desired === "stopped") {
      const fresh = observed !== undefined && (lastRow?.completedAt === undefined || observed.observedAt > lastRow.completedAt);
      if (fresh && (observed.state === "stopped" || observed.state === "absent")) return { state: "stopped", because: "pinned here and stopped" };
      if (lastRow?.status === "failed" || lastRow?.status === "cancelled") return { state: "blocked", because: `it was to be stopped: ${lastRow.operation} ${lastRow.status}: ${lastRow.error ?? lastRow.because ?? "no reason given"}`, next: `See skep explain placement ${placement.id}. To stop it again: skep mutate ${name} --stop, or skep teardown ${name}.` };
      return { state: "waiting", because: `pinned here; it is to be stopped and ${fresh ? `is ${observed.state}` : "its host has not said so yet"}${unknownWords(view)}` };
    }
    if (drain.stopPinned) return { state: "to_stop", because: "pinned here; it is stopped, as the drain was told to" };
    return { state: "blocked", because: "pinned to this host by its placement (hosts)", next: `Let the drain stop it: skep host drain ${here} --stop-pinned. Or place it elsewhere: skep deploy -f FILE --host OTHER --replace.` };
  }
  if (siblingGoes || facts.openMoves.some((one) => one.deploymentId === deployment.id)) return { state: "waiting", because: "another placement of it is moving; one at a time" };
  const { spec } = item;
  if (spec === undefined) return { state: "blocked", because: `the ledger holds no spec for generation ${placement.generation}`, next: `Deploy it again: skep deploy -f FILE --replace.` };
  const outcome = chooseHost(facts, item, spec, extra);
  if (outcome.kind === "no_eligible_host") {
    const why = outcome.rejected.map((one) => `${one.host}: ${one.because}`).join("; ");
    return { state: "blocked", because: `no other host can take it: ${why === "" ? "there is none" : why}`, next: `Make a host eligible (skep host uncordon, skep host add, labels), or take it away: skep teardown ${name}. The drain goes on by itself.` };
  }
  if (open >= MAX_MOVES_OF_FLEET) return { state: "waiting", because: `${open} moves are open in the fleet, at most ${MAX_MOVES_OF_FLEET} at once` };
  const [target] = outcome.hosts;
  return { state: "to_move", because: `to ${target!.name}`, to: { hostId: target!.id, host: target!.name } };
}

function unknownWords({ hostStatus }: PlacementView): string {
  return hostStatus === "active" ? "" : `; its host is ${hostStatus}, what runs there is not known`;
}

/** By the deployment's own strategy, with this host, those that have it already and those where it failed left out. */
function chooseHost(facts: DrainFacts, { deployment, held, preferred, view }: DrainPlacement, spec: Spec, extra: ReadonlyMap<HostId, number>): ReturnType<typeof place> {
  const failed = new Map(facts.endedMoves.filter((move) => move.fromPlacementId === view.placement.id && move.status === "failed").map((move) => [move.toHostId, move.because]));
  const left: { host: string; because: string }[] = [];
  const pool = facts.candidates.flatMap((candidate): Candidate[] => {
    if (candidate.id === view.placement.hostId || candidate.status === "decommissioned") return [];
    if (preferred !== undefined && !preferred.includes(candidate.id)) return [];
    const because = held.includes(candidate.id) ? "it has a placement of it already" : failed.has(candidate.id) ? `a move there failed: ${failed.get(candidate.id)}` : undefined;
    if (because !== undefined) left.push({ host: candidate.name, because });
    return because === undefined ? [{ ...candidate, holds: false, load: candidate.load + (extra.get(candidate.id) ?? 0) }] : [];
  });
  const { strategy, constraints } = deployment.placement;
  const outcome = place(pool, { strategy, named: strategy === "ordered" ? preferred : undefined, replicas: 1, constraints, spec });
  const rejected = [...outcome.rejected, ...left].sort((a, b) => (a.host < b.host ? -1 : a.host > b.host ? 1 : 0));
  return { ...outcome, rejected };
}
