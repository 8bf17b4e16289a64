/** Where deployments go and what a rebalance moves, over the ledger in memory. */
import { type SkepError } from "@skep/core";
import { rebalanceRequest, redeployRequest, type RebalanceReply } from "@skep/protocol";
import { describe, expect, test } from "vitest";
import { startControl, type Fleet } from "./fleet.ts";
import { good, SPEC, deploy, moves, where, label, cordon } from "./draining.ts";

describe("strategies", () => {
  test("cheapest takes the least cost, and says of every other host why not", async () => {
    const fleet = await startControl(3);
    await label(fleet, "web-2", { cost_per_hour: "0.12" });
    await label(fleet, "web-3", { cost_per_hour: "dear" });
    await deploy(fleet, "app", { strategy: "cheapest" });
    expect(await where(fleet, "app")).toEqual(["web-2"]);
    await expect(deploy(fleet, "two", { strategy: "cheapest", replicas: 2 })).rejects.toMatchObject({
      code: "no_eligible_host",
      errors: [{ pointer: "/hosts/web-1", message: "label cost_per_hour is not set, cheapest needs it" }, { pointer: "/hosts/web-3", message: 'label cost_per_hour is "dear", which is not a non-negative number' }],
    });
  });

  test("a change in place leaves it on a host that no longer meets its constraints and warns; a deploy places it anew", async () => {
    const fleet = await startControl(2);
    await label(fleet, "web-1", { region: "eu" });
    await deploy(fleet, "app", { constraints: { region: "eu" } });
    await fleet.settle(good);
    await label(fleet, "web-1", { region: "us" });
    const reply = await fleet.control.redeploy("app", redeployRequest.parse({}), fleet.context());
    expect((reply.body as { warnings: string[] }).warnings).toEqual([expect.stringContaining("label region is us, eu is required")]);
    await fleet.settle(good);
    const error = await deploy(fleet, "app", { constraints: { region: "eu" } }, { replace: true }).then(() => undefined, (reason: unknown) => reason as SkepError);
    expect(error).toMatchObject({ code: "no_eligible_host" });
    await label(fleet, "web-2", { region: "eu" });
    await deploy(fleet, "app", { constraints: { region: "eu" } }, { replace: true });
    await fleet.settle(good);
    expect(await where(fleet, "app")).toEqual(["web-2"]);
  });
});

describe("rebalance", () => {
  const rebalance = async (fleet: Fleet, dryRun: boolean): Promise<RebalanceReply> => (await fleet.control.rebalance(rebalanceRequest.parse({ dry_run: dryRun }), fleet.context())).body;

  test("evens out spread deployments with the fewest moves, and leaves pinned, ordered and stateful ones alone", async () => {
    const fleet = await startControl(3);
    await cordon(fleet, "web-2");
    await cordon(fleet, "web-3");
    for (let index = 0; index < 4; index++) await deploy(fleet, `app-${index}`, { replicas: 1 });
    await deploy(fleet, "db", { replicas: 1 }, {}, { ...SPEC, stateful: true });
    await deploy(fleet, "fixed", { hosts: ["web-1"] });
    await fleet.settle(good);
    await cordon(fleet, "web-2", true);
    await cordon(fleet, "web-3", true);
    const plan = await rebalance(fleet, true);
    expect(plan.status).toBe("dry_run");
    expect(plan.moves.map((move) => `${move.deployment} ${move.from_host} ${move.to_host}`)).toEqual(["app-0 web-1 web-2", "app-1 web-1 web-3", "app-2 web-1 web-2", "app-3 web-1 web-3"]);
    expect(plan.hosts.map((host) => `${host.host} ${host.before} ${host.after}`)).toEqual(["web-1 6 2", "web-2 0 2", "web-3 0 2"]);
    expect(plan.left_out).toEqual([{ deployment: "db", because: "it is stateful: a move would stop it first" }, { deployment: "fixed", because: "pinned by hosts" }]);
    expect(await moves(fleet)).toEqual([]);
    const begun = await rebalance(fleet, false);
    expect(begun).toMatchObject({ status: "accepted" });
    expect(begun.moves.map(({ move_id: _id, ...move }) => move)).toEqual(plan.moves.map(({ move_id: _id, ...move }) => move));
    // Asked again while they are under way, there is nothing more to do.
    const again = await rebalance(fleet, false);
    expect(again.status).toBe("nothing_to_do");
    expect(again.left_out.slice(0, 4)).toEqual([0, 1, 2, 3].map((index) => ({ deployment: `app-${index}`, because: "it is moving already" })));
    await fleet.settle(good);
    expect((await moves(fleet)).map((move) => `${move.reason} ${move.status}`)).toEqual(Array.from({ length: 4 }, () => "rebalance succeeded"));
    expect((await rebalance(fleet, false)).status).toBe("nothing_to_do");
  });

  test("a move whose turn comes when its host is cordoned is not made", async () => {
    const fleet = await startControl(2);
    await cordon(fleet, "web-2");
    for (let index = 0; index < 2; index++) await deploy(fleet, `app-${index}`, { replicas: 1 });
    await fleet.settle(good);
    await cordon(fleet, "web-2", true);
    await rebalance(fleet, false);
    await cordon(fleet, "web-2");
    await fleet.settle(good);
    expect(await moves(fleet)).toMatchObject([{ status: "cancelled", because: expect.stringContaining("cordoned") as string }]);
  });
});
