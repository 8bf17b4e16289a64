/** `skep host drain`, `skep move` and `skep rebalance`: what they ask for, what they show, and how the wait ends. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DrainJson, MoveJson } from "@skep/protocol";
import { tempDir } from "@skep/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ago, problem, startFakeApi, type FakeApi } from "./fake-api.ts";
import { hastyClock, skep } from "./run-skep.ts";
import { list, uuid } from "./samples.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());
const run = (...argv: string[]) => skep(argv, { url: api.url, clock: hastyClock() });

type Item = DrainJson["placements"][number];
const item = (patch: Partial<Item> = {}): Item => ({ placement_id: uuid(1), deployment_id: uuid(2), deployment: "web", state: "moving", because: "to web-02, starting: the new copy is being started", next: null, to_host_id: uuid(3), to_host: "web-02", move_id: uuid(4), ...patch });
const pinned = item({ deployment: "db", state: "blocked", because: "pinned to this host by its placement (hosts)", next: "Let the drain stop it: skep host drain web-01 --stop-pinned.", to_host: null, to_host_id: null, move_id: null });
const drain = (patch: Partial<DrainJson> = {}): DrainJson => ({ id: uuid(9), host_id: uuid(8), host: "web-01", status: "draining", because: "1 moving", next: null, stop_pinned: false, placements: [item()], created_at: ago(60), updated_at: ago(10), completed_at: null, ...patch });
const move = (patch: Partial<MoveJson> = {}): MoveJson => ({
  id: uuid(4), deployment_id: uuid(2), deployment: "web", reason: "drain", drain_id: uuid(9), status: "starting", from_placement_id: uuid(1), from_host_id: uuid(8), from_host: "web-01", to_placement_id: null, to_host_id: uuid(3), to_host: "web-02",
  break_first: false, cancel_requested: false, because: "deploy on web-02 is running", created_at: ago(60), updated_at: ago(10), completed_at: null, ...patch,
});

test("it waits until the host says that nothing is left, and 0 means just that", async () => {
  api.on("drainHost", { status: 202, body: drain() });
  const answers = [drain(), drain({ status: "drained", because: "its own report shows that nothing of the fleet runs there", placements: [], completed_at: ago(1) })];
  api.on("getDrain", () => ({ body: answers.length > 1 ? answers.shift()! : answers[0]! }));
  const { code, out, err } = await run("host", "drain", "web-01");
  expect(code).toBe(0);
  expect(out).toContain("drained");
  expect(err).toContain("web-01 draining: 1 moving");
  expect(api.seen[0]!.body).toEqual({ stop_pinned: false, dry_run: false });
});

test("blocked ends the wait with 7, the reason of each and what to do", async () => {
  api.on("drainHost", { status: 202, body: drain({ status: "blocked", because: "blocked: db: pinned", next: pinned.next, placements: [pinned] }) });
  const { code, out, err } = await run("host", "drain", "web-01");
  expect(code).toBe(7);
  expect(out).toContain("pinned to this host by its placement (hosts)");
  expect(out).toContain("db: Let the drain stop it: skep host drain web-01 --stop-pinned.");
  expect(err).toContain("goes on by itself once it can");
});

test("cancelled by somebody else is 6, time running out is 8, and neither says drained", async () => {
  api.on("drainHost", { status: 202, body: drain() });
  api.on("getDrain", { body: drain({ status: "cancelled", because: "cancelled by token:x", placements: [] }) });
  expect((await run("host", "drain", "web-01")).code).toBe(6);
  api.on("getDrain", { body: drain() });
  const late = await run("host", "drain", "web-01", "--timeout", "2s");
  expect(late.code).toBe(8);
  expect(late.err).toContain("The wait is over, the drain is not");
});

test("--detach, --dry-run, --cancel, --status and their contradictions", async () => {
  api.on("drainHost", ({ body }) => ((body as { dry_run: boolean }).dry_run ? { body: { status: "dry_run", host_id: uuid(8), host: "web-01", because: "x", next: null, stop_pinned: true, placements: [item({ state: "to_move", because: "to web-02" }), pinned] } } : { status: 202, body: drain() }));
  api.on("cancelDrain", { body: drain({ status: "cancelled", because: "cancelled by token:me", placements: [] }) });
  api.on("getDrain", { body: drain() });
  expect((await run("host", "drain", "web-01", "--detach")).out).toContain("skep host drain web-01 --cancel");
  const plan = await run("host", "drain", "web-01", "--stop-pinned", "--dry-run");
  expect(plan.out).toContain("web-01: 2 placements; a plan, nothing was changed");
  expect(api.seen.at(-1)!.body).toEqual({ stop_pinned: true, dry_run: true });
  expect((await run("host", "drain", "web-01", "--cancel")).out).toContain("cancelled by token:me");
  expect((await run("host", "drain", "web-01", "--status")).code).toBe(0);
  expect((await run("host", "drain", "web-01", "--cancel", "--dry-run")).code).toBe(2);
  api.on("cancelDrain", problem("drain_not_open"));
  expect((await run("host", "drain", "web-01", "--cancel")).code).toBe(5);
});

test("moves are listed and cancelled", async () => {
  api.on("listMoves", { body: list(move(), move({ id: uuid(5), status: "succeeded" })) });
  api.on("cancelMove", { status: 202, body: move({ cancel_requested: true }) });
  const { out } = await run("move", "ls", "--host", "web-01", "--open");
  expect(out.split("\n")[1]).toMatch(/^web +web-01 +web-02 +starting +drain/);
  expect(api.seen[0]!.query).toMatchObject({ host: "web-01", open: "true" });
  expect((await run("move", "cancel", uuid(4))).out).toContain("web web-01 → web-02");
});

test("rebalance shows its moves and what they lead to", async () => {
  const moves = [{ deployment_id: uuid(2), deployment: "web", placement_id: uuid(1), from_host_id: uuid(8), from_host: "web-01", to_host_id: uuid(3), to_host: "web-02", move_id: null }];
  const hosts = [{ host_id: uuid(8), host: "web-01", before: 3, after: 2 }, { host_id: uuid(3), host: "web-02", before: 1, after: 2 }];
  api.on("rebalanceFleet", ({ body }) => ({ body: (body as { dry_run: boolean }).dry_run ? { status: "dry_run", moves, hosts, left_out: [{ deployment: "db", because: "pinned by hosts" }] } : { status: "nothing_to_do", moves: [], hosts, left_out: [] } }));
  const plan = await run("rebalance", "--dry-run");
  expect(plan.out).toContain("1 placement moves; a plan, nothing was changed");
  expect(plan.out).toContain("left out db: pinned by hosts");
  expect((await run("rebalance")).out).toContain("nothing moves");
});

test("deploy: a strategy, an order of preference, and any of several values of a label", async () => {
  const folder = tempDir("strategy");
  const file = join(folder, "web.yaml");
  writeFileSync(file, "name: web\nspec: { driver: noop, components: [{ name: web }] }\nplacement: { hosts: [a], constraints: { zone: eu1 } }\n");
  const placement = async (...argv: string[]): Promise<unknown> => (JSON.parse((await run("deploy", file, "--print-spec", "--json", ...argv)).out) as { placement: unknown }).placement;
  expect(await placement("--strategy", "cheapest", "--constraint", "zone=eu1", "--constraint", "zone=eu2", "--constraint", "disk=ssd")).toEqual({ strategy: "cheapest", constraints: { zone: ["eu1", "eu2"], disk: "ssd" } });
  expect(await placement("--strategy", "ordered", "--host", "b", "--host", "c", "--replicas", "2")).toEqual({ strategy: "ordered", hosts: ["b", "c"], replicas: 2, constraints: { zone: "eu1" } });
  expect(await placement("--strategy", "ordered")).toEqual({ strategy: "ordered", hosts: ["a"], constraints: { zone: "eu1" } });
  expect(await placement("--replicas", "2")).toEqual({ replicas: 2, constraints: { zone: "eu1" } });
  expect(await placement("--host", "b")).toEqual({ hosts: ["b"], constraints: { zone: "eu1" } });
  const refused = await run("deploy", file, "--strategy", "spread", "--host", "b", "--print-spec");
  expect(refused).toMatchObject({ code: 2, err: expect.stringContaining("hosts pins it to exactly these") as string });
});
