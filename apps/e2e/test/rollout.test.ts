/**
 * Rollouts on a real fleet: processes that answer or do not, a master that is killed between two waves, and every claim
 * held against who answers on the workloads' own ports.
 */
import { request } from "undici";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import { ended, rolloutIs, rowsOfRollout, sent, succeeds } from "../src/harness/operations.ts";
import { webServer } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

const HOSTS = ["bee-1", "bee-2", "bee-3", "bee-4"];
const site = useFleet("rollout", { intervalMs: 500 }, async (fleet) => {
  for (const name of HOSTS) await fleet.addAgent(name);
});
const api = () => site.fleet.api;

/** What answers on each host, once every host has reported what its placement is to run: greeting and pid. */
async function answers(name: string): Promise<Record<string, { greeting: string; pid: string }>> {
  // A row has ended when its delta is taken. Where its component listens is in the host's report, with that beat or with the next one.
  const items = await eventually(async (status) => {
    const seen = (await api().get(`/v1/placements?deployment=${name}`)).items;
    status(JSON.stringify(seen.map((item: any) => [item.host, item.generation, item.observed?.state, item.observed?.generation])));
    return seen.every((item: any) => item.observed?.state === "running" && item.observed.generation === item.generation) ? seen : undefined;
  }, { what: `every placement of ${name} is reported running`, timeoutMs: 60_000 });
  const found: Record<string, { greeting: string; pid: string }> = {};
  for (const placement of items) {
    const [greeting, pid] = (await (await request(`http://127.0.0.1:${placement.observed.components.find((item: any) => item.name === "web").ports.http}/`)).body.text()).split(" ");
    found[placement.host] = { greeting: greeting!, pid: pid! };
  }
  return found;
}
const greetings = async (name: string): Promise<string[]> => Object.values(await answers(name)).map((one) => one.greeting);
const deploy = (name: string, rollout: object = {}) => succeeds(api(), "/v1/deployments", { name, spec: webServer("one"), placement: { hosts: HOSTS }, rollout });
/** It runs, and its probe never passes. */
const SICK = "require('node:http').createServer((_q, r) => { r.statusCode = 503; r.end(); }).listen(Number(process.env.PORT), '127.0.0.1'); process.on('SIGTERM', () => process.exit(0));";
const broken = { components: { web: { command: [process.execPath, "-e", SICK], probe: { type: "http", port: "http", path: "/", interval_ms: 100, failure_threshold: 3 } } } };

test("a version that does not come up goes back by itself: the first host refuses it in its own words, the others never stop serving", async () => {
  await deploy("shop");
  const before = await answers("shop");
  // Long enough for a busy machine to start a program that says 503 and not "connection refused".
  const { rollout_id: id, lifecycle_ids: first } = await sent(api(), "/v1/deployments/shop/mutate", { ...broken, timeout_s: 10 });
  expect(first).toHaveLength(1);
  const rollout = await rolloutIs(api, id!, ["rolled_back", "failed", "succeeded"]);
  const [row] = await ended(api(), first);
  expect(row).toMatchObject({ status: "failed", error: expect.stringContaining("503") as string });
  // The agent gives up by itself; the master, which sees the same limit run out one beat later, may be first with an agent that stood still.
  expect(["agent_error", "timeout"]).toContain(row!.failure_code);
  // Hosts that beat come first, then by name: the first one is bee-1, unless its beat was late just then.
  const touched = row!.host;
  expect(HOSTS).toContain(touched);
  expect(rollout).toMatchObject({ status: "rolled_back", wave: 1, base_generation: 1, rollback_generation: 3 });
  expect(rollout.because).toContain(`${touched}: mutate failed (${row!.failure_code}): ${row!.error}`);
  const explained = await api().get("/v1/explain/deployment/shop");
  expect(explained.reasons.slice(0, 2)).toMatchObject([{ code: "rollout_rolled_back" }, { code: "gate_refused", message: expect.stringContaining(touched) as string }]);
  await eventually(async () => (await api().get("/v1/deployments/shop")).status === "active", { what: "all is as it was", timeoutMs: 60_000 });
  // Only one host was ever touched: elsewhere the very same processes answer.
  const after = await answers("shop");
  for (const host of HOSTS.filter((name) => name !== touched)) expect(after[host]).toEqual(before[host]);
  expect(after[touched]!.greeting).toBe("one");
  const placements = (await api().get("/v1/placements?deployment=shop")).items;
  expect(placements.map((item: any) => [item.generation, item.observed.generation])).toEqual(HOSTS.map(() => [3, 3]));
});

