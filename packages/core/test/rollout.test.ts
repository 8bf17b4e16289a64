/** Rollout decisions: each judgement with its neighbour, and over any history the promises of the whole. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DEFAULT_ROLLOUT, PRODUCTION_POLICY, chooseBase, countWaves, decideRollout, diffSpec, goesOnTheWayBack, inWaves, instant, isHeld, leftBehind, isOpenRollout, judgeMember, maxInFlight, nextWave, refusalOf, rolloutPolicy, seededRng, waveSize,
  type JobId, type LifecycleRow, type MemberFacts, type ObservedRecord, type PlacementId, type RolloutMember, type RolloutPolicy, type RolloutRecord, type Spec,
} from "../src/index.ts";
import { aRow } from "./rows.ts";

const NOW = instant(1_000_000);
const member = (n: number, patch: Partial<RolloutMember> = {}): RolloutMember => ({ placementId: `p${n}` as PlacementId, hostId: `h${n}` as RolloutMember["hostId"], host: `web-${n}`, state: "waiting", ...patch });
const rollout = (patch: Partial<RolloutRecord> = {}): RolloutRecord => ({
  id: "r" as RolloutRecord["id"], deploymentId: "d" as RolloutRecord["deploymentId"], deployment: "web", action: "mutate", status: "running", generation: 2, desired: "running", baseGeneration: 1, baseDesired: "running", basePlacement: undefined,
  rollbackGeneration: undefined, policy: { ...DEFAULT_ROLLOUT }, components: undefined, patchedGeneration: 1, whole: false, timeoutS: undefined, wave: 1, promoted: false, members: [], because: "x",
  progressAt: NOW, createdAt: NOW, updatedAt: NOW, completedAt: undefined, version: 1, ...patch,
});
const seen = (patch: Partial<ObservedRecord> = {}): ObservedRecord => ({ placementId: "p1" as PlacementId, hostId: "h1" as ObservedRecord["hostId"], state: "running", generation: 2, epoch: 1, specHash: "", components: [], changedAt: NOW, observedAt: NOW, ...patch });
const facts = (patch: Partial<MemberFacts> = {}): MemberFacts => ({ member: member(1, { state: "open", wave: 1, rowId: "j1" as JobId }), hostStatus: "active", appliedGeneration: 1, observed: seen(), row: aRow({ status: "succeeded", completedAt: NOW }), rollbackRow: undefined, openRow: undefined, ...patch });

describe("the gate", () => {
  const judge = (patch: Partial<MemberFacts>, policy: Partial<RolloutPolicy> = {}) => judgeMember(rollout({ policy: { ...DEFAULT_ROLLOUT, ...policy } }), facts(patch));
  test.each([
    ["the row succeeded and it is seen running", {}, "passed"],
    ["seen running before the row ended", { row: aRow({ status: "running" }) }, "waiting"],
    ["the older generation is what is seen", { observed: seen({ generation: 1 }) }, "waiting"],
    ["nothing is seen yet", { observed: undefined }, "waiting"],
    ["it is still coming up", { observed: seen({ state: "deploying" }) }, "waiting"],
    ["the outcome is unknown", { row: aRow({ status: "lost" }) }, "waiting"],
    ["pending", { row: aRow({ status: "pending" }) }, "waiting"],
    ["failed", { row: aRow({ status: "failed", failureCode: "agent_error", error: "port in use" }) }, "refused"],
    ["cancelled", { row: aRow({ status: "cancelled" }) }, "refused"],
    ["superseded", { row: aRow({ status: "superseded" }) }, "refused"],
    ["degraded at the new generation", { observed: seen({ state: "degraded" }) }, "refused"],
    ["failed at the new generation", { observed: seen({ state: "failed" }) }, "refused"],
    ["stopped behind our back", { observed: seen({ state: "stopped" }) }, "refused"],
    ["degraded, but of the older generation", { observed: seen({ state: "degraded", generation: 1 }) }, "waiting"],
  ] as const)("%s", (_what, patch, kind) => {
    expect(judge(patch as Partial<MemberFacts>).kind).toBe(kind);
  });
  test("the host's own word must cover the whole time", () => {
    const policy = { minHealthyS: 10 };
    expect(judge({ observed: seen({ observedAt: instant(NOW + 9_999) }) }, policy)).toMatchObject({ kind: "waiting", healthy: true });
    expect(judge({ observed: seen({ observedAt: instant(NOW + 10_000) }) }, policy).kind).toBe("passed");
    expect(judge({ observed: seen({ observedAt: instant(NOW + 5_000) }), hostStatus: "suspect" }, policy)).toMatchObject({ healthy: false });
  });
  test("the words are the host's and its components'", () => {
    expect(judge({ row: aRow({ status: "failed", failureCode: "agent_error", error: "port in use" }) })).toMatchObject({ because: expect.stringMatching(/^web-1: .*agent_error.*port in use/) as string });
    expect(judge({ observed: seen({ state: "degraded", components: [{ name: "api", state: "unhealthy", restarts: 0, error: "503" }, { name: "ok", state: "running", restarts: 0 }] }) })).toMatchObject({ because: "web-1: degraded at the new generation: api is unhealthy (503)" });
  });
  test("stopped is what a stop waits for", () => {
    expect(judgeMember(rollout({ desired: "stopped" }), facts({ observed: seen({ state: "stopped" }) })).kind).toBe("passed");
    expect(judgeMember(rollout({ desired: "stopped" }), facts({ observed: seen({ state: "running" }) })).kind).toBe("waiting");
  });
});

describe("sizes", () => {
  test.each([["25%", 4, 1], ["25%", 3, 1], ["25%", 9, 2], ["100%", 7, 7], [3, 10, 3], [50, 10, 10], ["1%", 1, 1]] as const)("%s of %i are %i", (maxParallel, total, size) => {
    expect(maxInFlight({ maxParallel }, total)).toBe(size);
  });
  test("the canary is the first wave, and counts as one", () => {
    const policy = rolloutPolicy({ canary: 1, maxParallel: 4 });
    expect([waveSize(policy, 1, 10), waveSize(policy, 2, 10)]).toEqual([1, 4]);
    expect([countWaves(policy, 10), countWaves(policy, 1), countWaves(policy, 0)]).toEqual([4, 1, 0]);
  });
  test("hosts that answer come first, by name; away ones only where nobody else is left, and first of all", () => {
    const of = (n: number, hostStatus: MemberFacts["hostStatus"]): MemberFacts => facts({ member: member(n), hostStatus, row: undefined });
    const policy = { ...DEFAULT_ROLLOUT, maxParallel: 1 };
    expect(nextWave({ policy, wave: 0 }, [of(3, "active"), of(1, "suspect"), of(2, "active")], false)).toEqual({ kind: "open", placements: ["p2"] });
    expect(nextWave({ policy, wave: 1 }, [of(1, "unreachable")], false)).toMatchObject({ kind: "away", placements: ["p1"] });
    expect(nextWave({ policy, wave: 0 }, [of(1, "unreachable")], true)).toEqual({ kind: "open", placements: ["p1"] });
    expect(nextWave({ policy, wave: 1 }, [facts({ member: member(1), row: undefined, openRow: aRow({ status: "running" }) })], false).kind).toBe("busy");
    expect(nextWave({ policy, wave: 1 }, [facts({ member: member(1), row: undefined, openRow: aRow({ status: "lost" }) })], false).kind).toBe("open");
  });
});

test("a base is a generation that is applied somewhere and that no rollout found wanting", () => {
  expect(chooseBase([1, 2, 2], [{ generation: 2, status: "succeeded" }])).toBe(2);
  expect(chooseBase([1, 2], [{ generation: 2, status: "failed" }])).toBe(1);
  expect(chooseBase([1, 2], [{ generation: 2, status: "superseded" }])).toBe(1);
  expect(chooseBase([2], [{ generation: 2, status: "failed" }])).toBe(2);
  expect(chooseBase([undefined], [])).toBeUndefined();
});

test("an open rollout holds what it has to decide about; a failed one keeps what it refused from being tried again", () => {
  const members = [member(1, { state: "passed" }), member(2, { state: "refused", because: "no" }), member(3, { state: "open" }), member(4)];
  const held = (status: RolloutRecord["status"], list = members) => list.filter((one) => isHeld({ status, members: list }, one.placementId)).map((one) => one.host);
  expect(held("running")).toEqual(["web-3"]);
  expect(held("paused")).toEqual(["web-3"]);
  expect(held("failed")).toEqual([]);
  expect(held("rolling_back", [member(1, { rollback: "done" }), member(2, { rollback: "open" }), member(3, { rollback: "left" }), member(4)])).toEqual(["web-2", "web-4"]);
  const refusal = (n: number, generation: number, appliedGeneration: number | undefined) => refusalOf({ status: "failed", generation: 2, members }, { id: `p${n}` as PlacementId, generation, appliedGeneration });
  expect([refusal(1, 2, 2), refusal(2, 2, 2), refusal(3, 2, 1), refusal(3, 2, 2), refusal(2, 3, 1)]).toEqual([undefined, "no", expect.any(String), undefined, undefined]);
});

test("what leaves stays where nothing is left of what was to replace it", () => {
  const members = [member(1, { state: "open", arriving: true, wave: 1, rowId: "j1" as JobId }), member(2, { state: "leaving" })];
  const decide = (patch: Partial<RolloutRecord>) => decideRollout(rollout({ members, basePlacement: {}, ...patch }), [facts({ member: members[1]!, row: undefined, observed: seen({ generation: 1 }) })], NOW, PRODUCTION_POLICY).step;
  expect(decide({})).toMatchObject({ kind: "roll_back", because: expect.stringContaining("no longer there") as string });
  expect(decide({ baseGeneration: undefined })).toMatchObject({ kind: "fail" });
});

test("a change in place lets go of what the newest rollout would have let go, as long as it is the newest change", () => {
  const members = [member(1, { state: "passed" }), member(2, { state: "refused", arriving: true }), member(3, { state: "leaving" })];
  const behind = (patch: Partial<RolloutRecord>, generation = patch.rollbackGeneration ?? 2) => [...leftBehind(rollout({ members, basePlacement: {}, ...patch }), generation)];
  expect(behind({ status: "running" })).toEqual(["p3"]);
  expect(behind({ status: "failed" })).toEqual(["p3"]);
  expect(behind({ status: "rolling_back", rollbackGeneration: 3 })).toEqual(["p2"]);
  expect(behind({ status: "rolling_back", rollbackGeneration: 3, basePlacement: undefined })).toEqual([]);
  expect(behind({ status: "succeeded" })).toEqual([]);
  expect(behind({ status: "failed" }, 3)).toEqual([]);
  expect([...leftBehind(undefined, 1)]).toEqual([]);
});

test("a difference is told path by path, and components are known by their names", () => {
  const spec = (components: object[], more: object = {}): Spec => ({ driver: "noop", components, ...more }) as unknown as Spec;
  expect(diffSpec(spec([{ name: "a", env: { X: "1" } }, { name: "b" }]), spec([{ name: "b", env: {} }, { name: "a", env: { X: "2" } }], { update_order: "stop_first" }))).toEqual([
    { path: "components.a.env.X", from: "1", to: "2" }, { path: "components.b.env", from: undefined, to: {} }, { path: "update_order", from: undefined, to: "stop_first" },
  ]);
  expect(diffSpec(spec([{ name: "a" }]), spec([{ name: "a" }]))).toEqual([]);
});

/** A fleet as far as a rollout sees it: rows that end as chance has it, hosts that come and go, and the shell's part done as the shell does it. */
function play(seed: number, hosts: number, policy: RolloutPolicy, rules = PRODUCTION_POLICY, { arriving = 0, leaving = 0, restores = true } = {}) {
  const rng = seededRng(seed);
  let now = NOW;
  const some = (count: number, from: number, patch: Partial<RolloutMember> = {}): RolloutMember[] => Array.from({ length: count }, (_, n) => member(from + n, patch));
  let record = rollout({ policy, wave: 0, basePlacement: restores ? {} : undefined, members: [...some(hosts, 0), ...some(arriving, hosts, { arriving: true, state: "open", wave: 1 }), ...some(leaving, hosts + arriving, { state: "leaving" })] });
  const trouble = rng.float() < 0.3 ? 0 : rng.float() * 0.4;
  const rows = new Map<string, LifecycleRow>();
  const placed = new Map(record.members.map((one) => [one.placementId, { generation: 1, applied: 1, observed: seen({ generation: 1, state: "running" }), away: false }]));
  const problems: string[] = [];
  let count = 0;
  const open = (id: PlacementId, generation: number): JobId => {
    const rowId = `j${++count}` as JobId;
    rows.set(rowId, aRow({ id: rowId, placementId: id, generation, status: "pending", createdAt: now, because: "x" }));
    placed.get(id)!.generation = generation;
    return rowId;
  };
  const openRowOf = (id: PlacementId): LifecycleRow | undefined => [...rows.values()].find((row) => row.placementId === id && row.completedAt === undefined);
  const endRow = (row: LifecycleRow, status: LifecycleRow["status"], patch: Partial<LifecycleRow> = {}): void => void rows.set(row.id, { ...row, status, completedAt: now, ...patch });
  const factsNow = (): MemberFacts[] => record.members.flatMap((one): MemberFacts[] => {
    const place = placed.get(one.placementId);
    return place === undefined ? [] : [{ member: one, hostStatus: place.away ? "unreachable" : "active", appliedGeneration: place.applied, observed: place.observed, row: rows.get(one.rowId ?? ""), rollbackRow: rows.get(one.rollbackRowId ?? ""), openRow: openRowOf(one.placementId) }];
  });
  const check = (): void => {
    // A silent host is no more between versions than it was: on the way back nobody who answers waits for it.
    // What arrives has no earlier version there: only its way back is between two.
    const counted = record.status === "rolling_back" ? record.members.filter((one) => one.arriving !== true || openRowOf(one.placementId)?.id !== one.rowId) : inWaves(record.members);
    const between = counted.filter((one) => openRowOf(one.placementId) !== undefined && openRowOf(one.placementId)?.status !== "lost" && one.rollback !== "left").length;
    if (between > Math.max(maxInFlight(policy, record.status === "rolling_back" ? hosts + arriving + leaving : hosts), policy.canary)) problems.push(`${between} between versions`);
    for (const one of record.members) {
      if (one.wave !== undefined && one.wave < record.wave && rows.get(one.rowId!)?.status !== "succeeded") problems.push(`wave ${record.wave} over ${one.host}, which is ${rows.get(one.rowId!)?.status}`);
    }
  };
  record = { ...record, members: record.members.map((one) => (one.arriving === true ? { ...one, rowId: open(one.placementId, 2) } : one)) };
  const first = nextWave(record, factsNow(), true);
  if (first.kind === "open") record = { ...record, wave: 1, members: record.members.map((one) => (first.placements.includes(one.placementId) ? { ...one, state: "open", wave: 1, rowId: open(one.placementId, 2) } : one)) };
  else record = { ...record, wave: 1 };
  const going = new Set<JobId>();
  const letGo = (one: RolloutMember, generation: number): JobId => {
    const rowId = open(one.placementId, generation);
    going.add(rowId);
    return rowId;
  };

  for (let round = 0; round < 2_000 && isOpenRollout(record.status); round++) {
    now = instant(now + 1_000 + Math.floor(rng.float() * 20_000));
    for (const [id, place] of placed) {
      if (rng.float() < trouble * 0.1) place.away = !place.away;
      const row = openRowOf(id);
      if (place.away) {
        if (row?.status === "running") rows.set(row.id, { ...row, status: "lost" });
        continue;
      }
      if (row !== undefined && rng.float() < 0.5) {
        if (row.cancelReason !== undefined) endRow(row, "cancelled");
        else if (row.status === "pending") rows.set(row.id, { ...row, status: "running", runningAt: now });
        else if (rng.float() < trouble) endRow(row, "failed", { failureCode: "agent_error", error: "chance" });
        else {
          endRow(row, "succeeded");
          if (going.has(row.id)) {
            placed.delete(id);
            continue;
          }
          place.applied = row.generation;
          place.observed = seen({ generation: row.generation, changedAt: now, observedAt: now });
        }
      } else if (rng.float() < trouble * 0.05) place.observed = { ...place.observed, state: "degraded", changedAt: now, observedAt: now };
      else place.observed = { ...place.observed, observedAt: now };
    }
    const { step, members } = decideRollout(record, factsNow(), now, rules);
    const moved = members !== record.members;
    record = { ...record, members, ...(moved || step.kind !== "wait" ? { progressAt: now } : {}) };
    const put = (ids: readonly PlacementId[], change: (one: RolloutMember) => RolloutMember): void => void (record = { ...record, members: record.members.map((one) => (ids.includes(one.placementId) ? change(one) : one)) });
    const takeOver = (id: PlacementId): void => {
      const lost = openRowOf(id);
      if (lost !== undefined && lost.status !== "lost") problems.push("opened over an open row");
      if (lost !== undefined) endRow(lost, "superseded");
    };
    switch (step.kind) {
      case "wait":
        break;
      case "open_wave":
        record = { ...record, wave: record.wave + 1 };
        step.placements.forEach(takeOver);
        put(step.placements, (one) => ({ ...one, state: "open", wave: record.wave, rowId: open(one.placementId, 2) }));
        break;
      case "pause":
        record = { ...record, status: "running", promoted: true };
        break;
      case "skip":
        put(step.placements, (one) => (placed.get(one.placementId)!.generation = 2, { ...one, state: "skipped" }));
        break;
      case "let_go": {
        const missing = record.members.find((one) => one.state !== "leaving" && one.state !== "skipped" && rows.get(one.rowId!)?.status !== "succeeded");
        if (missing !== undefined) problems.push(`${missing.host} has not passed, and others leave`);
        step.placements.forEach(takeOver);
        put(step.placements, (one) => ({ ...one, rowId: letGo(one, 2) }));
        break;
      }
      case "succeed":
        put(step.skip, (one) => (placed.get(one.placementId)!.generation = 2, { ...one, state: "skipped" }));
        record = { ...record, status: "succeeded", because: step.because };
        break;
      case "fail":
        record = { ...record, status: "failed" };
        break;
      case "roll_back":
        record = { ...record, status: "rolling_back", rollbackGeneration: 3 };
        break;
      case "take_back":
        for (const id of step.cancel) rows.set(openRowOf(id)!.id, { ...openRowOf(id)!, cancelReason: "rollout", cancelRequestedAt: now });
        step.open.forEach(takeOver);
        put(step.open, (one) => ({ ...one, rollback: "open", rollbackRowId: goesOnTheWayBack(record, one) ? letGo(one, 3) : open(one.placementId, 3) }));
        break;
      case "end_rollback":
        for (const place of placed.values()) place.generation = 3;
        record = { ...record, status: step.status, because: step.because };
        break;
    }
    check();
  }
  return { record, problems, generations: new Set([...placed.values()].map((place) => place.generation)), there: new Set(placed.keys()) };
}

