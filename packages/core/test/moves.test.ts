/** Moves, drains and rebalancing as decisions: each step with its neighbour, and over any history the promises of the whole. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  breaksFirst, decideDrain, decideMove, instant, planRebalance, seededRng, below,
  type Candidate, type DeploymentId, type DeploymentRecord, type DrainFacts, type DrainPlacement, type HostId, type HostView, type Instant, type LifecycleRow, type Movable, type MoveFacts, type MoveRecord, type MoveSide, type MoveStatus, type ObservedState,
  type PlacementId, type PlacementView, type Rng, type Spec,
} from "../src/index.ts";
import { aRow } from "./rows.ts";

const NOW = instant(10_000_000);
const LATE = instant(NOW + 601_000);
const SPEC: Spec = { driver: "noop", components: [{ name: "web", command: [], env: {}, ports: [], restart: { policy: "always" }, depends_on: [], stop_timeout_s: 10 }] };

const aMove = (patch: Partial<MoveRecord> = {}): MoveRecord => ({
  id: "m" as MoveRecord["id"], deploymentId: "d" as DeploymentId, deployment: "web", reason: "drain", drainId: undefined, status: "starting", fromPlacementId: "p-old" as PlacementId, fromHostId: "a" as HostId, fromHost: "a",
  toHostId: "b" as HostId, toHost: "b", toPlacementId: "p-new" as PlacementId, desired: "running", breakFirst: false, cancelRequested: false, slot: 0, because: "because", progressAt: NOW, createdAt: NOW, updatedAt: NOW, completedAt: undefined, version: 1, ...patch,
});
/** A placement whose newest row ended at NOW, looked at `seenMs` later. */
function side(id: string, state: ObservedState | undefined, row: Partial<LifecycleRow> = {}, seenMs = 1, desired: "running" | "stopped" | "absent" = "running"): MoveSide {
  const lastRow = aRow({ placementId: id as PlacementId, status: "succeeded", completedAt: NOW, ...row });
  const open = lastRow.status === "pending" || lastRow.status === "running" || lastRow.status === "lost";
  const view: PlacementView = {
    placement: { id: id as PlacementId, deploymentId: "d" as DeploymentId, deployment: "web", hostId: (id === "p-old" ? "a" : "b") as HostId, desired, epoch: 1, generation: 3, appliedGeneration: undefined, reconcileAttempts: 0, reconcileNotBefore: undefined, createdAt: NOW, removedAt: undefined, version: 1 },
    hostName: id === "p-old" ? "a" : "b", hostStatus: "active", openRow: open ? lastRow : undefined,
    observed: state === undefined ? undefined : { placementId: id as PlacementId, hostId: "a" as HostId, state, generation: 3, epoch: 1, specHash: "", components: [], observedAt: instant(NOW + seenMs), changedAt: NOW },
  };
  return { view, lastRow: open ? lastRow : { ...lastRow, completedAt: lastRow.completedAt } };
}
const deployment = { name: "web", desired: "running", deletedAt: undefined, rollout: {} } as const;
const facts = (patch: Partial<MoveFacts> = {}): MoveFacts => ({ deployment, rolloutOpen: false, from: side("p-old", "running"), to: side("p-new", "running"), targetRejected: undefined, noTurn: undefined, ...patch });
const step = (move: Partial<MoveRecord>, patch: Partial<MoveFacts> = {}, now: Instant = NOW) => decideMove(aMove(move), facts(patch), now);
const open = (id: string, patch: Partial<LifecycleRow> = {}): MoveSide => side(id, undefined, { status: "running", completedAt: undefined, ...patch });

describe("a move that waits", () => {
  const pending = { status: "pending", toPlacementId: undefined, slot: undefined } as const;
  test("begins when nothing is in its way", () => expect(step(pending, { to: undefined })).toEqual({ kind: "begin" }));
  test.each([
    ["an open rollout", { rolloutOpen: true }, "wait"],
    ["an open row", { from: open("p-old") }, "wait"],
    ["a lost row: nobody knows what is there", { from: open("p-old", { status: "lost" }) }, "wait"],
    ["other moves", { noTurn: "8 moves" }, "wait"],
    ["a host that cannot take it any more", { targetRejected: "cordoned" }, "end"],
    ["a placement that is gone", { from: undefined }, "end"],
    ["a placement that is going", { from: side("p-old", "running", {}, 1, "absent") }, "end"],
    ["a deployment that is torn down", { deployment: { ...deployment, desired: "absent" } }, "end"],
  ] as const)("%s", (_what, patch, kind) => expect(step(pending, { to: undefined, ...(patch as Partial<MoveFacts>) }).kind).toBe(kind));
  test("cancelled before it began", () => expect(step({ ...pending, cancelRequested: true }, { to: undefined })).toMatchObject({ kind: "end", status: "cancelled" }));
});

