/** Rollouts, from the request to their end, over the ledger in memory: every step by the very code that masters run. */
import { PRODUCTION_POLICY, type Policy, type RolloutRecord } from "@skep/core";
import { deployRequest, mutateRequest, teardownRequest, type PendingJob } from "@skep/protocol";
import { describe, expect, test } from "vitest";
import { startControl, type Fleet, type Outcome } from "./fleet.ts";

const good = (): Outcome => "succeeded";
const SPEC = { driver: "noop", components: [{ name: "web", env: { V: "1" } }, { name: "side" }] };

/** Deployed on every host; `since` cuts the jobs of that away. */
async function running(count: number, rollout: object = {}, policy: Policy = PRODUCTION_POLICY): Promise<Fleet & { since(): Fleet["jobs"] }> {
  const fleet = await startControl(count, policy);
  await fleet.control.deploy(deployRequest.parse({ name: "app", spec: SPEC, placement: { hosts: fleet.hosts }, rollout }), fleet.context());
  await fleet.settle(good);
  return { ...fleet, since: () => fleet.jobs.slice(count) };
}
interface Accepted {
  readonly rollout_id: string | null;
  readonly lifecycle_ids: readonly string[];
  readonly generation: number;
}
const mutate = async (fleet: Fleet, patch: object): Promise<Accepted> => (await fleet.control.mutate("app", mutateRequest.parse(patch), fleet.context())).body as never;
const last = async (fleet: Fleet): Promise<RolloutRecord> => (await fleet.store.listRollouts({ newestFirst: true, limit: 1 }))[0]!;
const byHost = async (fleet: Fleet): Promise<Record<string, number>> => Object.fromEntries((await fleet.store.listPlacements({})).map((view) => [view.hostName, view.placement.generation]));
const status = async (fleet: Fleet): Promise<string> => (await fleet.store.findDeployment("app"))!.status;
const kinds = async (fleet: Fleet): Promise<string[]> => (await fleet.store.recentEvents(500, { kindPrefix: "rollout." })).map((event) => event.kind);
const hostsOf = (jobs: Fleet["jobs"]): string[] => jobs.map((one) => one.host);
const specOf = (job: PendingJob): string => ("spec" in job ? job.spec.components[0]!.env["V"]! : "");
const failsOn = (...hosts: string[]) => (host: string, job: PendingJob): Outcome => (hosts.includes(host) && specOf(job) === "2" ? { error: "probe http: 503 not today" } : "succeeded");