const policies = fc.record<RolloutPolicy>({
  maxParallel: fc.constantFrom<number | string>(1, 2, 5, "25%", "50%", "100%"), minHealthyS: fc.constantFrom(0, 5, 60), progressDeadlineS: fc.constantFrom(30, 120, 600), canary: fc.constantFrom(0, 1, 2),
  autoPromote: fc.boolean(), autoRollback: fc.boolean(),
});

describe("over any history", () => {
  test("never more at once than allowed, never a wave over a failed gate, always an end, and one generation for all", () => {
    const ends: Record<string, number> = {};
    fc.assert(fc.property(fc.integer(), fc.integer({ min: 1, max: 12 }), policies, (seed, hosts, policy) => {
      const { record, problems, generations } = play(seed, hosts, policy);
      expect(problems).toEqual([]);
      expect(isOpenRollout(record.status), `${record.status}: ${JSON.stringify(record.members)}`).toBe(false);
      ends[record.status] = (ends[record.status] ?? 0) + 1;
      if (record.status === "succeeded" || record.rollbackGeneration !== undefined) expect(generations.size).toBe(1);
      if (record.status === "failed" && record.rollbackGeneration === undefined) expect(policy.autoRollback).toBe(false);
    }), { numRuns: 300 });
    // The control: the histories did go every way there is.
    for (const status of ["succeeded", "failed", "rolled_back"]) expect(ends[status] ?? 0, status).toBeGreaterThan(0);
  });

  test("and with some that come and some that leave: nobody leaves before all have passed, and back means where it was", () => {
    const ends: Record<string, number> = {};
    fc.assert(fc.property(fc.integer(), fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }), fc.boolean(), policies, (seed, hosts, arriving, leaving, restores, policy) => {
      const { record, problems, there } = play(seed, hosts, policy, PRODUCTION_POLICY, { arriving, leaving, restores });
      expect(problems).toEqual([]);
      expect(isOpenRollout(record.status), `${record.status}: ${JSON.stringify(record.members)}`).toBe(false);
      ends[record.status] = (ends[record.status] ?? 0) + 1;
      const of = (which: (one: RolloutMember) => boolean) => record.members.filter(which).map((one) => [one.host, there.has(one.placementId)]);
      const left = record.members.filter((one) => there.has(one.placementId) && (record.status === "succeeded" ? one.state === "leaving" : goesOnTheWayBack(record, one)));
      // Whoever is still there although it should not be is named.
      if (record.status === "succeeded" || record.status === "rolled_back") for (const one of left) expect(record.because).toContain(one.host);
      if (record.status !== "succeeded") expect(of((one) => one.state === "leaving")).toEqual(of((one) => one.state === "leaving").map(([host]) => [host, true]));
      expect(of((one) => one.state !== "leaving" && !(record.rollbackGeneration !== undefined && goesOnTheWayBack(record, one))).every(([, here]) => here)).toBe(true);
    }), { numRuns: 400 });
    for (const status of ["succeeded", "failed", "rolled_back"]) expect(ends[status] ?? 0, status).toBeGreaterThan(0);
  });

  test("without the gate, waves open over failures", () => {
    const broken = Array.from({ length: 200 }, (_, seed) => play(seed, 6, { ...DEFAULT_ROLLOUT }, { ...PRODUCTION_POLICY, rolloutGate: false }).problems).filter((problems) => problems.length > 0);
    expect(broken.length).toBeGreaterThan(0);
  });
});
