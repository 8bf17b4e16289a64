/**
 * A drain on a real fleet: processes that write down when they begin and end, a master that is killed in the middle, and
 * every claim held against what the processes themselves wrote.
 */
import { existsSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import { succeeds } from "../src/harness/operations.ts";
import { useFleet } from "./kit/use-fleet.ts";

const HOSTS = ["bee-1", "bee-2", "bee-3"];
// A host that this machine holds up for a moment is late, and not given up in the middle of a move.
const site = useFleet("drain", { intervalMs: 2_000 }, async (fleet) => {
  for (const name of HOSTS) await fleet.addAgent(name);
});
const api = () => site.fleet.api;

/** `begin` when the process is there, `up` when it serves, `end` when it has let go of everything. */
const WORKLOAD = [
  'const fs = require("node:fs"); const tell = (what) => fs.appendFileSync(process.env.LOG, `${what} ${process.pid}\\n`);',
  'const well = process.env.GATE === undefined || fs.existsSync(process.env.GATE);',
  'tell("begin");',
  'const server = require("node:http").createServer((request, response) => { response.statusCode = well ? 200 : 503; response.end(); });',
  'server.listen(Number(process.env.PORT), "127.0.0.1", () => tell("up"));',
  'process.on("SIGTERM", () => { server.close(); tell("end"); process.exit(0); });',
].join("\n");
const logOf = (name: string): string => join(site.fleet.dir, `${name}.log`);
const lines = (name: string): { what: string; pid: string }[] => (existsSync(logOf(name)) ? readFileSync(logOf(name), "utf8").trim().split("\n").filter((line) => line !== "") : []).map((line) => ({ what: line.split(" ")[0]!, pid: line.split(" ")[1]! }));
/** How many are there, by what they wrote, after each line. */
const counts = (name: string, from: "begin" | "up"): number[] => {
  const there = new Set<string>();
  return lines(name).map(({ what, pid }) => {
    if (what === from) there.add(pid);
    if (what === "end") there.delete(pid);
    return there.size;
  });
};
const deploy = (name: string, placement: object, spec: object = {}, env: object = {}) =>
  succeeds(api(), "/v1/deployments", {
    name, placement,
    spec: {
      driver: "process", ...spec,
      components: [{ name: "main", command: [process.execPath, "-e", WORKLOAD], env: { LOG: logOf(name), ...env }, ports: [{ name: "http" }], stop_timeout_s: 60, probe: { type: "http", port: "http", path: "/", interval_ms: 100, failure_threshold: 100, start_period_ms: 300_000 } }],
    },
  });
/** While nobody else takes work: where an order of preference leads just now is up to whose beat is late just now. */
const deployOn = async (host: string, ...deployment: Parameters<typeof deploy>): Promise<void> => {
  const others: string[] = (await api().get("/v1/hosts")).items.filter((item: any) => item.schedulable && item.name !== host).map((item: any) => item.name);
  const open = async (schedulable: boolean): Promise<void> => {
    for (const name of others) expect((await api().call("PATCH", `/v1/hosts/${name}`, { schedulable })).status).toBe(200);
  };
  await open(false);
  await deploy(...deployment);
  await open(true);
};
const placed = async (name: string): Promise<string[]> => (await api().get(`/v1/placements?deployment=${name}`)).items.filter((item: any) => item.removed_at === null).map((item: any) => item.host).sort();
const drainIs = (host: string, is: (drain: any) => boolean) =>
  eventually(async (status) => {
    const drain = await api().get(`/v1/hosts/${host}/drain`);
    status(`${drain.status}: ${drain.because}`);
    return is(drain) ? drain : undefined;
  }, { what: `the drain of ${host} is as far as that`, timeoutMs: 120_000 });
const moveOf = async (name: string): Promise<any> => (await api().get(`/v1/moves?deployment=${name}`)).items[0];
const restart = async (): Promise<void> => {
  await site.fleet.master.kill();
  await site.fleet.master.start();
};

test("a movable, a stateful and a pinned deployment: each goes its own way, whoever kills the master, and done is said at the end only", async () => {
  const order = { strategy: "ordered", hosts: HOSTS };
  await deployOn("bee-1", "shop", order);
  await deployOn("bee-1", "vault", order, { stateful: true });
  await deploy("fixed", { hosts: ["bee-1"] });
  expect([await placed("shop"), await placed("vault"), await placed("fixed")]).toEqual([["bee-1"], ["bee-1"], ["bee-1"]]);

  const plan = await eventually(async (status) => {
    const seen = await api().post("/v1/hosts/bee-1/drain", { dry_run: true });
    status(JSON.stringify(seen.body));
    return seen.status === 200 && seen.body.placements.filter((item: any) => item.state === "to_move").length === 2 ? seen : undefined;
  }, { what: "two can be moved", timeoutMs: 60_000 });
  // Which of the others: the first of the order that beats on time just now, and on a busy machine that may be either.
  expect(plan.body.placements.map((item: any) => `${item.deployment} ${item.state}`)).toEqual(["fixed blocked", "shop to_move", "vault to_move"]);
  for (const item of plan.body.placements.slice(1)) expect(["bee-2", "bee-3"]).toContain(item.to_host);
  expect((await api().get("/v1/hosts/bee-1")).schedulable).toBe(true);

  expect((await api().post("/v1/hosts/bee-1/drain", {})).status).toBe(202);
  await restart();
  // If it is there already when this test looks, the master is killed later than meant, and nothing else.
  await eventually(async () => ["starting", "stopping", "succeeded"].includes((await moveOf("shop"))?.status), { what: "the shop moves", timeoutMs: 60_000 });
  await restart();
  await eventually(async () => (await moveOf("vault"))?.to_placement_id != null, { what: "the vault starts elsewhere", timeoutMs: 60_000 });
  await restart();
  const blocked = await drainIs("bee-1", (drain) => drain.status === "drained" || (drain.status === "blocked" && drain.placements.length === 1));
  expect(blocked).toMatchObject({ status: "blocked", placements: [{ deployment: "fixed", state: "blocked", because: expect.stringContaining("pinned") as string, next: expect.stringContaining("--stop-pinned") as string }] });
  for (const name of ["shop", "vault"]) expect(await placed(name)).toEqual([expect.stringMatching(/^bee-[23]$/)]);
  expect(await placed("fixed")).toEqual(["bee-1"]);
  await eventually(async () => {
    expect([await moveOf("shop"), await moveOf("vault")]).toMatchObject([{ status: "succeeded", break_first: false }, { status: "succeeded", break_first: true }]);
    return true;
  }, { what: "the moves are done", timeoutMs: 60_000 });
  // By what they wrote: one shop serves at every moment, and two vaults are there at none.
  expect(counts("shop", "up").slice(lines("shop").findIndex((line) => line.what === "up"))).not.toContain(0);
  expect(Math.max(...counts("shop", "up"))).toBe(2);
  expect(Math.max(...counts("vault", "begin"))).toBe(1);
  expect(counts("vault", "begin").at(-1)).toBe(1);

  await eventually(async () => {
    const explained = await api().get("/v1/explain/host/bee-1");
    expect(explained.reasons.slice(0, 2)).toMatchObject([{ code: "draining" }, { code: "drain_blocked", message: expect.stringContaining("fixed holds the drain up") as string }]);
    return true;
  }, { what: "the host itself is asked why", timeoutMs: 30_000 });
  expect((await api().call("PATCH", "/v1/hosts/bee-1", { schedulable: true })).body.code).toBe("host_draining");
  expect(counts("fixed", "begin").at(-1)).toBe(1);

  await api().post("/v1/hosts/bee-1/drain", { stop_pinned: true });
  await drainIs("bee-1", (drain) => drain.status === "drained");
  expect(counts("fixed", "begin").at(-1)).toBe(0);
  const kinds = (await api().get("/v1/events?limit=500")).items.map((event: any) => event.kind).filter((kind: string) => kind.startsWith("host.drain"));
  expect(kinds).toContain("host.drain_blocked");
  expect(kinds.filter((kind: string) => kind === "host.drained")).toHaveLength(1);
  await eventually(async () => {
    expect((await api().get("/v1/explain/host/bee-1")).reasons[0]).toMatchObject({ code: "drained" });
    return true;
  }, { what: "the host itself is asked again", timeoutMs: 30_000 });
  // Nothing of it was a change of what is wanted.
  await eventually(async () => {
    for (const name of ["shop", "vault"]) expect(await api().get(`/v1/deployments/${name}`)).toMatchObject({ status: "active", generation: 1, placement: order });
    return true;
  }, { what: "both run as they are wanted", timeoutMs: 60_000 });
});

test("cancelled in the middle: the old copy has served all the while, the new one is gone", async () => {
  const gate = join(site.fleet.dir, "gate");
  writeFileSync(gate, "");
  await deployOn("bee-3", "slow", { strategy: "ordered", hosts: ["bee-3", "bee-2"] }, {}, { GATE: gate });
  // It runs on; a new copy will not pass its probe.
  unlinkSync(gate);
  await api().post("/v1/hosts/bee-3/drain", {});
  await eventually(() => lines("slow").filter((line) => line.what === "up").length >= 2, { what: "the new copy is up and not well", timeoutMs: 60_000 });
  expect((await api().post("/v1/hosts/bee-3/drain/cancel", {})).body).toMatchObject({ status: "cancelled" });
  await eventually(async () => (await moveOf("slow")).status === "cancelled" && (await placed("slow")).length === 1, { what: "the move is taken back", timeoutMs: 120_000 });
  expect(await placed("slow")).toEqual(["bee-3"]);
  const [first] = lines("slow");
  expect(lines("slow").filter((line) => line.what === "end").map((line) => line.pid)).not.toContain(first!.pid);
  expect(counts("slow", "begin").at(-1)).toBe(1);
  expect(await api().get("/v1/hosts/bee-3")).toMatchObject({ schedulable: false });
  expect((await api().call("PATCH", "/v1/hosts/bee-3", { schedulable: true })).status).toBe(200);
});