describe("forward", () => {
  test("wave by wave, and the next opens only when the one before is seen running", async () => {
    const fleet = await running(4, { max_parallel: 2 });
    const accepted = await mutate(fleet, { env: { V: "2" } });
    expect(accepted.lifecycle_ids).toHaveLength(2);
    expect(await byHost(fleet)).toEqual({ "web-1": 2, "web-2": 2, "web-3": 1, "web-4": 1 });
    expect(await status(fleet)).toBe("deploying");
    await fleet.work((host) => (host === "web-1" ? "succeeded" : undefined));
    await fleet.beat();
    await fleet.control.rolloutOnce();
    expect(hostsOf(fleet.since()).sort()).toEqual(["web-1", "web-2"]);
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ id: accepted.rollout_id, status: "succeeded", wave: 2 });
    expect(await byHost(fleet)).toEqual({ "web-1": 2, "web-2": 2, "web-3": 2, "web-4": 2 });
    expect(await status(fleet)).toBe("active");
    expect(await kinds(fleet)).toEqual(["rollout.started", "rollout.wave", "rollout.succeeded"]);
  });

  test("the default is a quarter at a time, and never nobody", async () => {
    const fleet = await running(3);
    const order: string[] = [];
    await mutate(fleet, { env: { V: "2" } });
    await fleet.settle((host) => (order.push(host), "succeeded"));
    expect(order).toEqual(["web-1", "web-2", "web-3"]);
    expect(await last(fleet)).toMatchObject({ status: "succeeded", wave: 3 });
  });

  test("a row that succeeded is not enough: the host must have said for min_healthy_s that it runs", async () => {
    const fleet = await running(2, { min_healthy_s: 20 });
    await mutate(fleet, { env: { V: "2" } });
    await fleet.work(good);
    for (let second = 0; second < 20; second++) {
      expect(hostsOf(fleet.since())).toEqual(["web-1"]);
      await fleet.beat();
      await fleet.control.rolloutOnce();
      await fleet.control.dispatchOnce();
    }
    expect(hostsOf(fleet.since())).toEqual(["web-1", "web-2"]);
  });

  test("stop and start go everywhere at once, whatever the policy says: nothing is protected by being slow", async () => {
    const fleet = await running(3, { max_parallel: 1, canary: 1 });
    expect((await mutate(fleet, { desired: "stopped" })).lifecycle_ids).toHaveLength(3);
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "succeeded", policy: { autoRollback: false } });
    expect((await mutate(fleet, { desired: "running" })).lifecycle_ids).toHaveLength(3);
  });

  test("a host that is away for a moment has its turn like any other", async () => {
    const fleet = await running(3);
    await fleet.setAway("web-2", true);
    await mutate(fleet, { env: { V: "2" } });
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "running", wave: 2 });
    await fleet.setAway("web-2", false);
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "succeeded", wave: 3 });
    expect(hostsOf(fleet.since())).toEqual(["web-1", "web-3", "web-2"]);
  });

  test("a host that stays away is skipped at the deadline, said so, and follows on its return", async () => {
    const fleet = await running(3);
    await fleet.setAway("web-2", true);
    await mutate(fleet, { env: { V: "2" } });
    await fleet.settle(good);
    fleet.clock.advance(601_000);
    await fleet.settle(good);
    const rollout = await last(fleet);
    expect(rollout).toMatchObject({ status: "succeeded", because: expect.stringContaining("web-2") as string });
    expect(rollout.members.map((member) => member.state).sort()).toEqual(["passed", "passed", "skipped"]);
    await fleet.setAway("web-2", false);
    for (let round = 0; round < 3; round++) {
      await fleet.beat();
      await fleet.control.reconcileOnce();
      fleet.clock.advance(20_000);
    }
    await fleet.settle(good);
    expect(fleet.since().at(-1)).toMatchObject({ host: "web-2", job: { generation: 2 } });
  });
});