describe("the new copy", () => {
  test.each([
    ["succeeded and seen running since", {}, "remove_old"],
    ["succeeded, and not seen since", { to: side("p-new", "running", {}, 0) }, "wait"],
    ["succeeded, and never seen", { to: side("p-new", undefined) }, "wait"],
    ["running, seen running by an earlier report", { to: open("p-new") }, "wait"],
    ["the outcome is unknown", { to: open("p-new", { status: "lost" }) }, "wait"],
    ["still coming up", { to: side("p-new", "deploying") }, "wait"],
    ["failed", { to: side("p-new", "absent", { status: "failed" }) }, "remove_new"],
    ["cancelled by somebody", { to: side("p-new", "absent", { status: "cancelled" }) }, "remove_new"],
    ["degraded", { to: side("p-new", "degraded") }, "remove_new"],
    ["stopped behind our back", { to: side("p-new", "stopped") }, "remove_new"],
    ["its placement was dropped", { to: undefined }, "end"],
    ["well, but the old one is worked on", { from: open("p-old") }, "wait"],
    ["well, but a rollout is open", { rolloutOpen: true }, "wait"],
    ["well, and the old one was dropped", { from: undefined }, "end"],
  ] as const)("%s", (_what, patch, kind) => expect(step({}, patch as Partial<MoveFacts>).kind).toBe(kind));
  test("min_healthy_s of the deployment counts by the host's own reports", () => {
    const slow = { deployment: { ...deployment, rollout: { minHealthyS: 10 } } };
    expect(step({}, { ...slow, to: side("p-new", "running", {}, 9_999) }).kind).toBe("wait");
    expect(step({}, { ...slow, to: side("p-new", "running", {}, 10_000) }).kind).toBe("remove_old");
  });
  test.each([["unknown", open("p-new", { status: "lost" })], ["never seen", side("p-new", undefined)], ["still coming up", side("p-new", "deploying")]] as const)("what does not move ends: %s", (_what, to) => {
    expect(step({}, { to }, LATE)).toMatchObject({ kind: "remove_new", end: "failed" });
  });
  test("a cancel stops the row first, then takes the new copy away; the old one was never touched", () => {
    expect(step({ cancelRequested: true }, { to: open("p-new") }).kind).toBe("cancel_new");
    expect(step({ cancelRequested: true }, { to: open("p-new", { cancelRequestedAt: NOW }) }).kind).toBe("wait");
    expect(step({ cancelRequested: true })).toMatchObject({ kind: "remove_new", end: "cancelled" });
  });
});

describe("the old copy, once the new one runs", () => {
  const stopping = { status: "stopping" } as const;
  test.each([
    ["gone", { from: undefined }, { kind: "end", status: "succeeded" }],
    ["being removed", { from: open("p-old", { operation: "teardown" }) }, { kind: "wait" }],
    ["its host is silent", { from: open("p-old", { operation: "teardown", status: "lost" }) }, { kind: "wait" }],
    ["not removed", { from: side("p-old", "running", { operation: "teardown", status: "failed", error: "busy" }, 1, "absent") }, { kind: "end", status: "failed" }],
    ["told nothing yet", {}, { kind: "remove_old" }],
  ] as const)("%s", (_what, patch, expected) => expect(step(stopping, patch as Partial<MoveFacts>)).toMatchObject(expected));
});

