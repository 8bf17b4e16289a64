/** Drains, moves and rebalancing over the ledger in memory, with hosts that say in real beats what they run. */
import { type JobId } from "@skep/core";
import { drainRequest, mutateRequest, redeployRequest, teardownRequest, type DrainPlanJson, type PendingJob } from "@skep/protocol";
import { describe, expect, test } from "vitest";
import { startControl, type Fleet, type Outcome } from "./fleet.ts";
import { good, SPEC, deploy, drain, drainOf, moves, where, kinds, label, cordon, watched } from "./draining.ts";

describe("a drain", () => {
  test("moves what can move, the new copy seen running before the old one goes, and is done only on the host's own word", async () => {
    const fleet = await startControl(3);
    await deploy(fleet, "app", { replicas: 1 });
    await fleet.settle(good);
    expect(await where(fleet, "app")).toEqual(["web-1"]);
    const body = await drain(fleet, "web-1");
    expect(body).toMatchObject({ status: "draining", stop_pinned: false, placements: [{ deployment: "app", state: "to_move", to_host: "web-2" }] });
    expect((await fleet.store.findHost("web-1"))!.schedulable).toBe(false);
    const seen = watched();
    for (let round = 0; round < 3; round++) await fleet.control.drainOnce();
    await fleet.work(seen.answer);
    // The row has succeeded, and no beat has told of it since: the old copy is left alone.
    await fleet.control.drainOnce();
    expect(seen.told).toEqual(["run web-2"]);
    expect((await moves(fleet))[0]).toMatchObject({ status: "starting", fromHost: "web-1", toHost: "web-2", breakFirst: false });
    await fleet.beat();
    await fleet.control.drainOnce();
    await fleet.work(seen.answer);
    expect(seen.told).toEqual(["run web-2", "remove web-1"]);
    expect((await drainOf(fleet, "web-1")).status).toBe("draining");
    await fleet.settle(seen.answer);
    expect(await drainOf(fleet, "web-1")).toMatchObject({ status: "drained", because: expect.stringContaining("its own report") as string });
    expect(await moves(fleet)).toMatchObject([{ status: "succeeded", slot: undefined, reason: "drain" }]);
    expect(await where(fleet, "app")).toEqual(["web-2"]);
    expect((await fleet.store.findDeployment("app"))!).toMatchObject({ status: "active", generation: 1, placement: { replicas: 1 } });
    expect(await kinds(fleet)).toEqual(["host.draining", "move.started", "move.stopping", "move.succeeded", "host.drained"]);
    // And a later deploy leaves it where it now is, although the first host is empty and open again.
    await cordon(fleet, "web-1", true);
    await deploy(fleet, "app", { replicas: 1 }, { replace: true });
    await fleet.settle(good);
    expect(await where(fleet, "app")).toEqual(["web-2"]);
  });

  test("done is said on a report that is newer than the last operation, whatever the rows say", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "app", { replicas: 1 });
    await fleet.settle(good);
    await drain(fleet, "web-1");
    await fleet.settle((_host, job) => (job.operation === "teardown" ? undefined : "succeeded"));
    await fleet.setAway("web-2", true);
    // The teardown's own beat comes in the same instant as its end.
    await fleet.work(good);
    await fleet.control.drainOnce();
    await fleet.control.drainOnce();
    expect(await where(fleet, "app")).toEqual(["web-2"]);
    expect((await drainOf(fleet, "web-1")).status).toBe("draining");
    await fleet.beat();
    await fleet.control.drainOnce();
    expect((await drainOf(fleet, "web-1")).status).toBe("drained");
  });

  test("a host that does not answer is never done: it is not known what runs there", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "app", { replicas: 1 });
    await fleet.settle(good);
    await fleet.setAway("web-1", true);
    await drain(fleet, "web-1");
    await fleet.settle(good);
    expect(await where(fleet, "app")).toEqual(["web-1", "web-2"]);
    expect(await moves(fleet)).toMatchObject([{ status: "stopping" }]);
    expect((await drainOf(fleet, "web-1")).status).toBe("draining");
    await fleet.setAway("web-1", false);
    await fleet.settle(good);
    expect((await drainOf(fleet, "web-1")).status).toBe("drained");
    // An empty one neither.
    await fleet.setAway("web-2", true);
    await deploy(fleet, "none", { hosts: ["web-1"] }).catch(() => undefined);
    await fleet.control.teardown("app", teardownRequest.parse({ force: true }), fleet.context());
    expect((await drain(fleet, "web-2")).because).toContain("unreachable: whether something still runs there is not known");
  });

  test("what is stateful stops first: there are never two copies, and never two when it is taken back", async () => {
    const fleet = await startControl(2);
    const spec = { ...SPEC, stateful: true };
    await deploy(fleet, "db", { replicas: 1 }, {}, spec);
    const seen = watched();
    await fleet.settle(seen.answer);
    await drain(fleet, "web-1");
    await fleet.settle(seen.answer);
    expect(seen.told).toEqual(["run web-1", "stop web-1", "run web-2", "remove web-1"]);
    expect(seen.most()).toBe(1);
    expect((await drainOf(fleet, "web-1")).status).toBe("drained");

    await cordon(fleet, "web-1", true);
    const back = watched((host, job) => (host === "web-1" && job.operation === "deploy" ? { error: "no disk there" } : "succeeded"));
    await drain(fleet, "web-2");
    await fleet.settle(back.answer);
    expect(back.told).toEqual(["stop web-2", "run web-1 failed", "remove web-1", "run web-2"]);
    expect(await where(fleet, "db")).toEqual(["web-2"]);
    expect((await moves(fleet))[1]).toMatchObject({ status: "failed", because: expect.stringContaining("no disk there") as string });
    expect(await drainOf(fleet, "web-2")).toMatchObject({ status: "blocked", because: expect.stringContaining("web-1: a move there failed") as string });
  });

  test("a stateful copy does not start elsewhere before its host has said that the old one is stopped", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "db", { replicas: 1 }, {}, { ...SPEC, stateful: true });
    await fleet.settle(good);
    await drain(fleet, "web-1");
    await fleet.control.drainOnce();
    await fleet.control.drainOnce();
    const seen = watched();
    await fleet.work(seen.answer);
    await fleet.control.drainOnce();
    await fleet.work(seen.answer);
    expect(seen.told).toEqual(["stop web-1"]);
    // It says that it stopped it, and yet still sees it run.
    fleet.say("web-1", "running");
    await fleet.beat();
    await fleet.control.drainOnce();
    await fleet.work(seen.answer);
    expect(seen.told).toEqual(["stop web-1"]);
    fleet.say("web-1", "stopped");
    await fleet.settle(seen.answer);
    expect(seen.told).toEqual(["stop web-1", "run web-2", "remove web-1"]);
  });

  test("on one machine a fixed port is let go before it is taken again; elsewhere it is no reason to stop", async () => {
    const spec = { driver: "process", components: [{ name: "web", command: ["/bin/true"], ports: [{ name: "http", host: 8080 }] }] };
    for (const [urls, order] of [[["https://10.0.0.1:1", "https://10.0.0.1:2"], ["stop web-1", "run web-2", "remove web-1"]], [["https://10.0.0.1:1", "https://10.0.0.2:1"], ["run web-2", "remove web-1"]]] as const) {
      const fleet = await startControl(2);
      for (const [index, agentUrl] of urls.entries()) {
        await fleet.store.transaction(async (tx) => tx.updateHost((await tx.findHost(`web-${index + 1}`))!.id, { address: new URL(agentUrl).hostname }));
      }
      await deploy(fleet, "app", { replicas: 1 }, {}, spec);
      await fleet.settle(good);
      const seen = watched();
      await drain(fleet, "web-1");
      await fleet.settle(seen.answer);
      expect(seen.told).toEqual(order);
    }
  });

  test("an old copy that cannot be removed is told, and no later change brings it back", async () => {
    const later: ((fleet: Fleet) => Promise<unknown>)[] = [
      (fleet) => deploy(fleet, "app", { replicas: 1 }, { replace: true }),
      (fleet) => fleet.control.redeploy("app", redeployRequest.parse({}), fleet.context()),
      (fleet) => fleet.control.mutate("app", mutateRequest.parse({ env: { V: "2" } }), fleet.context()),
    ];
    for (const change of later) {
      const fleet = await startControl(2);
      await deploy(fleet, "app", { replicas: 1 }, {}, { ...SPEC, stateful: true });
      const seen = watched();
      await fleet.settle(seen.answer);
      await drain(fleet, "web-1");
      const busy = (_host: string, job: PendingJob): Outcome => (job.operation === "teardown" ? { error: "device busy" } : "succeeded");
      await fleet.settle((host, job) => (job.operation === "teardown" ? busy(host, job) : seen.answer(host, job)));
      expect(await moves(fleet)).toMatchObject([{ status: "failed", because: expect.stringContaining("it is on web-2, but was not removed from web-1: device busy") as string }]);
      expect(await drainOf(fleet, "web-1")).toMatchObject({ status: "blocked", because: expect.stringContaining("it was not removed: device busy") as string });
      await change(fleet);
      await fleet.settle(seen.answer);
      expect(await where(fleet, "app")).toEqual(["web-2"]);
      expect(seen.most()).toBe(1);
      expect((await drainOf(fleet, "web-1")).status).toBe("drained");
    }
  });

  test("a new copy that does not come up leaves the old one alone, the next host is tried, and each once", async () => {
    const fleet = await startControl(3);
    await deploy(fleet, "app", { replicas: 1 });
    await fleet.settle(good);
    const seen = watched((host, job) => (host === "web-2" && job.operation === "deploy" ? { error: "no such image" } : "succeeded"));
    await drain(fleet, "web-1");
    await fleet.settle(seen.answer);
    expect(seen.told).toEqual(["run web-2 failed", "remove web-2", "run web-3", "remove web-1"]);
    expect((await moves(fleet)).map((move) => `${move.toHost} ${move.status}`)).toEqual(["web-2 failed", "web-3 succeeded"]);
    expect((await drainOf(fleet, "web-1")).status).toBe("drained");
  });

  test("a new copy that runs and is not well is not taken for good", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "app", { replicas: 1 });
    await fleet.settle(good);
    await drain(fleet, "web-1");
    await fleet.control.drainOnce();
    await fleet.control.drainOnce();
    await fleet.work(good);
    fleet.say("web-2", "degraded", [{ name: "web", state: "unhealthy", restarts: 2, error: "connection refused" }]);
    await fleet.settle(good);
    expect(await where(fleet, "app")).toEqual(["web-1"]);
    expect((await moves(fleet))[0]).toMatchObject({ status: "failed", because: expect.stringContaining("connection refused") as string });
  });

  test("it is blocked, with the reason of each and what to do, and goes on by itself once it can", async () => {
    const fleet = await startControl(3);
    await deploy(fleet, "fixed", { hosts: ["web-1"] });
    await deploy(fleet, "near", { replicas: 1, constraints: { region: ["eu", "ch"] } }).catch(() => undefined);
    await label(fleet, "web-1", { region: "eu" });
    await label(fleet, "web-2", { region: "us" });
    await deploy(fleet, "near", { replicas: 1, constraints: { region: ["eu", "ch"] } });
    await fleet.settle(good);
    await drain(fleet, "web-1");
    await fleet.settle(good);
    const record = await drainOf(fleet, "web-1");
    expect(record.status).toBe("blocked");
    expect(record.because).toContain("fixed: pinned to this host");
    expect(record.because).toContain("web-2: label region is us, eu or ch is required; web-3: label region is not set");
    const [event] = await fleet.store.recentEvents(10, { kindPrefix: "host.drain_blocked" });
    expect(event).toMatchObject({ severity: "warning", data: { blocked: [{ deployment: "fixed", next: expect.stringContaining("--stop-pinned") as string }, { deployment: "near", next: expect.stringContaining("skep host uncordon") as string }] } });
    // Told once, however often it is looked at.
    await fleet.settle(good);
    expect(await fleet.store.recentEvents(10, { kindPrefix: "host.drain_blocked" })).toHaveLength(1);
    await label(fleet, "web-3", { region: "ch" });
    await fleet.settle(good);
    expect(await where(fleet, "near")).toEqual(["web-3"]);
    // Pinned: only where that is asked, and its deployment stays wanted.
    expect(await where(fleet, "fixed")).toEqual(["web-1"]);
    expect(await drain(fleet, "web-1", { stop_pinned: true })).toMatchObject({ id: record.id, stop_pinned: true });
    await fleet.settle(good);
    expect((await drainOf(fleet, "web-1")).status).toBe("drained");
    expect((await fleet.store.listPlacements({})).find((view) => view.placement.deployment === "fixed")).toMatchObject({ placement: { desired: "stopped" }, observed: { state: "stopped" } });
    await cordon(fleet, "web-1", true);
    await fleet.control.redeploy("fixed", redeployRequest.parse({}), fleet.context());
    await fleet.settle(good);
    expect((await fleet.store.findDeployment("fixed"))!.status).toBe("active");
  });

  test("what the host reports and nobody placed there holds it up", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "app", { hosts: ["web-1"] });
    await fleet.settle(good);
    const [view] = await fleet.store.listPlacements({});
    await fleet.store.transaction((tx) => tx.casPlacement(view!.placement.id, view!.placement.version, { removed: true, desired: "absent" }));
    fleet.say("web-1", "degraded");
    await fleet.beat();
    await drain(fleet, "web-1");
    await fleet.settle(good);
    expect(await drainOf(fleet, "web-1")).toMatchObject({ status: "blocked", because: expect.stringContaining("app (degraded), which nobody placed there") as string });
  });

  test("one placement of a deployment moves at a time, and no more of the fleet than there are places", async () => {
    const fleet = await startControl(4);
    for (let index = 0; index < 12; index++) await deploy(fleet, `one-${index}`, { strategy: "ordered", hosts: ["web-1", "web-3", "web-4"] });
    await deploy(fleet, "many", { strategy: "ordered", hosts: ["web-1", "web-2", "web-3", "web-4"], replicas: 2 });
    await fleet.settle(good);
    await drain(fleet, "web-1");
    await drain(fleet, "web-2");
    let most = 0;
    let ofMany = 0;
    for (let round = 0; round < 60; round++) {
      await fleet.control.drainOnce();
      const open = await fleet.store.listMoves({ open: true, limit: 100 });
      most = Math.max(most, open.length);
      ofMany = Math.max(ofMany, open.filter((move) => move.deployment === "many").length);
      await fleet.work(good);
      await fleet.beat();
    }
    expect([most, ofMany]).toEqual([8, 1]);
    expect((await drainOf(fleet, "web-1")).status).toBe("drained");
    expect((await drainOf(fleet, "web-2")).status).toBe("drained");
    expect(await where(fleet, "many")).toEqual(["web-3", "web-4"]);
  });

  test("any number of masters may run it at once: each step is taken once", async () => {
    const fleet = await startControl(4);
    const second = await fleet.another();
    for (let index = 0; index < 10; index++) await deploy(fleet, `one-${index}`, { strategy: "ordered", hosts: ["web-1", "web-2", "web-3", "web-4"] });
    await fleet.settle(good);
    await drain(fleet, "web-1");
    for (let round = 0; round < 60; round++) {
      await Promise.all([fleet.control.drainOnce(), second.drainOnce()]);
      expect((await fleet.store.listMoves({ open: true, limit: 100 })).filter((move) => move.slot !== undefined).length).toBeLessThanOrEqual(8);
      await fleet.work(good);
      await fleet.beat();
    }
    expect((await drainOf(fleet, "web-1")).status).toBe("drained");
    expect((await moves(fleet)).map((move) => move.status)).toEqual(Array.from({ length: 10 }, () => "succeeded"));
    expect(await kinds(fleet)).toHaveLength(2 + 3 * 10);
    expect(fleet.jobs).toHaveLength(30);
  });

  test("two drains do not both send what they have to the host that was the emptiest when they looked", async () => {
    const fleet = await startControl(4);
    for (const name of ["web-3", "web-4"]) await cordon(fleet, name);
    await deploy(fleet, "app-1", { replicas: 1 });
    await deploy(fleet, "app-2", { replicas: 1 });
    await fleet.settle(good);
    for (const name of ["web-3", "web-4"]) await cordon(fleet, name, true);
    await drain(fleet, "web-1");
    await drain(fleet, "web-2");
    await fleet.control.drainOnce();
    expect((await moves(fleet)).map((move) => `${move.toHost} ${move.status}`).sort()).toEqual(["web-3 pending", "web-4 pending"]);
  });

  test("what a move undoes is fenced: a delayed copy of the row before would be refused by its agent", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "db", { replicas: 1 }, {}, { ...SPEC, stateful: true });
    await fleet.settle(good);
    await drain(fleet, "web-1", { stop_pinned: true });
    await fleet.settle((host, job) => (host === "web-2" && job.operation === "deploy" ? { error: "no disk there" } : "succeeded"));
    const told = (host: string): string[] => fleet.jobs.filter((one) => one.host === host).map(({ job }) => `${job.operation} generation ${job.generation} epoch ${job.epoch}`);
    expect(told("web-1")).toEqual(["deploy generation 1 epoch 1", "deploy generation 1 epoch 2", "deploy generation 1 epoch 3"]);
    expect(told("web-2")).toEqual(["deploy generation 1 epoch 1", "teardown generation 1 epoch 2"]);
  });

  test("which row is the newest is the database's clock to say, not the name that a master with another clock gave it", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "app", { replicas: 1 });
    await fleet.settle(good);
    fleet.clock.advance(5_000);
    const [view] = await fleet.store.listPlacements({});
    const { id: placementId, deploymentId, hostId, version } = view!.placement;
    const id = "00000000-0000-7000-8000-000000000001" as JobId;
    await fleet.store.transaction(async (tx) => {
      await tx.casPlacement(placementId, version, { desired: "absent" });
      await tx.insertLifecycle({ id, placementId, deploymentId, hostId, operation: "teardown", generation: 1, epoch: 1, timeoutS: 60, because: "test" });
      await tx.casLifecycle({ id, expectedVersion: 1, status: "failed", failureCode: "agent_error", error: "device busy", because: "test" });
    });
    expect(await drain(fleet, "web-1")).toMatchObject({ placements: [{ state: "blocked", because: "it was not removed: device busy" }] });
  });

  test("a plan leaves no trace", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "app", { replicas: 1 });
    await fleet.settle(good);
    const plan = (await fleet.control.drainHost("web-1", drainRequest.parse({ dry_run: true }), fleet.context())).body as DrainPlanJson;
    expect(plan).toMatchObject({ status: "dry_run", placements: [{ deployment: "app", state: "to_move", to_host: "web-2" }] });
    expect((await fleet.store.findHost("web-1"))!.schedulable).toBe(true);
    expect(await fleet.store.findDrain((await fleet.store.findHost("web-1"))!.id)).toBeUndefined();
  });
});