describe("a wave that does not pass", () => {
  test("the whole release goes back by itself, and says which host refused it and in whose words", async () => {
    const fleet = await running(4);
    await mutate(fleet, { env: { V: "2" } });
    await fleet.settle(failsOn("web-2"));
    const rollout = await last(fleet);
    expect(rollout).toMatchObject({ status: "rolled_back", generation: 2, baseGeneration: 1, rollbackGeneration: 3 });
    expect(rollout.because).toContain("web-2: mutate failed (agent_error): probe http: 503 not today");
    // Uniform, the untouched included, at a new generation with the old spec.
    expect(await byHost(fleet)).toEqual({ "web-1": 3, "web-2": 3, "web-3": 3, "web-4": 3 });
    expect((await fleet.store.findGeneration(rollout.deploymentId, 3))!.specHash).toBe((await fleet.store.findGeneration(rollout.deploymentId, 1))!.specHash);
    const taken = fleet.since().map(({ host, job }) => `${host} ${job.generation}`);
    expect(taken.slice(0, 2)).toEqual(["web-1 2", "web-2 2"]);
    expect(taken.slice(2).sort()).toEqual(["web-1 3", "web-2 3", "web-3 3", "web-4 3"]);
    expect(await status(fleet)).toBe("active");
    const told = (await fleet.store.recentEvents(100, { kindPrefix: "rollout.rolling_back" }))[0]!;
    expect(told).toMatchObject({ severity: "error", data: { failures: [{ host: "web-2", because: expect.stringContaining("503 not today") as string }] } });
  });

  test("what runs and then does not, within its time, is refused with its components' words", async () => {
    const fleet = await running(2, { min_healthy_s: 60 });
    await mutate(fleet, { env: { V: "2" } });
    await fleet.work(good);
    await fleet.beat();
    fleet.say("web-1", "degraded", [{ name: "web", state: "unhealthy", restarts: 3, error: "connection refused" }]);
    await fleet.beat();
    await fleet.control.rolloutOnce();
    expect(await last(fleet)).toMatchObject({ status: "rolling_back", because: expect.stringContaining("web-1: degraded at the new generation: web is unhealthy (connection refused)") as string });
    expect(hostsOf(fleet.since())).toEqual(["web-1"]);
  });

  test("an unknown outcome is no failure: only the deadline ends it, and everybody else is free again", async () => {
    const fleet = await running(3, { progress_deadline_s: 300 });
    await mutate(fleet, { env: { V: "2" } });
    await fleet.control.dispatchOnce();
    await fleet.setAway("web-1", true);
    for (let step = 0; step < 29; step++) {
      fleet.clock.advance(9_000);
      await fleet.beat();
      await fleet.control.sweepOnce();
      await fleet.control.rolloutOnce();
    }
    expect((await fleet.store.listLifecycle({ open: true, limit: 5 })).map((row) => row.status)).toEqual(["lost"]);
    expect(await last(fleet)).toMatchObject({ status: "running" });
    fleet.clock.advance(20_000);
    await fleet.settle(failsOn());
    expect(await last(fleet)).toMatchObject({ status: "rolling_back", because: expect.stringContaining("no progress for 300 s") as string });
    expect(await byHost(fleet)).toMatchObject({ "web-2": 3, "web-3": 3 });
    // The silent one is waited for as long again, then named; nothing is called done that is not.
    fleet.clock.advance(301_000);
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "failed", because: expect.stringContaining("not taken back: web-1") as string });
    expect(await byHost(fleet)).toEqual({ "web-1": 3, "web-2": 3, "web-3": 3 });
  });

  test("without auto_rollback it stops where it is, and reconcile does not try the refused generation again", async () => {
    const fleet = await running(3, { auto_rollback: false });
    await mutate(fleet, { env: { V: "2" } });
    await fleet.settle(failsOn("web-2"));
    expect(await last(fleet)).toMatchObject({ status: "failed", because: expect.stringContaining("auto_rollback is off") as string });
    expect(await byHost(fleet)).toEqual({ "web-1": 2, "web-2": 2, "web-3": 1 });
    const before = fleet.jobs.length;
    for (let round = 0; round < 20; round++) {
      fleet.clock.advance(60_000);
      await fleet.beat();
      await fleet.control.reconcileOnce();
      await fleet.control.dispatchOnce();
    }
    expect(fleet.jobs.length).toBe(before);
    // What did pass is repaired like anything else.
    fleet.say("web-1", "failed");
    for (let round = 0; round < 3; round++) {
      fleet.clock.advance(60_000);
      await fleet.beat();
      await fleet.control.reconcileOnce();
    }
    await fleet.control.dispatchOnce();
    expect(fleet.jobs.slice(before).map(({ host, job }) => `${host} ${job.generation}`)).toEqual(["web-1 2"]);
  });

  test("reconcile keeps its hands off a wave that is open", async () => {
    const fleet = await running(2, { min_healthy_s: 600, progress_deadline_s: 3_000 });
    await mutate(fleet, { env: { V: "2" } });
    await fleet.work(good);
    await fleet.beat();
    // No pass runs: only reconcile looks.
    fleet.say("web-1", "failed");
    for (let round = 0; round < 3; round++) {
      fleet.clock.advance(60_000);
      await fleet.beat();
      await fleet.control.reconcileOnce();
    }
    expect(await fleet.store.listLifecycle({ open: true, limit: 5 })).toEqual([]);
    expect((await fleet.store.recentEvents(5, { kindPrefix: "placement." })).map((event) => event.kind)).toEqual([]);
  });

  test("a row that a person cancels is refused like any other that did not succeed", async () => {
    const fleet = await running(2);
    const { lifecycle_ids: [id] } = await mutate(fleet, { env: { V: "2" } });
    await fleet.control.dispatchOnce();
    await fleet.control.cancel(id!, fleet.context());
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "rolled_back", because: expect.stringContaining("web-1: mutate was cancelled") as string });
  });

  test("what is still under way is stopped first, and only its confirmed end opens the way back", async () => {
    const fleet = await running(2, { max_parallel: 2 });
    const { lifecycle_ids: ids } = await mutate(fleet, { env: { V: "2" } });
    await fleet.work((host) => (host === "web-1" ? { error: "no" } : undefined));
    await fleet.settle((_host, job) => (job.generation === 2 ? undefined : "succeeded"));
    const rows = await fleet.store.listLifecycle({ ids, limit: 10 });
    expect(rows.map((row) => `${row.status} ${row.cancelReason ?? "-"}`).sort()).toEqual(["cancelled rollout", "failed -"]);
    expect(await last(fleet)).toMatchObject({ status: "rolled_back" });
  });

  test("a rollback that fails somewhere goes on elsewhere, does not roll back again, and names what is left", async () => {
    const fleet = await running(3);
    await mutate(fleet, { env: { V: "2" } });
    await fleet.settle((host, job) => (job.generation >= 2 && (host === "web-1" && job.generation === 3) ? { error: "disk full" } : failsOn("web-2")(host, job)));
    const rollout = await last(fleet);
    expect(rollout).toMatchObject({ status: "failed", because: expect.stringMatching(/web-2: mutate failed.*not taken back: web-1: .*disk full/) as string });
    expect(await fleet.store.listRollouts({ limit: 10 })).toHaveLength(1);
    expect((await fleet.store.findDeployment("app"))!.generation).toBe(3);
  });

  test("the same spec again has nothing to go back to; a failed one before it is no base either", async () => {
    const fleet = await running(2, { auto_rollback: false });
    await fleet.control.redeploy("app", {}, fleet.context());
    await fleet.settle(() => ({ error: "x" }));
    expect(await last(fleet)).toMatchObject({ status: "failed", baseGeneration: undefined });
    await mutate(fleet, { env: { V: "2" } });
    await fleet.settle(failsOn("web-2"));
    await mutate(fleet, { env: { V: "3" } });
    // Generation 3 is applied on web-1 and was refused on web-2: back means generation 1.
    expect(await last(fleet)).toMatchObject({ generation: 4, baseGeneration: 1 });
  });

  test("without the gate the next wave opens over a failed one: the rule is what stops it", async () => {
    const fleet = await running(2, {}, { ...PRODUCTION_POLICY, rolloutGate: false });
    await mutate(fleet, { env: { V: "2" } });
    await fleet.settle(failsOn("web-1"));
    expect(await last(fleet)).toMatchObject({ status: "succeeded" });
  });
});