describe("with a stop first", () => {
  const breaking = { status: "stopping", breakFirst: true, toPlacementId: undefined } as const;
  const stopped = (seenMs = 1): MoveSide => side("p-old", "stopped", {}, seenMs, "stopped");
  test.each([
    ["its host says that it is stopped", { from: stopped() }, { kind: "deploy_new" }],
    ["the row says so and its host has not yet", { from: stopped(0) }, { kind: "wait" }],
    ["it is seen running", { from: side("p-old", "running", {}, 1, "stopped") }, { kind: "wait" }],
    ["being stopped", { from: open("p-old") }, { kind: "wait" }],
    ["unknown", { from: open("p-old", { status: "lost" }) }, { kind: "wait" }],
    ["the stop failed", { from: side("p-old", "running", { status: "failed" }, 1, "stopped") }, { kind: "start_old", end: "failed" }],
    ["the new host cannot take it any more", { from: stopped(), targetRejected: "cordoned" }, { kind: "start_old", end: "failed" }],
  ] as const)("%s", (_what, patch, expected) => expect(step(breaking, { to: undefined, ...(patch as Partial<MoveFacts>) })).toMatchObject(expected));
  test("a stop that nobody confirms is taken back at the deadline", () => expect(step(breaking, { to: undefined, from: open("p-old", { status: "lost" }) }, LATE)).toMatchObject({ kind: "start_old" }));
  test("what fails on the new host goes away before the old one starts", () => {
    expect(step({ breakFirst: true }, { from: stopped(), to: side("p-new", "failed", { status: "failed" }) })).toMatchObject({ kind: "remove_new", end: undefined });
    const returning = { status: "returning", breakFirst: true } as const;
    expect(step(returning, { from: stopped(), to: open("p-new", { operation: "teardown" }) }).kind).toBe("wait");
    expect(step(returning, { from: stopped(), to: open("p-new", { operation: "teardown", status: "lost" }) }).kind).toBe("wait");
    expect(step(returning, { from: stopped(), to: side("p-new", "running", { operation: "teardown", status: "failed" }, 1, "absent") }).kind).toBe("wait");
    expect(step(returning, { from: stopped(), to: side("p-new", "running", { operation: "teardown", status: "failed", failureCode: "host_lost" }, 1, "absent") })).toMatchObject({ kind: "start_old", end: "failed" });
    expect(step(returning, { from: stopped(), to: undefined })).toMatchObject({ kind: "start_old", end: "failed" });
    expect(step({ ...returning, cancelRequested: true }, { from: stopped(), to: undefined })).toMatchObject({ kind: "start_old", end: "cancelled" });
  });
  test("which ones: what is stateful, and a fixed port on one machine", () => {
    const fixed: Spec = { ...SPEC, components: [{ ...SPEC.components[0]!, ports: [{ name: "http", host: 80, protocol: "tcp" }] }] };
    expect([breaksFirst(SPEC, "10.0.0.1", "10.0.0.1"), breaksFirst({ ...SPEC, stateful: true }, "10.0.0.1", "10.0.0.2"), breaksFirst(fixed, "10.0.0.1", "10.0.0.1"), breaksFirst(fixed, "10.0.0.1", "10.0.0.2"), breaksFirst(fixed, undefined, undefined)]).toEqual([false, true, true, false, false]);
  });
});