describe("taking it back", () => {
  test("a cancelled drain keeps what is there: the new copy goes, the old one never stopped, the host stays cordoned", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "app", { replicas: 1 });
    await fleet.settle(good);
    await drain(fleet, "web-1");
    await fleet.control.drainOnce();
    await fleet.control.drainOnce();
    const seen = watched();
    await fleet.work((host, job) => (host === "web-2" && job.operation === "deploy" ? undefined : seen.answer(host, job)));
    await fleet.control.cancelDrain("web-1", fleet.context());
    await fleet.settle((host, job) => (host === "web-2" && job.operation === "deploy" ? undefined : seen.answer(host, job)));
    await fleet.control.sweepOnce();
    await fleet.settle(seen.answer);
    expect(await where(fleet, "app")).toEqual(["web-1"]);
    expect(seen.told.filter((line) => line.endsWith("web-1"))).toEqual([]);
    expect(await moves(fleet)).toMatchObject([{ status: "cancelled" }]);
    expect((await drainOf(fleet, "web-1")).status).toBe("cancelled");
    expect((await fleet.store.findHost("web-1"))!.schedulable).toBe(false);
    await expect(fleet.control.cancelDrain("web-1", fleet.context())).rejects.toMatchObject({ code: "drain_not_open" });
  });

  test("a cancelled move of something stateful starts the old copy again, once the new one is gone", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "db", { replicas: 1 }, {}, { ...SPEC, stateful: true });
    const seen = watched();
    await fleet.settle(seen.answer);
    await drain(fleet, "web-1");
    await fleet.control.drainOnce();
    await fleet.control.drainOnce();
    await fleet.control.cancelMove((await moves(fleet))[0]!.id, fleet.context());
    await fleet.control.cancelDrain("web-1", fleet.context());
    await fleet.settle(seen.answer);
    expect(seen.told).toEqual(["run web-1", "stop web-1", "run web-1"]);
    expect(await moves(fleet)).toMatchObject([{ status: "cancelled" }]);
    await expect(fleet.control.cancelMove((await moves(fleet))[0]!.id, fleet.context())).rejects.toMatchObject({ code: "move_not_open" });
  });

  test("a change by an operator waits for the move; a teardown ends it", async () => {
    const fleet = await startControl(2);
    await deploy(fleet, "app", { replicas: 1 });
    await fleet.settle(good);
    await drain(fleet, "web-1");
    await fleet.control.drainOnce();
    await fleet.control.drainOnce();
    await fleet.work(good);
    const refused = { code: "operation_in_progress", detail: expect.stringContaining("skep move cancel") as string };
    await expect(fleet.control.mutate("app", mutateRequest.parse({ env: { V: "2" } }), fleet.context())).rejects.toMatchObject(refused);
    await expect(deploy(fleet, "app", { replicas: 1 }, { replace: true })).rejects.toMatchObject(refused);
    await fleet.control.teardown("app", teardownRequest.parse({}), fleet.context());
    await fleet.settle(good);
    expect(await moves(fleet)).toMatchObject([{ status: "cancelled" }]);
    expect(await where(fleet, "app")).toEqual([]);
    expect((await drainOf(fleet, "web-1")).status).toBe("drained");
  });

  test("an open rollout goes first", async () => {
    const fleet = await startControl(3);
    await deploy(fleet, "app", { replicas: 2 }, { rollout: { max_parallel: 1 } });
    await fleet.settle(good);
    await fleet.control.mutate("app", mutateRequest.parse({ env: { V: "2" } }), fleet.context());
    expect((await drain(fleet, "web-1")).placements).toMatchObject([{ state: "waiting" }]);
    await fleet.control.drainOnce();
    expect(await moves(fleet)).toEqual([]);
    await fleet.settle(good);
    expect((await drainOf(fleet, "web-1")).status).toBe("drained");
    expect((await fleet.store.listPlacements({})).map((view) => `${view.hostName} ${view.placement.generation}`).sort()).toEqual(["web-2 2", "web-3 2"]);
  });
});