describe("a change of one component", () => {
  const components = (jobs: Fleet["jobs"]): unknown[] => jobs.map(({ job }) => (job.operation === "mutate" ? job.components : job.operation));

  test("touches that one only, there and back", async () => {
    const fleet = await running(2);
    await mutate(fleet, { components: { web: { env: { V: "2" } } } });
    await fleet.settle(failsOn("web-2"));
    expect(await last(fleet)).toMatchObject({ status: "rolled_back", components: ["web"] });
    expect(components(fleet.since())).toEqual([["web"], ["web"], ["web"], ["web"]]);
  });

  test("is bounded only where the spec it was computed from is applied", async () => {
    const fleet = await running(2, { auto_rollback: false });
    await mutate(fleet, { components: { side: { env: { S: "2" } }, web: { env: { V: "2" } } } });
    await fleet.settle(failsOn("web-2"));
    const before = fleet.jobs.length;
    await mutate(fleet, { components: { web: { env: { V: "3" } } } });
    await fleet.settle(good);
    // web-2 is still at generation 1: with the bound its `side` would stay as it was there, under the new generation's name.
    const later = fleet.jobs.slice(before).map(({ host, job }) => [host, job.operation === "mutate" ? job.components : "whole"]);
    expect(later).toEqual([["web-1", ["web"]], ["web-2", undefined]]);
  });
});