/** One move against two hosts and a ledger in miniature, with rows that end as they like, hosts that look when they like, and clocks that jump. */
function history(rng: Rng, breakFirst: boolean): { readonly most: number; readonly none: boolean; readonly status: MoveStatus; readonly old: boolean; readonly fresh: boolean } {
  let now: number = NOW;
  let move = aMove({ status: "pending", toPlacementId: undefined, slot: undefined, breakFirst });
  interface Sim { id: string; up: boolean; removed: boolean; desired: "running" | "stopped" | "absent"; row: LifecycleRow; seen: { state: ObservedState; at: number } }
  const make = (id: string, up: boolean): Sim => ({ id, up, removed: false, desired: "running", row: aRow({ placementId: id as PlacementId, status: "succeeded", completedAt: instant(now) }), seen: { state: up ? "running" : "absent", at: now } });
  const old = make("p-old", true);
  let fresh: Sim | undefined;
  const sideOf = (sim: Sim | undefined): MoveSide | undefined => {
    if (sim === undefined || sim.removed) return undefined;
    const base = side(sim.id, sim.seen.state, {}, 1, sim.desired);
    const isOpen = sim.row.completedAt === undefined;
    return { lastRow: sim.row, view: { ...base.view, openRow: isOpen ? sim.row : undefined, observed: { ...base.view.observed!, observedAt: instant(sim.seen.at), changedAt: instant(sim.seen.at) } } };
  };
  const tell = (sim: Sim, operation: "deploy" | "teardown", desired: Sim["desired"]): void => {
    sim.desired = desired;
    sim.row = aRow({ placementId: sim.id as PlacementId, operation, status: "pending", completedAt: undefined, createdAt: instant(now) });
  };
  let most = 1;
  let none = false;
  for (let round = 0; round < 400 && move.completedAt === undefined; round++) {
    now += below(rng, 10) === 0 ? 700_000 : 1_000;
    for (const sim of [old, fresh]) {
      if (sim === undefined || sim.removed) continue;
      const end = (status: "succeeded" | "failed"): void => void (sim.row = { ...sim.row, status, completedAt: instant(now) });
      if (sim.row.completedAt === undefined) {
        const dice = below(rng, 6);
        if (dice === 0) sim.row = { ...sim.row, status: "lost" };
        // A lost row may have been done for long before anybody hears of it.
        else if (dice < 4) {
          sim.up = sim.row.operation === "deploy" && sim.desired === "running";
          if (below(rng, 3) > 0) {
            end("succeeded");
            if (sim.row.operation === "teardown") sim.removed = true;
          }
        } else if (dice === 4) end("failed");
      } else if (sim.desired === "absent" && below(rng, 2) === 0) tell(sim, "teardown", "absent");
      if (below(rng, 2) === 0) sim.seen = { state: sim.up ? "running" : sim.desired === "stopped" ? "stopped" : "absent", at: now };
      most = Math.max(most, Number(old.up) + Number(fresh?.up ?? false));
      none ||= !old.up && fresh?.up !== true;
    }
    if (below(rng, 40) === 0) move = { ...move, cancelRequested: true };
    const decided = decideMove(move, facts({ from: sideOf(old), to: sideOf(fresh) }), instant(now));
    const become = (status: MoveStatus | undefined): void => {
      if (status !== undefined && status !== move.status) move = { ...move, status, progressAt: instant(now), ...(status === "succeeded" || status === "failed" || status === "cancelled" ? { completedAt: instant(now) } : {}) };
    };
    const start = (): void => {
      fresh = make("p-new", false);
      tell(fresh, "deploy", "running");
      move = { ...move, toPlacementId: "p-new" as PlacementId };
      become("starting");
    };
    switch (decided.kind) {
      case "wait":
        break;
      case "begin":
        if (breakFirst) {
          tell(old, "deploy", "stopped");
          become("stopping");
        } else start();
        break;
      case "deploy_new":
        start();
        break;
      case "remove_old":
        tell(old, "teardown", "absent");
        become("stopping");
        break;
      case "cancel_new":
        fresh!.row = { ...fresh!.row, cancelRequestedAt: instant(now) };
        break;
      case "remove_new":
        tell(fresh!, "teardown", "absent");
        become(decided.end ?? "returning");
        break;
      case "start_old":
        tell(old, "deploy", "running");
        become(decided.end);
        break;
      case "end":
        become(decided.status);
        break;
    }
  }
  return { most, none, status: move.status, old: !old.removed, fresh: fresh !== undefined && !fresh.removed };
}

describe("over any history", () => {
  const seeds = fc.integer({ min: 0, max: 2 ** 31 });
  test("with a stop first there are never two copies, not even on the way back", () => {
    fc.assert(fc.property(seeds, (seed) => {
      expect(history(seededRng(seed), true).most).toBe(1);
    }), { numRuns: 2_000 });
  });
  test("without it the old copy is not taken away before the new one was seen, and every move ends", () => {
    fc.assert(fc.property(seeds, (seed) => {
      const { status, none, old, fresh } = history(seededRng(seed), false);
      expect(["succeeded", "failed", "cancelled"]).toContain(status);
      // The new copy may be gone again right after it was seen; what must not be is an old one that was removed for a move that did not reach its end.
      if (status === "cancelled") expect([old, none]).toEqual([true, false]);
      if (status === "succeeded") expect([old, fresh]).toEqual([false, true]);
    }), { numRuns: 2_000 });
  });
});

