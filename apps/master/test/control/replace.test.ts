/** Deploys that leave hosts and come to others: nothing goes before what replaces it has passed, and the way back is whole. */
import { explainMember, type RolloutRecord } from "@skep/core";
import { deployRequest, mutateRequest, redeployRequest, type PendingJob } from "@skep/protocol";
import { describe, expect, test } from "vitest";
import { startControl, type Fleet, type Outcome } from "./fleet.ts";

const good = (): Outcome => "succeeded";
const versionOf = (job: PendingJob): string => ("spec" in job ? job.spec.components[0]!.env["V"]! : "");
const failsOn = (...hosts: string[]) => (host: string, job: PendingJob): Outcome => (hosts.includes(host) && versionOf(job) === "2" ? { error: "not today" } : "succeeded");
const specOf = (v: string, more: object = {}): object => ({ driver: "noop", components: [{ name: "web", env: { V: v } }], ...more });

interface Accepted {
  readonly rollout_id: string | null;
  readonly placements: readonly { readonly host: string; readonly operation: string }[];
  readonly warnings: readonly string[];
}
async function deploy(fleet: Fleet, hosts: readonly string[], v: string, more: { readonly rollout?: object; readonly spec?: object } = {}): Promise<Accepted> {
  const request = deployRequest.parse({ name: "app", spec: specOf(v, more.spec), placement: { hosts }, replace: true, rollout: more.rollout });
  return (await fleet.control.deploy(request, fleet.context())).body as Accepted;
}
const last = async (fleet: Fleet): Promise<RolloutRecord> => (await fleet.store.listRollouts({ newestFirst: true, limit: 1 }))[0]!;
const byHost = async (fleet: Fleet): Promise<Record<string, string>> => Object.fromEntries((await fleet.store.listPlacements({})).map(({ hostName, placement }) => [hostName, `${placement.desired} ${placement.generation}`]));
const wish = async (fleet: Fleet): Promise<unknown> => (await fleet.store.findDeployment("app"))!.placement.hosts;
const told = (fleet: Fleet, from: number): string[] => fleet.jobs.slice(from).map(({ host, job }) => `${job.operation} ${host}`);

/** `app` runs at version 1 on `hosts`. */
async function running(count: number, hosts: readonly string[], more: Parameters<typeof deploy>[3] = {}): Promise<Fleet> {
  const fleet = await startControl(count);
  await fleet.beat();
  expect(await deploy(fleet, hosts, "1", more)).toMatchObject({ rollout_id: null });
  await fleet.settle(good);
  return fleet;
}

