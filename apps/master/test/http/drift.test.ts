/** Drift from the beat that carries it to the list, the events and the repair; and what jobs say of their progress. */
import type { HostId, HostRecord, ReportedPlacement } from "@skep/core";
import { describe, expect, test } from "vitest";
import { NOOP, useApi } from "./use-api.ts";

const api = useApi();
const HASH = "a".repeat(64);
let hosts = 0;

/** One host that speaks, and one deployment on it that has come up. */
async function deployed(reconcile: "auto" | "report") {
  const host = await api.activeHost(`drift-${(hosts += 1)}`);
  const beat = await session(host);
  const name = `app-${hosts}`;
  const made = await api.call("POST", "/v1/deployments", { body: { name, spec: NOOP, placement: { hosts: [host.name] }, reconcile } });
  expect(made.status, made.text).toBe(202);
  const [placed] = made.json.placements;
  const row = placed.lifecycle_id as string;
  const report = (patch: Partial<ReportedPlacement> = {}): ReportedPlacement => ({
    placement_id: placed.placement_id, deployment: name, epoch: 1, generation: 1, spec_hash: HASH, state: "running", components: [{ name: "app", state: "running", restarts: 0 }], ...patch,
  });
  return { host, beat, name, row, placementId: placed.placement_id as string, report };
}

async function session(host: HostRecord) {
  const bootId = `boot-${host.name}`;
  const { session_epoch } = await api.control.register(host.id as HostId, { boot_id: bootId, host_boot_id: "kernel", agent_version: "1.0.0", op_seq: 0, agent_url: "https://127.0.0.1:8444" });
  let seq = 0;
  return (placements: readonly ReportedPlacement[], jobs: readonly object[] = [], lifecycle: readonly object[] = [], again = 0) => api.control.beat(host.id as HostId, {
    host_uuid: host.id, agent_version: "1.0.0", boot_id: bootId, session_epoch, seq: again === 0 ? (seq += 1) : again, op_seq: seq, status: { placements: [...placements] }, jobs: [...jobs], lifecycle: [...lifecycle],
  });
}

/** The beat in which the job is done, and one after it. */
async function up({ beat, report, row, placementId, name }: Awaited<ReturnType<typeof deployed>>): Promise<void> {
  const delta = { delta_id: row, job_id: row, placement_id: placementId, deployment: name, operation: "deploy", status: "succeeded", generation: 1, epoch: 1 };
  await beat([report()], [{ job_id: row, operation: "deploy", status: "succeeded" }], [delta]);
  await beat([report()]);
}

const drifted = (report: (patch: Partial<ReportedPlacement>) => ReportedPlacement): ReportedPlacement =>
  report({ state: "degraded", components: [{ name: "app", state: "running", restarts: 3, drift: ["its memory limit is 64 MiB, not 1 GiB"] }] });
const eventsOf = async (name: string, kind: string): Promise<string[]> =>
  (await api.call("GET", `/v1/events?deployment=${name}&kind=${kind}&limit=1000`)).json.items.map((event: { message: string }) => event.message);
const driftOf = async (name: string) => (await api.call("GET", `/v1/drift?deployment=${name}`, { role: "viewer" })).json;