describe("a drain's verdict", () => {
  const candidate = (name: string, patch: Partial<Candidate> = {}): Candidate => ({ id: name as HostId, name, status: "active", schedulable: true, labels: {}, load: 0, holds: false, capabilities: [], ...patch });
  const hostView = (patch: { status?: HostView["host"]["status"]; observedAt?: Instant | undefined; observedError?: string; orphans?: HostView["report"] extends infer R ? R extends { orphans: infer O } ? O : never : never } = {}): HostView => ({
    host: { id: "a" as HostId, name: "a", status: patch.status ?? "active" } as HostView["host"], reachability: undefined,
    liveness: { hostId: "a" as HostId, lastHeartbeatAt: NOW, bootId: "b", seq: 1, opSeq: 1, phase: "ready", observedAt: "observedAt" in patch ? patch.observedAt : instant(NOW + 1) },
    report: { observedError: patch.observedError, orphans: patch.orphans ?? [] } as unknown as HostView["report"],
  });
  const placed = (name: string, patch: Partial<DrainPlacement> & { placement?: DeploymentRecord["placement"] } = {}): DrainPlacement => {
    const { placement = { replicas: 1 }, ...rest } = patch;
    const base = side("p-old", "running");
    const view: PlacementView = { ...base.view, placement: { ...base.view.placement, id: `p-${name}` as PlacementId, deploymentId: `d-${name}` as DeploymentId } };
    return { view, lastRow: base.lastRow, deployment: { id: `d-${name}`, name, desired: "running", placement } as DeploymentRecord, spec: SPEC, rolloutOpen: false, held: ["a" as HostId], preferred: undefined, ...rest };
  };
  const drainFacts = (patch: Partial<DrainFacts> = {}): DrainFacts => ({ host: hostView(), placements: [], candidates: [candidate("a"), candidate("b"), candidate("c")], openMoves: [], endedMoves: [], lastOperationAt: NOW, ...patch });
  const verdict = (patch: Partial<DrainFacts>, stopPinned = false) => decideDrain({ stopPinned }, drainFacts(patch));

  test.each([
    ["the host's own newer report", {}, "drained"],
    ["a report no newer than the last operation", { lastOperationAt: instant(NOW + 1) }, "draining"],
    ["no report at all", { host: hostView({ observedAt: undefined }) }, "draining"],
    ["an agent that cannot look", { host: hostView({ observedError: "the engine is away" }) }, "draining"],
    ["a suspect host", { host: hostView({ status: "suspect" }) }, "draining"],
    ["an unreachable host", { host: hostView({ status: "unreachable" }) }, "draining"],
    ["a host that was never heard", { host: hostView({ status: "enrolled", observedAt: undefined }), lastOperationAt: undefined }, "drained"],
    ["a decommissioned host", { host: hostView({ status: "decommissioned" }), placements: [placed("x")] }, "cancelled"],
    ["something runs that nobody placed there", { host: hostView({ orphans: [{ placement_id: "x", deployment: "stray", epoch: 1, generation: 1, spec_hash: "", state: "running", components: [] }] }) }, "blocked"],
    ["something stopped that nobody placed there", { host: hostView({ orphans: [{ placement_id: "x", deployment: "stray", epoch: 1, generation: 1, spec_hash: "", state: "stopped", components: [] }] }) }, "drained"],
  ] as const)("with nothing left: %s", (_what, patch, status) => expect(verdict(patch as Partial<DrainFacts>).status).toBe(status));

  test("each goes where its own strategy says, and they see each other coming", () => {
    const decision = verdict({ placements: [placed("x"), placed("w"), placed("y"), placed("z", { placement: { strategy: "ordered", hosts: ["c", "b"] }, preferred: ["c", "b"] as HostId[] })] });
    expect(decision.items.map((item) => `${item.deployment} ${item.state} ${item.to?.host}`)).toEqual(["w to_move b", "x to_move c", "y to_move b", "z to_move c"]);
  });

  test("what holds it up has its reason and what to do; what waits does not count as held up", () => {
    const decision = verdict({ placements: [placed("pin", { placement: { hosts: ["a"] } }), placed("geo", { placement: { constraints: { region: "eu" } } }), placed("both", { held: ["a", "b", "c"] as HostId[] })] });
    expect(decision.status).toBe("blocked");
    expect(decision.items.map((item) => item.because)).toEqual(["no other host can take it: b: it has a placement of it already; c: it has a placement of it already", "no other host can take it: b: label region is not set, eu is required; c: label region is not set, eu is required", "pinned to this host by its placement (hosts)"]);
    for (const item of decision.items) expect(item.next).toMatch(/skep /);
    expect(verdict({ placements: [placed("pin", { placement: { hosts: ["a"] } }), placed("rolling", { rolloutOpen: true })] }).status).toBe("draining");
  });

  test("pinned ones are stopped only where that was asked, once, and then they do not count", () => {
    const pin = (patch: Partial<DrainPlacement> = {}): DrainPlacement => placed("pin", { placement: { hosts: ["a"] }, ...patch });
    expect(verdict({ placements: [pin()] }, true).items[0]!.state).toBe("to_stop");
    const wanted = (state: ObservedState, seenMs: number, row: Partial<LifecycleRow> = {}): DrainPlacement => pin(side("p-old", state, row, seenMs, "stopped"));
    expect(verdict({ placements: [wanted("stopped", 1)] }, true)).toMatchObject({ status: "drained", items: [{ state: "stopped" }] });
    expect(verdict({ placements: [wanted("stopped", 0)] }, true)).toMatchObject({ status: "draining", items: [{ state: "waiting" }] });
    expect(verdict({ placements: [wanted("running", 1)] }, true)).toMatchObject({ status: "draining", items: [{ state: "waiting" }] });
    expect(verdict({ placements: [wanted("running", 1, { status: "failed", error: "busy" })] }, true)).toMatchObject({ status: "blocked" });
  });

  test("a host where a move of it failed is not tried again, and the fleet's limit holds", () => {
    const failed = aMove({ status: "failed", fromPlacementId: "p-x" as PlacementId, because: "no such image" });
    expect(verdict({ placements: [placed("x")], endedMoves: [failed] }).items[0]!.to?.host).toBe("c");
    const both = verdict({ placements: [placed("x")], endedMoves: [failed, { ...failed, toHostId: "c" as HostId, toHost: "c" }] });
    expect(both).toMatchObject({ status: "blocked", items: [{ because: expect.stringContaining("b: a move there failed: no such image") as string }] });
    const eight = Array.from({ length: 8 }, (_, index) => aMove({ id: `m${index}` as MoveRecord["id"], deploymentId: `o${index}` as DeploymentId, fromPlacementId: `o${index}` as PlacementId }));
    expect(verdict({ placements: [placed("x")], openMoves: eight }).items[0]!.state).toBe("waiting");
    const siblings = verdict({ placements: [placed("x")], openMoves: [aMove({ deploymentId: "d-x" as DeploymentId, fromPlacementId: "elsewhere" as PlacementId })] });
    expect(siblings.items[0]).toMatchObject({ state: "waiting" });
  });

  test("the order of what is known does not matter", () => {
    const items = ["v", "w", "x", "y", "z"].map((name, index) => placed(name, index === 2 ? { placement: { hosts: ["a"] } } : {}));
    const hosts = ["a", "b", "c", "d"].map((name, load) => candidate(name, { load }));
    const expected = verdict({ placements: items, candidates: hosts });
    fc.assert(fc.property(fc.shuffledSubarray(items, { minLength: 5 }), fc.shuffledSubarray(hosts, { minLength: 4 }), (placements, candidates) => {
      expect(verdict({ placements, candidates })).toEqual(expected);
    }));
  });
});