test("a canary waits for a person, a pause holds the rest, and nobody is at two versions for longer than asked", async () => {
  await deploy("cafe", { canary: 1, auto_promote: false, max_parallel: 2 });
  const { rollout_id: id } = await sent(api(), "/v1/deployments/cafe/mutate", { env: { GREETING: "two" } });
  expect((await rolloutIs(api, id!, ["paused"])).because).toContain("the canary passed");
  expect((await greetings("cafe")).sort()).toEqual(["one", "one", "one", "two"]);
  expect((await api().post("/v1/deployments/cafe/rollout/resume", {})).status).toBe(200);
  await rolloutIs(api, id!, ["succeeded"]);
  expect(await greetings("cafe")).toEqual(["two", "two", "two", "two"]);

  // A wave that takes its time, or all four of them could be over before the pause on a machine that stalls.
  const second = await sent(api(), "/v1/deployments/cafe/mutate", { env: { GREETING: "three" }, rollout: { canary: 0, max_parallel: 1, min_healthy_s: 60 } });
  expect((await api().post("/v1/deployments/cafe/rollout/pause", {})).body).toMatchObject({ status: "paused" });
  await ended(api(), second.lifecycle_ids);
  expect((await greetings("cafe")).sort()).toEqual(["three", "two", "two", "two"]);
  // Aborted in the middle: everybody is back at what they had.
  expect((await api().post("/v1/deployments/cafe/rollout/abort", {})).body).toMatchObject({ status: "rolling_back" });
  await rolloutIs(api, second.rollout_id!, ["rolled_back"]);
  expect(await greetings("cafe")).toEqual(["two", "two", "two", "two"]);
  expect((await api().post("/v1/deployments/cafe/rollout/abort", {})).body.code).toBe("rollout_not_open");
});

test("a master killed in every wave loses nothing and repeats nothing", async () => {
  const { fleet } = site;
  await deploy("mill", { max_parallel: 1, min_healthy_s: 1 });
  const { rollout_id: id } = await sent(api(), "/v1/deployments/mill/mutate", { env: { GREETING: "two" } });
  for (const wave of [1, 2, 3]) {
    await eventually(async () => (await api().get(`/v1/rollouts/${id}`)).wave >= wave, { what: `wave ${wave}`, timeoutMs: 60_000 });
    await fleet.master.kill();
    await fleet.master.start();
  }
  const rollout = await rolloutIs(api, id!, ["succeeded", "failed", "rolled_back"]);
  expect(rollout).toMatchObject({ status: "succeeded", wave: 4 });
  const rows = await ended(api(), rowsOfRollout(rollout));
  expect(rows.map((row) => `${row.host} ${row.status} ${row.generation}`).sort()).toEqual(HOSTS.map((host) => `${host} succeeded 2`));
  expect(await greetings("mill")).toEqual(["two", "two", "two", "two"]);
});

test("what is to move to other hosts by a deploy stays where it is until it is up there, and all of it stays if it never is", async () => {
  const { fleet } = site;
  const replace = (hosts: readonly string[], spec: object, more: object = {}) => sent(api(), "/v1/deployments", { name: "tour", spec, placement: { hosts }, replace: true, ...more });
  await succeeds(api(), "/v1/deployments", { name: "tour", spec: webServer("one"), placement: { hosts: ["bee-1", "bee-2"] } });
  const before = await answers("tour");
  const [component] = webServer("two").components;
  const sick = { driver: "process", components: [{ ...component, ...broken.components.web }] };
  const { rollout_id: failed } = await replace(["bee-3", "bee-4"], sick, { timeout_s: 4 });
  // Killed in the middle, so that another life of it does the way back.
  await fleet.master.kill();
  await fleet.master.start();
  const rollout = await rolloutIs(api, failed!, ["rolled_back", "failed", "succeeded"]);
  expect(rollout).toMatchObject({ status: "rolled_back", because: expect.stringMatching(/bee-3: deploy failed|bee-4: deploy failed/) as string });
  expect(await answers("tour")).toEqual(before);
  expect((await api().get("/v1/deployments/tour")).placement.hosts).toEqual(["bee-1", "bee-2"]);

  const good = await replace(["bee-2", "bee-3"], webServer("two"));
  await rolloutIs(api, good.rollout_id!, ["succeeded"]);
  const after = await answers("tour");
  expect(Object.entries(after).map(([host, { greeting }]) => `${host} ${greeting}`).sort()).toEqual(["bee-2 two", "bee-3 two"]);
  expect(() => process.kill(Number(before["bee-1"]!.pid), 0)).toThrow("ESRCH");
});