describe("what was changed behind our back", () => {
  test("report: is listed and told of once, with what differs, and never repaired; its end is told of too", async () => {
    const it = await deployed("report");
    await up(it);
    expect((await driftOf(it.name)).items).toEqual([]);
    await it.beat([drifted(it.report)]);
    for (let pass = 0; pass < 3; pass++) await api.control.reconcileOnce();
    expect(await eventsOf(it.name, "placement.drift")).toEqual([`${it.name} differs from what is desired: app: its memory limit is 64 MiB, not 1 GiB; it is reported only (the deployment only reports drift)`]);
    expect(await driftOf(it.name)).toMatchObject({
      items: [{
        deployment: it.name, host: it.host.name, wanted: { state: "running", generation: 1 }, observed: { state: "degraded", generation: 1 },
        differences: ["app: its memory limit is 64 MiB, not 1 GiB"], action: "report_only", repair_at: null, because: "the deployment only reports drift",
      }],
    });
    expect((await api.call("GET", `/v1/lifecycle?deployment=${it.name}&open=true`)).json.items).toEqual([]);
    const explained = (await api.call("GET", `/v1/explain/placement/${it.placementId}`)).json;
    expect(explained.reasons.find((reason: { code: string }) => reason.code === "drift").message).toContain("its memory limit is 64 MiB, not 1 GiB");

    await it.beat([it.report()]);
    for (let pass = 0; pass < 2; pass++) await api.control.reconcileOnce();
    expect(await eventsOf(it.name, "placement.as_desired")).toHaveLength(1);
    expect((await driftOf(it.name)).items).toEqual([]);
    await it.beat([drifted(it.report)]);
    await api.control.reconcileOnce();
    expect(await eventsOf(it.name, "placement.drift")).toHaveLength(2);
  });

  test("auto: is told of, listed with the time of its repair, and repaired by a deploy that says why", async () => {
    const it = await deployed("auto");
    await up(it);
    await it.beat([drifted(it.report)]);
    await api.control.reconcileOnce();
    expect(await eventsOf(it.name, "placement.drift")).toEqual([`${it.name} differs from what is desired: app: its memory limit is 64 MiB, not 1 GiB`]);
    const [item] = (await driftOf(it.name)).items;
    expect(item).toMatchObject({ action: "repair", because: "try 1 of 5" });
    expect(Date.parse(item.repair_at)).toBeGreaterThan(Date.parse(item.since));
    // Due at once instead of in ten seconds.
    const { placement } = (await api.store.findPlacement(it.placementId as never))!;
    await api.store.transaction(async (tx) => tx.casPlacement(placement.id, placement.version, { reconcileNotBefore: await tx.now() }));
    await api.control.reconcileOnce();
    const rows = (await api.call("GET", `/v1/lifecycle?deployment=${it.name}&open=true`)).json.items;
    expect(rows).toMatchObject([{ operation: "deploy", because: "reconcile, try 1: app: its memory limit is 64 MiB, not 1 GiB" }]);
    // Under way is no drift.
    expect((await driftOf(it.name)).items).toEqual([]);
  });

  test("a component that is gone is a difference; one that its policy restarts is none", async () => {
    const it = await deployed("report");
    await up(it);
    await it.beat([it.report({ state: "degraded", components: [{ name: "app", state: "backoff", restarts: 7 }] })]);
    await api.control.reconcileOnce();
    expect((await driftOf(it.name)).items).toEqual([]);
    await it.beat([it.report({ state: "degraded", components: [{ name: "app", state: "failed", restarts: 0, error: "it is not on this host any more" }] })]);
    await api.control.reconcileOnce();
    expect(await eventsOf(it.name, "placement.drift")).toEqual([expect.stringContaining("app is failed: it is not on this host any more")]);
  });

  test("what its host cannot look at is unknown, and neither drift nor gone", async () => {
    const it = await deployed("auto");
    await up(it);
    await it.beat([it.report({ state: "unknown", components: [] })]);
    await api.control.reconcileOnce();
    expect((await driftOf(it.name)).items).toEqual([]);
    expect((await api.call("GET", `/v1/placements?deployment=${it.name}`)).json.items).toMatchObject([{ state: "unknown", because: "its host cannot look at what runs it" }]);
    expect((await api.call("GET", `/v1/deployments/${it.name}`)).json.status).toBe("degraded");
    expect((await api.call("GET", `/v1/lifecycle?deployment=${it.name}&open=true`)).json.items).toEqual([]);
  });
});