describe("people", () => {
  test("pause opens nothing more, resume goes on; both are audited and say so", async () => {
    const fleet = await running(3);
    await mutate(fleet, { env: { V: "2" } });
    expect((await fleet.control.pauseRollout("app", fleet.context())).body).toMatchObject({ status: "paused", because: "paused by token:test" });
    await fleet.settle(good);
    expect(hostsOf(fleet.since())).toEqual(["web-1"]);
    expect(await status(fleet)).toBe("deploying");
    expect((await fleet.control.pauseRollout("app", fleet.context())).body).toMatchObject({ status: "paused" });
    await fleet.control.resumeRollout("app", fleet.context());
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "succeeded" });
    expect(await kinds(fleet)).toEqual(["rollout.started", "rollout.paused", "rollout.resumed", "rollout.wave", "rollout.wave", "rollout.succeeded"]);
    await expect(fleet.control.pauseRollout("app", fleet.context())).rejects.toMatchObject({ code: "rollout_not_open", detail: expect.stringContaining("succeeded") as string });
  });

  test("a canary without auto_promote waits for a person", async () => {
    const fleet = await running(4, { canary: 1, auto_promote: false, max_parallel: 3 });
    await mutate(fleet, { env: { V: "2" } });
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "paused", because: expect.stringContaining("the canary passed") as string });
    expect(hostsOf(fleet.since())).toEqual(["web-1"]);
    await fleet.control.resumeRollout("app", fleet.context());
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "succeeded", wave: 2, promoted: true });
  });

  test("abort goes back now", async () => {
    const fleet = await running(3, { auto_rollback: false });
    await mutate(fleet, { env: { V: "2" } });
    await fleet.work(good);
    expect((await fleet.control.abortRollout("app", fleet.context())).body).toMatchObject({ status: "rolling_back" });
    await expect(fleet.control.abortRollout("app", fleet.context())).rejects.toMatchObject({ code: "rollout_not_open" });
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "rolled_back", because: expect.stringContaining("aborted by token:test") as string });
    expect(await byHost(fleet)).toEqual({ "web-1": 3, "web-2": 3, "web-3": 3 });
  });

  test("a new change waits for open rows, and otherwise takes the rollout's place; so does a teardown", async () => {
    const fleet = await running(3);
    await mutate(fleet, { env: { V: "2" } });
    await expect(mutate(fleet, { env: { V: "3" } })).rejects.toMatchObject({ code: "operation_in_progress" });
    await fleet.control.pauseRollout("app", fleet.context());
    await fleet.settle(good);
    await mutate(fleet, { env: { V: "3" } });
    const [newest, before] = await fleet.store.listRollouts({ newestFirst: true, limit: 2 });
    expect([newest!.status, before!.status]).toEqual(["running", "superseded"]);
    await fleet.control.pauseRollout("app", fleet.context());
    await fleet.settle(good);
    await fleet.control.teardown("app", teardownRequest.parse({}), fleet.context());
    expect(await last(fleet)).toMatchObject({ status: "superseded" });
    await fleet.settle(good);
    expect(await fleet.store.listPlacements({})).toEqual([]);
  });

  test("an operator's rollback is a rollout that neither lingers nor goes back again", async () => {
    const fleet = await running(2, { min_healthy_s: 30 });
    await mutate(fleet, { env: { V: "2" }, rollout: { min_healthy_s: 0 } });
    await fleet.settle(good);
    await fleet.control.rollback("app", { generation: 1 }, fleet.context());
    expect(await last(fleet)).toMatchObject({ action: "rollback", policy: { autoRollback: false, minHealthyS: 0 } });
    await fleet.settle((host) => (host === "web-1" ? { error: "no" } : "succeeded"));
    expect(await last(fleet)).toMatchObject({ status: "failed" });
  });
});

test("any number of masters take each step once", async () => {
  const fleet = await running(6, { max_parallel: 2 });
  const masters = [fleet.control, await fleet.another(), await fleet.another()];
  await mutate(fleet, { env: { V: "2" } });
  for (let round = 0; round < 12; round++) {
    await fleet.work(failsOn("web-5"));
    await fleet.beat();
    await Promise.all(masters.map((master) => master.rolloutOnce()));
  }
  expect(await last(fleet)).toMatchObject({ status: "rolled_back" });
  expect(await kinds(fleet)).toEqual(["rollout.started", "rollout.wave", "rollout.wave", "rollout.rolling_back", "rollout.rolled_back"]);
  expect(new Set(fleet.jobs.map(({ job }) => `${job.placement_id} ${job.generation}`)).size).toBe(fleet.jobs.length);
});

test("a dry run shows the waves, the policy and what changes, and leaves no trace", async () => {
  const fleet = await running(5, { canary: 1, max_parallel: "50%" });
  const { body } = await fleet.control.mutate("app", mutateRequest.parse({ components: { web: { env: { V: "2", NEW: "x" } } }, dry_run: true }), fleet.context());
  expect(body).toMatchObject({
    rollout: { policy: { canary: 1, max_parallel: "50%", auto_rollback: true }, waves: [[{ host: "web-1" }], [{ host: "web-2" }, { host: "web-3" }], [{ host: "web-4" }, { host: "web-5" }]] },
    changes: [{ path: "components.web.env.NEW", from: null, to: "x" }, { path: "components.web.env.V", from: "1", to: "2" }],
  });
  expect(await fleet.store.listRollouts({ limit: 5 })).toEqual([]);
});
