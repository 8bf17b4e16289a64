/**
 * The invariants (faults.md, as rulings 14 makes them exact), judged against the truth. Frozen rows, invented outcomes and
 * false deaths are judged whenever something was committed; liveness and agreement once everything is well again.
 */
import { isOpenRollout, isTerminal, type DrainRecord, type HostStatus, type LifecycleRow, type MoveRecord, type ReachabilityState, type RolloutRecord } from "@skep/core";
import { INTERVAL_MS, TIMINGS, type Cluster } from "./cluster.ts";
import type { Operators } from "./operators.ts";
import { EPOCH_MS } from "./process.ts";
import type { Truth } from "./truth.ts";
import type { World } from "./world.ts";

/** Longest a job may take between two records of its journal: a component's start, or a stop. */
const STEP_MS = 60_000;
/** 3 intervals and one sweep, after the last sign of progress. */
const LIVENESS_MS = 3 * INTERVAL_MS + TIMINGS.sweepIntervalMs + STEP_MS;
const ALIVE = ["starting", "running", "unhealthy", "backoff"];

export interface Checker {
  /** Looks at what is committed now. */
  look(): void;
  /** After the calm. `sinceMs` is when it began. */
  finish(sinceMs: number): void;
}

export function createChecker(world: World, cluster: Cluster, truth: Truth, operators: Operators): Checker {
  const { committed } = cluster.database;
  const ended = new Map<string, LifecycleRow>();
  const statuses = new Map<string, string>();
  const hostStatuses = new Map<string, HostStatus>();
  const rolloutVersions = new Map<string, number>();
  const reachabilities = new Map<string, ReachabilityState>();
  const moveVersions = new Map<string, number>();
  const drainStatuses = new Map<string, string>();
  const facts = (row: LifecycleRow): string => `${row.status} ${row.failureCode ?? ""} ${row.version}`;
  const name = (row: LifecycleRow): string => `${row.operation} ${row.id} (generation ${row.generation}, ${row.deployment})`;

  function look(): void {
    for (const row of committed.lifecycle.values()) {
      const before = ended.get(row.id);
      if (before !== undefined && facts(before) !== facts(row)) truth.violate("I2", `${name(row)} ended as ${facts(before)} and now is ${facts(row)}`);
      if (statuses.get(row.id) === row.status) continue;
      world.trace(`row ${row.id} ${row.operation} ${row.deployment} ${row.status} ${row.failureCode ?? ""}: ${row.because ?? ""}`);
      statuses.set(row.id, row.status);
      if (isTerminal(row.status)) {
        ended.set(row.id, row);
        judgeEnd(row);
      } else if (row.status === "lost") judgeSilence(row.hostId, `${name(row)} is lost`);
    }
    for (const rollout of committed.rollouts.values()) judgeRollout(rollout);
    for (const move of committed.moves.values()) judgeMove(move);
    for (const drain of committed.drains.values()) judgeDrain(drain);
    for (const host of committed.hosts.values()) {
      if (hostStatuses.get(host.id) === host.status) continue;
      hostStatuses.set(host.id, host.status);
      world.trace(`host ${host.name} is ${host.status}: ${host.statusBecause ?? ""}`);
      if (host.status === "unreachable") judgeSilence(host.id, `host ${host.name} is unreachable`);
    }
    for (const { hostId, state } of committed.reachability.values()) {
      if (reachabilities.get(hostId) === state) continue;
      reachabilities.set(hostId, state);
      world.trace(`reachability of ${hostId} is ${state}`);
      if (state === "unreachable") judgeSilence(hostId, `host ${hostId} is called unreachable over the network`);
    }
  }

  /** The control plane's own trouble never looks like the death of a host. */
  function judgeSilence(hostId: string, what: string): void {
    if (!truth.hadTrouble(hostId as never, TIMINGS.hardLimitMs + 2 * INTERVAL_MS)) truth.violate("I14", `${what}, and nothing was wrong with the host`);
  }

  /** R1: a wave is open only over waves whose every job its agent called succeeded, whatever the record calls them. */
  function judgeRollout(rollout: RolloutRecord): void {
    const seen = rolloutVersions.get(rollout.id);
    if (seen === rollout.version) return;
    rolloutVersions.set(rollout.id, rollout.version);
    world.trace(`rollout ${rollout.deployment} generation ${rollout.generation} is ${rollout.status}, wave ${rollout.wave}: ${rollout.because}`);
    for (const member of rollout.members) {
      if (member.wave === undefined || member.rowId === undefined || member.wave >= rollout.wave) continue;
      const placement = committed.placements.get(member.placementId);
      if (placement?.removedAt === undefined && !truth.words(member.rowId).has("succeeded")) {
        truth.violate("R1", `wave ${rollout.wave} of ${rollout.deployment} generation ${rollout.generation} is open, and on ${member.host} wave ${member.wave} never succeeded`);
      }
    }
    // Nothing leaves before all that is to stay or come has succeeded, or its host was away for too long.
    for (const leaver of rollout.members) {
      if (leaver.state !== "leaving" || leaver.rowId === undefined) continue;
      const missing = rollout.members.find((member) => member.state !== "leaving" && member.state !== "skipped" && committed.placements.get(member.placementId)?.removedAt === undefined && !truth.words(member.rowId ?? "").has("succeeded"));
      if (missing !== undefined) truth.violate("R1", `${rollout.deployment} leaves ${leaver.host} in generation ${rollout.generation}, and on ${missing.host} that never succeeded`);
    }
    // And no more at once than the policy has it: the numbers are drawn by the operators, not read from the decision.
    const members = rollout.status === "rolling_back" ? rollout.members : rollout.members.filter((member) => member.state !== "leaving" && member.arriving !== true);
    const limit = typeof rollout.policy.maxParallel === "number" ? rollout.policy.maxParallel : Math.max(1, Math.floor((Number.parseInt(rollout.policy.maxParallel, 10) / 100) * members.length));
    const between = members.filter((member) => committed.lifecycle.get((rollout.status === "rolling_back" ? member.rollbackRowId : member.rowId) ?? "")?.completedAt === undefined && (rollout.status === "rolling_back" ? member.rollback === "open" : member.state === "open"));
    if (isOpenRollout(rollout.status) && between.length > Math.max(limit, rollout.wave === 1 ? rollout.policy.canary : 0)) truth.violate("R1", `${between.length} placements of ${rollout.deployment} are between versions at once, ${limit} are allowed`);
  }

  const alive = (hostId: string, placementId?: string): readonly string[] =>
    cluster.hosts.find((host) => host.id === hostId)!.workloads.entries().filter(({ labels, state }) => ALIVE.includes(state) && (placementId === undefined || labels.placementId === placementId)).map(({ labels }) => `${labels.component} of ${labels.placementId}`);

  /** D1: what breaks first is never in two places, by what really runs. */
  function judgeMove(move: MoveRecord): void {
    if (moveVersions.get(move.id) !== move.version) {
      moveVersions.set(move.id, move.version);
      world.trace(`move ${move.id} of ${move.deployment} ${move.fromHost} to ${move.toHost} is ${move.status}: ${move.because}`);
    }
    if (!move.breakFirst || move.toPlacementId === undefined || move.completedAt !== undefined) return;
    if (alive(move.fromHostId, move.fromPlacementId).length > 0 && alive(move.toHostId, move.toPlacementId).length > 0) truth.violate("D1", `${move.deployment} runs on ${move.fromHost} and on ${move.toHost} at once, and is moved by a stop first`);
  }

  /** D2: a drain that is done left nothing running at that moment. */
  function judgeDrain(drain: DrainRecord): void {
    if (drainStatuses.get(drain.id) === drain.status) return;
    drainStatuses.set(drain.id, drain.status);
    world.trace(`drain of ${drain.host} is ${drain.status}: ${drain.because}`);
    const left = drain.status === "drained" ? alive(drain.hostId) : [];
    if (left.length > 0) truth.violate("D2", `${drain.host} is called drained, and ${left.join(", ")} runs there`);
  }

  /** Outcomes are somebody's word: the agent's, or an operator's decision; silence has none. */
  function judgeEnd(row: LifecycleRow): void {
    const words = truth.words(row.id);
    if (row.status === "succeeded" && !words.has("succeeded")) truth.violate("I5", `${name(row)} is succeeded, and its agent never said so`);
    if (row.status === "cancelled" && row.sentAt !== undefined && !words.has("cancelled")) truth.violate("I5", `${name(row)} is cancelled, and its agent never said so`);
    if (row.status !== "failed") return;
    if (row.failureCode === "host_lost" && !operators.decided.has(row.id) && !(row.because ?? "").includes("force")) {
      truth.violate("I5", `${name(row)} failed as host_lost, and nobody decided so`);
    }
    if ((row.failureCode === "agent_error" || row.failureCode === "interrupted") && !words.has("failed")) truth.violate("I5", `${name(row)} is ${row.failureCode}, and its agent never said so`);
  }

  function finish(sinceMs: number): void {
    look();
    checkAccepted();
    checkTruth();
    checkOnce();
    checkReachability();
    checkLiveness(sinceMs);
    checkRollouts(sinceMs);
    checkObserved();
  }

  /** I1: what was promised is there, once. */
  function checkAccepted(): void {
    const accepted = new Map<string, number>();
    for (const entry of committed.audit.values()) {
      if (entry.outcome === "allowed" && entry.requestId !== undefined) accepted.set(entry.requestId, (accepted.get(entry.requestId) ?? 0) + 1);
    }
    for (const promise of operators.promised) {
      const times = accepted.get(promise.requestId) ?? 0;
      if (times > 1) truth.violate("I1", `${promise.requestId} (${promise.what}) was accepted ${times} times`);
      if (promise.replies.length > 0 && times === 0) truth.violate("I1", `${promise.requestId} (${promise.what}) was promised and is not in the ledger`);
      if (new Set(promise.replies.map((body) => JSON.stringify(body))).size > 1) truth.violate("I1", `${promise.requestId} (${promise.what}) was answered in two ways`);
      for (const body of promise.replies) {
        for (const id of (body as { lifecycle_ids?: string[] }).lifecycle_ids ?? []) if (committed.lifecycle.get(id) === undefined) truth.violate("I1", `${promise.requestId} was promised row ${id}, which does not exist`);
      }
    }
  }

  /** I5: nothing of a failed row's own runs, unless its steps say so. */
  function checkTruth(): void {
    for (const host of cluster.hosts) {
      for (const { labels, state } of host.workloads.entries()) {
        const row = committed.lifecycle.get(labels.jobId);
        if (row?.status !== "failed" || !ALIVE.includes(state) || labels.generation !== row.generation || operators.decided.has(row.id)) continue;
        // A drain's stop keeps the generation: that it failed says itself that what it was to stop is there.
        if (committed.placements.get(row.placementId)?.desired === "stopped") continue;
        const told = row.steps.some((step) => !step.ok && step.name.includes(labels.component));
        if (!told) truth.violate("I5", `${name(row)} failed (${row.failureCode ?? ""}: ${row.because ?? ""}), and its ${labels.component} is ${state} on ${host.name}`);
      }
    }
  }

  /** I13: however many sweep, each end is told once. */
  function checkOnce(): void {
    const ends = new Map<string, number>();
    for (const { event } of committed.events.values()) {
      const status = event.kind.startsWith("lifecycle.") ? event.kind.slice("lifecycle.".length) : "";
      if (event.lifecycleId === undefined || !isTerminal(status as LifecycleRow["status"])) continue;
      const times = (ends.get(event.lifecycleId) ?? 0) + 1;
      ends.set(event.lifecycleId, times);
      if (times === 2) truth.violate("I13", `row ${event.lifecycleId} ended twice`);
    }
  }

  /** P1: however many masters probe, and whenever they die, each turn is told once, the record is what was told last, and in the calm everybody is reachable. */
  function checkReachability(): void {
    const last = new Map<string, string>();
    for (const { event } of committed.events.values()) {
      if (!event.kind.startsWith("host.network_")) continue;
      const hostId = event.hostId!;
      if ((last.get(hostId) ?? "host.network_reachable") === event.kind) truth.violate("P1", `${event.kind} of ${hostId} was told twice in a row`);
      last.set(hostId, event.kind);
    }
    for (const { hostId, state } of committed.reachability.values()) {
      if (state !== "reachable") truth.violate("P1", `${hostId} is ${state} to the masters, and everything has been well for long`);
      if ((last.get(hostId) ?? "host.network_reachable") !== `host.network_${state}`) truth.violate("P1", `${hostId} is ${state}, and the last word told of it is ${last.get(hostId) ?? "none"}`);
    }
  }

  /** I6: with everybody back and no job moving, every row has an end. */
  function checkLiveness(sinceMs: number): void {
    for (const row of committed.lifecycle.values()) {
      if (isTerminal(row.status)) continue;
      const movedMs = Math.max(sinceMs, row.createdAt - EPOCH_MS, truth.movedAtMs(row.id) ?? 0);
      const waitedMs = world.nowMs() - movedMs;
      if (waitedMs > LIVENESS_MS) truth.violate("I6", `${name(row)} is still ${row.status} (${row.phase}: ${row.because ?? ""}) ${Math.round(waitedMs / 1000)} s after anything moved`);
    }
  }

  /** R2: no rollout is forgotten, and one that ended well left every placement on one generation. */
  function checkRollouts(sinceMs: number): void {
    for (const rollout of committed.rollouts.values()) {
      const what = `the rollout of ${rollout.deployment} generation ${rollout.generation}`;
      if (rollout.status === "running" || rollout.status === "rolling_back") {
        const waitedMs = world.nowMs() - Math.max(sinceMs, rollout.progressAt - EPOCH_MS);
        if (waitedMs > rollout.policy.progressDeadlineS * 1_000 + LIVENESS_MS) truth.violate("R2", `${what} is still ${rollout.status} ${Math.round(waitedMs / 1000)} s after anything moved: ${rollout.because}`);
        continue;
      }
      const deployment = committed.deployments.get(rollout.deploymentId)!;
      const generation = rollout.status === "rolled_back" ? rollout.rollbackGeneration : rollout.status === "succeeded" ? rollout.generation : undefined;
      if (generation === undefined || deployment.generation !== generation || deployment.desired === "absent") continue;
      const others = [...committed.placements.values()].filter((one) => one.deploymentId === deployment.id && one.removedAt === undefined && one.desired !== "absent" && one.generation !== generation);
      if (others.length > 0) truth.violate("R2", `${what} is ${rollout.status}, and ${others.length} placements are wanted at another generation`);
    }
  }

  /** I7: what the ledger calls observed is what runs. */
  function checkObserved(): void {
    const atMs = world.nowMs();
    for (const placement of committed.placements.values()) {
      if (placement.removedAt !== undefined) continue;
      const host = cluster.hosts.find((one) => one.id === placement.hostId)!;
      const rows = [...committed.lifecycle.values()].filter((row) => row.placementId === placement.id);
      const settled = rows.every((row) => isTerminal(row.status) && atMs - ((row.completedAt ?? 0) - EPOCH_MS) > 2 * INTERVAL_MS);
      const entries = host.workloads.entries().filter((entry) => entry.labels.placementId === placement.id);
      const quiet = entries.every((entry) => atMs - entry.sinceMs > 2 * INTERVAL_MS);
      if (!settled || !quiet) continue;
      const actual = entries.filter((entry) => ALIVE.includes(entry.state)).map((entry) => `${entry.labels.component}:${entry.state}`).sort().join(" ");
      const observed = committed.observed.get(placement.id);
      const seen = (observed?.components ?? []).filter((component) => ALIVE.includes(component.state)).map((component) => `${component.name}:${component.state}`).sort().join(" ");
      if (actual !== seen) truth.violate("I7", `placement ${placement.id} on ${host.name}: observed "${seen}" (${observed?.state ?? "never"}), actual "${actual}"`);
      const word = observed?.state;
      if (word === "running" && actual === "") truth.violate("I7", `placement ${placement.id} on ${host.name} is called running, and nothing of it runs`);
    }
  }

  return { look, finish };
}