describe("rebalancing", () => {
  interface Case { hosts: { id: HostId; name: string; load: number }[]; items: Movable[] }
  function aCase(rng: Rng, filtered: boolean): Case {
    const names = ["a", "b", "c", "d"].slice(0, 2 + below(rng, 3)) as HostId[];
    const other = names.map(() => below(rng, 3));
    const items: Movable[] = [];
    let placed = 0;
    for (let d = 0; d < 1 + below(rng, 6); d++) {
      const mine = names.filter(() => below(rng, 3) === 0);
      if (mine.length === 0 || placed + mine.length > 7) continue;
      placed += mine.length;
      const fixed = below(rng, 4) === 0 ? mine.slice(0, 1) : [];
      items.push({
        deploymentId: `d${d}` as DeploymentId, deployment: `d${d}`, fixed, placements: mine.filter((id) => !fixed.includes(id)).map((hostId) => ({ id: `${d}${hostId}` as PlacementId, hostId })),
        eligible: names.filter(() => !filtered || below(rng, 2) === 0),
      });
    }
    return { hosts: names.map((id, index) => ({ id, name: id, load: other[index]! + items.filter((item) => [...item.fixed, ...item.placements.map((one) => one.hostId)].includes(id)).length })), items };
  }
  const loadsAfter = ({ hosts }: Case, moves: readonly { from: HostId; to: HostId }[]): number[] => hosts.map((one) => one.load - moves.filter((move) => move.from === one.id).length + moves.filter((move) => move.to === one.id).length);
  const squares = (loads: readonly number[]): number => loads.reduce((sum, load) => sum + load * load, 0);

  /** Every assignment there is: the evenest, and the fewest moves that lead to it. */
  function best({ hosts, items }: Case): { squares: number; moves: number } {
    let top = { squares: Number.POSITIVE_INFINITY, moves: 0 };
    const flat = items.flatMap((item) => item.placements.map((one) => ({ ...one, item })));
    const at: HostId[] = [];
    const visit = (index: number): void => {
      if (index === flat.length) {
        const loads = hosts.map((one) => one.load - flat.filter((item) => item.hostId === one.id).length + at.filter((id) => id === one.id).length);
        const found = { squares: squares(loads), moves: flat.filter((item, i) => item.hostId !== at[i]).length };
        if (found.squares < top.squares || (found.squares === top.squares && found.moves < top.moves)) top = found;
        return;
      }
      const { item, hostId } = flat[index]!;
      for (const { id } of hosts) {
        if ((id !== hostId && !item.eligible.includes(id)) || item.fixed.includes(id) || flat.some((other, i) => i < index && other.item === item && at[i] === id)) continue;
        at[index] = id;
        visit(index + 1);
      }
    };
    visit(0);
    return top;
  }
  const cases = (filtered: boolean, check: (one: Case) => void, numRuns: number): void => fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => check(aCase(seededRng(seed), filtered))), { numRuns });

  test("loads end as even as the filters allow, and every move goes where it may", () => {
    for (const filtered of [false, true]) {
      cases(filtered, (one) => {
        const moves = planRebalance(one.hosts, one.items);
        const top = best(one);
        expect(squares(loadsAfter(one, moves))).toBe(top.squares);
        // Chains are shortest one by one: with replicas or filters the whole may in rare cases be a move longer than need be.
        const exact = !filtered && one.items.every((item) => item.placements.length + item.fixed.length === 1);
        expect(moves.length - top.moves).toBeLessThanOrEqual(exact ? 0 : 2);
        for (const move of moves) {
          const item = one.items.find((other) => other.deploymentId === move.deploymentId)!;
          expect(item.eligible).toContain(move.to);
          expect([...item.fixed, ...item.placements.map((other) => other.hostId)]).not.toContain(move.to);
        }
        expect(new Set(moves.map((move) => move.placementId)).size).toBe(moves.length);
      }, 1_000);
    }
  });
  test("the same facts in any order give the same plan, and what it leads to needs no other", () => {
    cases(true, (one) => {
      const moves = planRebalance(one.hosts, one.items);
      expect(planRebalance([...one.hosts].reverse(), one.items.map((item) => ({ ...item, placements: [...item.placements].reverse(), eligible: [...item.eligible].reverse() })).reverse())).toEqual(moves);
      const loads = loadsAfter(one, moves);
      const after = one.items.map((item) => ({ ...item, placements: item.placements.map(({ id, hostId }) => ({ id, hostId: moves.find((move) => move.placementId === id)?.to ?? hostId })) }));
      expect(planRebalance(one.hosts.map((item, index) => ({ ...item, load: loads[index]! })), after)).toEqual([]);
    }, 2_000);
  });
  test("seed 166988526, where the order of the facts was seen in the plan, stays told of", () => {
    const one = aCase(seededRng(166988526), true);
    const shuffled = one.items.map((item) => ({ ...item, placements: [...item.placements].reverse(), eligible: [...item.eligible].reverse() })).reverse();
    expect(planRebalance([...one.hosts].reverse(), shuffled)).toEqual(planRebalance(one.hosts, one.items));
  });
});