test("pages: each difference comes once, orphans with the first page only", async () => {
  const all = [await deployed("report"), await deployed("report"), await deployed("report")];
  for (const it of all) {
    await up(it);
    await it.beat([drifted(it.report)]);
  }
  const seen: string[] = [];
  let cursor: string | null = null;
  do {
    const page: { items: { deployment: string }[]; orphans: unknown[]; next_cursor: string | null } = (await api.call("GET", `/v1/drift?limit=1${cursor === null ? "" : `&cursor=${cursor}`}`)).json;
    seen.push(...page.items.map((item) => item.deployment));
    if (cursor !== null) expect(page.orphans).toEqual([]);
    cursor = page.next_cursor;
  } while (cursor !== null);
  expect(seen.filter((name) => all.some((it) => it.name === name)).toSorted()).toEqual(all.map((it) => it.name).toSorted());
  expect((await api.call("GET", `/v1/drift?host=${all[0]!.host.name}`)).json.items).toHaveLength(1);
  expect((await api.call("GET", "/v1/drift?host=nobody")).status).toBe(404);
  expect((await api.call("GET", "/v1/drift?cursor=x")).status).toBe(400);
});

test("orphans are listed with host and age, and left alone", async () => {
  const host = await api.activeHost("orphaned");
  const beat = await session(host);
  const stray: ReportedPlacement = {
    placement_id: "0190a000-0000-7000-8000-00000000abcd", deployment: "stray", epoch: 1, generation: 4, spec_hash: HASH, state: "running",
    components: [{ name: "web", state: "running", restarts: 0, since: "2026-01-02T00:00:00.000Z" }, { name: "db", state: "running", restarts: 0, since: "2026-01-01T00:00:00.000Z" }],
  };
  await beat([stray, { ...stray, placement_id: "0190a000-0000-7000-8000-00000000abce", state: "unknown", components: [] }]);
  await api.control.reconcileOnce();
  expect((await api.call("GET", "/v1/drift?host=orphaned")).json).toMatchObject({
    items: [], more_orphans: false,
    orphans: [{ host: "orphaned", deployment: "stray", generation: 4, state: "running", components: ["web (running)", "db (running)"], since: "2026-01-01T00:00:00.000Z" }],
  });
  expect((await api.call("GET", "/v1/events?host=orphaned&kind=placement.orphan")).json.items).toHaveLength(1);
});

describe("progress", () => {
  test("of a running job is on its row, without a new version, and in words where a person looks", async () => {
    const it = await deployed("report");
    const job = (progress: number, phase: string) => it.beat([it.report({ state: "deploying" })], [{ job_id: it.row, operation: "deploy", status: "running", progress, phase }]);
    await job(3, "prepare");
    const first = (await api.store.findLifecycle(it.row))!;
    expect(first).toMatchObject({ status: "running", progress: 3, jobPhase: "prepare" });
    await job(3, "prepare");
    expect(await api.store.findLifecycle(it.row)).toEqual(first);
    await job(4, "healthy");
    const second = (await api.store.findLifecycle(it.row))!;
    expect(second).toMatchObject({ progress: 4, jobPhase: "healthy", version: first.version });
    expect(second.progressAt).toBeGreaterThan(first.progressAt!);
    expect((await api.call("GET", `/v1/lifecycle/${it.row}`)).json).toMatchObject({ job_phase: "healthy", progress: 4, progress_at: expect.any(String) as string });
    expect((await api.call("GET", `/v1/explain/lifecycle/${it.row}`)).json.reasons[0].message).toMatch(/waiting for health, last progress \d+ s ago/);
  });

  test("of a foreign host's row, or in an old beat, moves nothing", async () => {
    const [mine, other] = [await deployed("report"), await deployed("report")];
    const job = (progress: number, phase: string) => [{ job_id: mine.row, operation: "deploy", status: "running", progress, phase }];
    const placements = [mine.report({ state: "deploying" })];
    await mine.beat(placements, job(2, "prepare"));
    await mine.beat(placements, job(3, "prepare"));
    const before = await api.store.findLifecycle(mine.row);
    // In one transaction with the row's own host, which is when the row is at hand.
    await Promise.all([mine.beat(placements, job(3, "prepare")), other.beat([], job(99, "stop"))]);
    expect(await api.store.findLifecycle(mine.row)).toEqual(before);
    await mine.beat(placements, job(2, "look"), [], 1);
    expect(await api.store.findLifecycle(mine.row)).toEqual(before);
  });
});