describe("forward", () => {
  test("what comes is opened beside the first wave, and what leaves goes when all have passed", async () => {
    const fleet = await running(5, ["web-1", "web-2", "web-3", "web-4"]);
    const accepted = await deploy(fleet, ["web-1", "web-2", "web-3", "web-5"], "2");
    expect(accepted.placements.map(({ host, operation }) => `${operation} ${host}`).sort()).toEqual(["deploy web-1", "deploy web-5"]);
    expect(accepted.warnings).toEqual([]);
    await fleet.settle((host) => (host === "web-5" ? undefined : "succeeded"));
    // The new one still comes up: nobody goes on, and nobody leaves.
    expect(told(fleet, 4).sort()).toEqual(["deploy web-1", "deploy web-5"]);
    expect(await byHost(fleet)).toEqual({ "web-1": "running 2", "web-2": "running 1", "web-3": "running 1", "web-4": "running 1", "web-5": "running 2" });
    await fleet.settle(good);
    expect(told(fleet, 6)).toEqual(["deploy web-2", "deploy web-3", "teardown web-4"]);
    expect(await last(fleet)).toMatchObject({ status: "succeeded", wave: 3, because: "every placement passed" });
    expect(await byHost(fleet)).toEqual({ "web-1": "running 2", "web-2": "running 2", "web-3": "running 2", "web-5": "running 2" });
    expect((await fleet.store.recentEvents(50, { kindPrefix: "rollout." })).map((event) => event.kind).slice(-2)).toEqual(["rollout.leaving", "rollout.succeeded"]);
  });

  test("a plan says what leaves last, and whoever asks why it is still there is told", async () => {
    const fleet = await running(2, ["web-1"]);
    const request = deployRequest.parse({ name: "app", spec: specOf("2"), placement: { hosts: ["web-2"] }, replace: true, dry_run: true });
    const plan = (await fleet.control.deploy(request, fleet.context())).body as { hosts: { host: string; warnings: string[] }[] };
    expect(plan.hosts.find(({ host }) => host === "web-1")!.warnings).toEqual(["everything of it would be torn down, once the rollout has passed everywhere else"]);
    await deploy(fleet, ["web-2"], "2");
    const [placement] = (await fleet.store.listPlacements({})).filter((view) => view.hostName === "web-1").map((view) => view.placement);
    const reasons = async (): Promise<string[]> => explainMember(await last(fleet), placement!).map((reason) => reason.code);
    expect(await reasons()).toEqual(["rollout_leaving"]);
    await fleet.settle(good);
    expect(await reasons()).toEqual([]);
  });

  test("one whose host is away, or whose teardown fails, is named and holds nobody up", async () => {
    const fleet = await running(3, ["web-1", "web-2", "web-3"]);
    await fleet.setAway("web-2", true);
    await deploy(fleet, ["web-1"], "2");
    await fleet.settle((host, job) => (host === "web-3" && job.operation === "teardown" ? { error: "device is busy" } : "succeeded"));
    const rollout = await last(fleet);
    expect(rollout).toMatchObject({ status: "succeeded", because: expect.stringMatching(/not gone yet: web-2: teardown is pending.*web-3: teardown is failed \(device is busy\)/) });
    expect((await fleet.store.recentEvents(1, { kindPrefix: "rollout.succeeded" }))[0]).toMatchObject({ severity: "warning" });
    // What was to be gone already is not kept for another rollout's sake.
    await fleet.setAway("web-2", false);
    await fleet.settle(good);
    const before = fleet.jobs.length;
    await fleet.control.mutate("app", mutateRequest.parse({ env: { V: "3" } }), fleet.context());
    await fleet.work(() => undefined);
    expect(told(fleet, before).sort()).toEqual(["mutate web-1", "teardown web-3"]);
  });

  test("hosts of the others that stay away are skipped first: what leaves does not wait for them for ever", async () => {
    const fleet = await running(3, ["web-1", "web-2", "web-3"]);
    await fleet.setAway("web-2", true);
    await deploy(fleet, ["web-1", "web-2"], "2");
    await fleet.settle(good);
    expect(await byHost(fleet)).toMatchObject({ "web-3": "running 1" });
    fleet.clock.advance(601_000);
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "succeeded", because: "every placement passed; skipped: web-2" });
    expect(await byHost(fleet)).toEqual({ "web-1": "running 2", "web-2": "running 2" });
  });

  test("two copies of one state never run side by side: what leaves goes at once, which is said", async () => {
    const fleet = await running(2, ["web-1"], { spec: { stateful: true } });
    await fleet.store.transaction(async (tx) => tx.updateHost((await tx.findHost("web-2"))!.id, { address: "10.0.0.7" }));
    const accepted = await deploy(fleet, ["web-2"], "2", { spec: { stateful: true } });
    expect(accepted.placements.map(({ host, operation }) => `${operation} ${host}`).sort()).toEqual(["deploy web-2", "teardown web-1"]);
    expect(accepted.warnings).toEqual([expect.stringMatching(/torn down at once on web-1, because two copies.*skep host drain/)]);
  });

  test("nor two that want the same fixed port of one machine", async () => {
    const fleet = await startControl(2);
    for (const host of fleet.hosts) await fleet.store.transaction(async (tx) => tx.updateHost((await tx.findHost(host))!.id, { address: "10.0.0.7" }));
    await fleet.beat();
    const spec = { components: [{ name: "web", env: { V: "1" }, ports: [{ name: "http", host: 8080 }] }] };
    await deploy(fleet, ["web-1"], "1", { spec });
    await fleet.settle(good);
    expect((await deploy(fleet, ["web-2"], "2", { spec })).placements.map(({ host, operation }) => `${operation} ${host}`).sort()).toEqual(["deploy web-2", "teardown web-1"]);
  });
});

describe("back", () => {
  test("when a newcomer does not pass, what was there stays, what came goes, and it is to run where it was", async () => {
    const fleet = await running(4, ["web-1", "web-2", "web-3"]);
    await deploy(fleet, ["web-1", "web-2", "web-4"], "2");
    await fleet.settle(failsOn("web-4"));
    expect(await last(fleet)).toMatchObject({ status: "rolled_back", because: expect.stringContaining("web-4: deploy failed") });
    expect(await byHost(fleet)).toEqual({ "web-1": "running 3", "web-2": "running 3", "web-3": "running 3" });
    expect(await wish(fleet)).toEqual(["web-1", "web-2", "web-3"]);
    expect(told(fleet, 3).filter((one) => one.startsWith("teardown"))).toEqual(["teardown web-4"]);
    expect((await fleet.store.findDeployment("app"))!.status).toBe("active");
    expect((await last(fleet)).members.map((member) => `${member.host} ${member.rollback}`).sort()).toEqual(["web-1 done", "web-2 done", "web-3 done", "web-4 done"]);
  });

  test("when all of it was to go elsewhere, it never went", async () => {
    const fleet = await running(2, ["web-1"]);
    await deploy(fleet, ["web-2"], "2");
    await fleet.settle(failsOn("web-2"));
    expect(await last(fleet)).toMatchObject({ status: "rolled_back" });
    expect(await byHost(fleet)).toEqual({ "web-1": "running 3" });
    expect(await wish(fleet)).toEqual(["web-1"]);
    expect(told(fleet, 1)).not.toContain("teardown web-1");
  });

  test("a newcomer whose host is away is left to reconcile as one that is to be gone", async () => {
    const fleet = await running(3, ["web-1", "web-2"]);
    await deploy(fleet, ["web-1", "web-3"], "2");
    await fleet.work((host) => (host === "web-3" ? undefined : failsOn("web-1")(host, { spec: specOf("2") } as never)));
    await fleet.setAway("web-3", true);
    for (let round = 0; round < 4; round++) {
      fleet.clock.advance(601_000);
      await fleet.settle((host) => (host === "web-3" ? undefined : "succeeded"));
    }
    expect(await last(fleet)).toMatchObject({ status: "failed", because: expect.stringContaining("not taken back: web-3") });
    expect(await byHost(fleet)).toEqual({ "web-1": "running 3", "web-2": "running 3", "web-3": "absent 3" });
  });

  test("where what left is gone, what came stays and gets the earlier spec: otherwise nothing would run", async () => {
    const fleet = await running(3, ["web-1", "web-2"], { spec: { stateful: true } });
    await deploy(fleet, ["web-2", "web-3"], "2", { spec: { stateful: true } });
    await fleet.settle(failsOn("web-3"));
    expect(await last(fleet)).toMatchObject({ status: "rolled_back" });
    expect(await byHost(fleet)).toEqual({ "web-2": "running 3", "web-3": "running 3" });
    expect(await wish(fleet)).toEqual(["web-2", "web-3"]);
  });

  test("a state that only came to one host more leaves that host again", async () => {
    const fleet = await running(2, ["web-1"], { spec: { stateful: true } });
    await deploy(fleet, ["web-1", "web-2"], "2", { spec: { stateful: true } });
    await fleet.settle(failsOn("web-2"));
    expect(await byHost(fleet)).toEqual({ "web-1": "running 3" });
    expect(await wish(fleet)).toEqual(["web-1"]);
  });

  test("nothing goes back once what was to leave is leaving", async () => {
    const fleet = await running(2, ["web-1"]);
    await deploy(fleet, ["web-2"], "2");
    await fleet.settle((_host, job) => (job.operation === "teardown" ? undefined : "succeeded"));
    expect((await last(fleet)).members.find((member) => member.state === "leaving")?.rowId).toBeDefined();
    await expect(fleet.control.abortRollout("app", fleet.context())).rejects.toMatchObject({ code: "rollout_not_open", detail: expect.stringContaining("skep rollback app") });
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ status: "succeeded" });
  });
});

describe("the next change", () => {
  test("lets go of what the one it takes over from would have let go", async () => {
    const fleet = await running(3, ["web-1", "web-2"], { rollout: { min_healthy_s: 600, progress_deadline_s: 3_000 } });
    await deploy(fleet, ["web-1", "web-3"], "2", { rollout: { min_healthy_s: 600, progress_deadline_s: 3_000 } });
    await fleet.work(good);
    await fleet.beat();
    await fleet.control.mutate("app", mutateRequest.parse({ env: { V: "3" }, rollout: { min_healthy_s: 0 } }), fleet.context());
    expect(await byHost(fleet)).toMatchObject({ "web-2": "running 1" });
    await fleet.settle(good);
    expect(await last(fleet)).toMatchObject({ action: "mutate", status: "succeeded" });
    expect(await byHost(fleet)).toEqual({ "web-1": "running 3", "web-3": "running 3" });
  });

  test("of a rollout that failed without a way back: what was to leave runs on until then", async () => {
    const fleet = await running(3, ["web-1", "web-2"]);
    await deploy(fleet, ["web-1", "web-3"], "2", { rollout: { auto_rollback: false } });
    await fleet.settle(failsOn("web-3"));
    expect(await last(fleet)).toMatchObject({ status: "failed" });
    expect((await fleet.store.recentEvents(1, { kindPrefix: "rollout.failed" }))[0]!.message).toContain("what was to leave runs on (web-2)");
    expect(await byHost(fleet)).toEqual({ "web-1": "running 2", "web-2": "running 1", "web-3": "running 2" });
    await fleet.control.redeploy("app", redeployRequest.parse({}), fleet.context());
    await fleet.settle(good);
    expect(await byHost(fleet)).toEqual({ "web-1": "running 3", "web-3": "running 3" });
  });

  test("but never of the last copy: where what was to replace it is gone, it is what is changed", async () => {
    const fleet = await running(2, ["web-1"]);
    await deploy(fleet, ["web-2"], "2", { rollout: { auto_rollback: false } });
    await fleet.settle(failsOn("web-2"));
    const lost = (await fleet.store.listPlacements({})).find((view) => view.hostName === "web-2")!.placement;
    await fleet.store.transaction((tx) => tx.casPlacement(lost.id, lost.version, { desired: "absent", removed: true }));
    await fleet.control.mutate("app", mutateRequest.parse({ env: { V: "3" } }), fleet.context());
    await fleet.settle(good);
    expect(await byHost(fleet)).toEqual({ "web-1": "running 3" });
  });

  test("of one on its way back: what came with it goes", async () => {
    const fleet = await running(3, ["web-1", "web-2"]);
    await deploy(fleet, ["web-2", "web-3"], "2");
    await fleet.work(good);
    await fleet.beat();
    await fleet.control.abortRollout("app", fleet.context());
    expect(await last(fleet)).toMatchObject({ status: "rolling_back" });
    await fleet.control.mutate("app", mutateRequest.parse({ env: { V: "3" } }), fleet.context());
    await fleet.settle(good);
    expect(await byHost(fleet)).toEqual({ "web-1": "running 4", "web-2": "running 4" });
  });

  test("a deploy decides anew who stays", async () => {
    const fleet = await running(3, ["web-1", "web-2"]);
    await deploy(fleet, ["web-1", "web-3"], "2", { rollout: { auto_rollback: false } });
    await fleet.settle(failsOn("web-3"));
    await deploy(fleet, ["web-1", "web-2"], "4");
    await fleet.settle(good);
    expect(await byHost(fleet)).toEqual({ "web-1": "running 3", "web-2": "running 3" });
    await fleet.control.mutate("app", mutateRequest.parse({ env: { V: "5" } }), fleet.context());
    await fleet.settle(good);
    expect(await byHost(fleet)).toEqual({ "web-1": "running 4", "web-2": "running 4" });
  });
});
