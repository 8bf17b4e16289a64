/** Looking changes nothing, and what is shown is what the ledger holds. */
import { OPERATOR_ROUTES, type Route } from "@skep/protocol";
import { DEFAULT_ROLLOUT, type DeploymentId, type DrainId, type HostId, type JobId, type MoveId, type PlacementId, type RolloutId } from "@skep/core";
import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { NOOP, useApi } from "./use-api.ts";

const api = useApi();
let hostId = "";
let rowId = "";
let placementId = "";
const rolloutId = crypto.randomUUID() as RolloutId;
const drainId = crypto.randomUUID() as DrainId;
const moveId = crypto.randomUUID() as MoveId;
beforeAll(async () => {
  hostId = (await api.activeHost("seen-01")).id;
  await api.activeHost("seen-02");
  await api.call("POST", "/v1/hosts", { body: { name: "pending-01", labels: { zone: "eu1" } } });
  await api.call("POST", "/v1/webhooks", { body: { name: "seen-hook", url: "https://receiver.example/" } });
  await api.call("POST", "/v1/deployments", { body: { name: "seen", spec: NOOP, placement: { hosts: ["seen-01"] } } });
  const [row] = (await api.call("GET", "/v1/lifecycle")).json.items;
  rowId = row.id;
  placementId = row.placement_id;
  const members = [{ placementId: placementId as PlacementId, hostId: hostId as HostId, host: "seen-01", state: "open" as const, wave: 1, rowId: rowId as JobId }];
  await api.store.transaction((tx) => tx.insertRollout({
    id: rolloutId, deploymentId: row.deployment_id as DeploymentId, deployment: "seen", action: "redeploy", status: "running", generation: 1, desired: "running", baseGeneration: undefined, baseDesired: "running", basePlacement: undefined,
    policy: { ...DEFAULT_ROLLOUT }, components: undefined, patchedGeneration: undefined, whole: true, timeoutS: undefined, wave: 1, members, because: "the first wave is open",
  }));
  // Open, with a placement and a move to judge as they are read.
  const drain = { id: drainId, hostId: hostId as HostId, host: "seen-01", status: "draining" as const, stopPinned: false, because: "asked" };
  await api.store.transaction((tx) => tx.insertDrain(drain));
  await api.store.transaction(async (tx) => tx.insertMove({
    id: moveId, deploymentId: row.deployment_id as DeploymentId, deployment: "seen", reason: "drain", drainId, status: "pending", fromPlacementId: placementId as PlacementId, fromHostId: hostId as HostId, fromHost: "seen-01",
    toHostId: (await tx.findHost("seen-02"))!.id, toHost: "seen-02", toPlacementId: undefined, desired: "running", breakFirst: false, slot: undefined, because: "asked",
  }));
});

const everything = async (): Promise<string> => {
  const client = new pg.Client(api.url);
  await client.connect();
  const tables = await client.query<{ table_name: string }>("select table_name from information_schema.tables where table_schema = 'public' order by 1");
  const rows = [];
  for (const { table_name } of tables.rows) rows.push([table_name, (await client.query(`select t.*, t.xmin from "${table_name}" t order by 1, 2`)).rows]);
  await client.end();
  return JSON.stringify(rows, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value));
};

test("no GET writes anything, and neither does asking the hosts", async () => {
  const before = await everything();
  for (const route of (OPERATOR_ROUTES as readonly Route[]).filter((item) => item.method === "GET")) {
    for (const kind of ["host", "deployment", "placement", "lifecycle"]) {
      const subject: Record<string, string> = { host: "seen-01", deployment: "seen", placement: placementId, lifecycle: rowId };
      const url = route.path.replace(":kind", kind).replace(":host", "seen-01").replace(":deployment", "seen").replace(":service", "seen").replace(":rollout", rolloutId).replace(":webhook", "seen-hook").replace(":id", route.id === "explain" ? subject[kind]! : rowId);
      // Nothing of it runs, and that is its answer.
      expect((await api.call("GET", url)).status, url).toBe(route.id === "resolveService" ? 503 : 200);
    }
  }
  expect((await api.call("POST", "/v1/hosts/check", { role: "operator" })).json.items).toHaveLength(2);
  api.agents.deaf = true;
  expect((await api.call("POST", "/v1/hosts/check", { body: { hosts: ["seen-01"] } })).json.items).toMatchObject([{ name: "seen-01", ok: false, error: expect.stringContaining("ECONNREFUSED") }]);
  api.agents.deaf = false;
  expect(await everything()).toBe(before);
  // The comparison is not blind: one write is seen.
  await api.call("PATCH", "/v1/hosts/seen-01", { body: { notes: "touched" } });
  expect(await everything()).not.toBe(before);
});

test("a drain and its moves are shown as they are judged when they are read", async () => {
  expect((await api.call("GET", "/v1/hosts/seen-01/drain")).json).toMatchObject({ id: drainId, status: "draining", because: "1 moving", placements: [{ deployment: "seen", state: "moving", to_host: "seen-02", move_id: moveId, because: expect.stringContaining("a rollout of the deployment is open") as string }] });
  expect((await api.call("GET", "/v1/moves?host=seen-02&open=true")).json.items).toMatchObject([{ id: moveId, because: expect.stringContaining("a rollout of the deployment is open") as string }]);
  expect((await api.call("GET", "/v1/moves?open=false")).json.items).toEqual([]);
  expect((await api.call("GET", "/v1/explain/host/seen-01")).json.reasons[0]).toMatchObject({ code: "draining", next: expect.stringContaining("skep host drain seen-01") as string });
  expect((await api.call("GET", "/v1/explain/deployment/seen")).json.reasons).toEqual(expect.arrayContaining([expect.objectContaining({ code: "move_pending" })]));
  expect((await api.call("GET", "/v1/hosts/seen-02/drain")).json.code).toBe("drain_not_found");
  expect((await api.call("POST", `/v1/moves/${rolloutId}/cancel`, { body: {} })).json.code).toBe("move_not_found");
  expect((await api.call("PATCH", "/v1/hosts/seen-01", { body: { schedulable: true } })).json).toMatchObject({ code: "host_draining", status: 409 });
});

test("a rollout is shown with its placements, and with what it waits for as it is asked", async () => {
  const shown = (await api.call("GET", `/v1/rollouts/${rolloutId}`)).json;
  expect(shown).toMatchObject({ status: "running", wave: 1, waves: 1, counts: { total: 1, open: 1 }, policy: { max_parallel: "25%" }, placements: [{ host: "seen-01", lifecycle_id: rowId }], waiting_for: expect.stringContaining("seen-01: deploy is pending") as string });
  expect((await api.call("GET", "/v1/deployments/seen")).json.rollout).toMatchObject({ id: rolloutId });
  expect((await api.call("GET", "/v1/rollouts?deployment=seen&open=true")).json.items).toHaveLength(1);
  expect((await api.call("GET", "/v1/explain/deployment/seen")).json.reasons[0]).toMatchObject({ code: "rollout_running", message: expect.stringContaining("deploy is pending") as string });
  expect((await api.call("GET", `/v1/rollouts/${crypto.randomUUID()}`)).json.code).toBe("rollout_not_found");
});

test("a name and an id lead to the same thing, everywhere", async () => {
  for (const path of ["", "/health", "/heartbeats", "/certs"]) {
    const [byName, byId] = [await api.call("GET", `/v1/hosts/seen-01${path}`), await api.call("GET", `/v1/hosts/${hostId}${path}`)];
    const drop = (json: any) => ({ ...json, liveness: undefined });
    expect(drop(byId.json)).toEqual(drop(byName.json));
  }
  const byName = await api.call("GET", "/v1/deployments/seen");
  expect((await api.call("GET", `/v1/deployments/${byName.json.id}`)).json).toEqual(byName.json);
  expect((await api.call("GET", "/v1/lifecycle?deployment=seen&host=seen-01")).json).toEqual((await api.call("GET", `/v1/lifecycle?deployment=${byName.json.id}&host=${hostId}`)).json);
});

test("health: every state of a host has its word and its reason", async () => {
  expect((await api.call("GET", "/v1/hosts/seen-01/health")).json).toMatchObject({ health: "healthy", status: "active", breaker: { state: "closed", retry_at: null }, metrics: { total_requests: 0, error_rate: 0, avg_latency_ms: null, p99_latency_ms: null, throughput_bps: 0 }, reachability: { state: "unknown", consecutive_failures: 0 } });
  expect((await api.call("GET", "/v1/hosts/pending-01/health")).json).toMatchObject({ health: "unknown", status: "pending", liveness: { age_ms: null, missed: 0 }, reasons: [{ code: "not_enrolled" }] });
  await api.store.transaction(async (tx) => {
    await tx.casHostStatus(hostId as HostId, "active", "suspect", "no heartbeat");
    await tx.recordProbe(hostId as HostId, false, "connect ETIMEDOUT");
  });
  expect((await api.call("GET", "/v1/hosts/seen-01/health")).json).toMatchObject({ health: "degraded", reachability: { state: "unknown", last_error: null } });
  await api.store.transaction((tx) => tx.casHostStatus(hostId as HostId, "suspect", "unreachable", "the probe failed"));
  expect((await api.call("GET", "/v1/hosts/seen-01/health")).json.health).toBe("unhealthy");
  // What runs on a host that cannot be reached is unknown, and is called so.
  expect((await api.call("GET", "/v1/placements?deployment=seen")).json.items).toMatchObject([{ state: "unknown", because: expect.stringContaining("unreachable") }]);
  expect((await api.call("GET", "/v1/explain/placement/" + placementId)).json.reasons.map((reason: { code: string }) => reason.code)).toContain("host_unreachable");
  await api.store.transaction((tx) => tx.casHostStatus(hostId as HostId, "unreachable", "active", "test"));
});

test("explain says why and what next, with the events that led there", async () => {
  const row = (await api.call("GET", `/v1/explain/lifecycle/${rowId}`)).json;
  expect(row).toMatchObject({ kind: "lifecycle", id: rowId, reasons: [{ code: "not_sent", next: expect.stringMatching(/./) }] });
  const host = (await api.call("GET", "/v1/explain/host/seen-01")).json;
  expect(host.events.map((event: { kind: string }) => event.kind)).toContain("host.created");
  expect(host.events.length).toBeLessThanOrEqual(10);
});

test("lists go page by page without a gap or a repetition, and labels select", async () => {
  const seen: string[] = [];
  let cursor: string | null = null;
  do {
    const { json }: { json: any } = await api.call("GET", `/v1/hosts?limit=1${cursor === null ? "" : `&cursor=${cursor}`}`);
    seen.push(...json.items.map((host: { name: string }) => host.name));
    cursor = json.next_cursor;
  } while (cursor !== null);
  expect(seen.sort()).toEqual(["pending-01", "seen-01", "seen-02"]);
  expect((await api.call("GET", "/v1/hosts?label=zone=eu1")).json.items.map((host: { name: string }) => host.name)).toEqual(["pending-01"]);
  expect((await api.call("GET", "/v1/hosts?status=pending")).json.items).toHaveLength(1);
});

test("the history of a deployment that is gone is found by its name", async () => {
  await api.call("POST", "/v1/deployments", { body: { name: "gone", spec: NOOP, placement: { hosts: ["seen-02"] } } });
  const [deploy] = (await api.call("GET", "/v1/lifecycle?deployment=gone")).json.items;
  await api.call("POST", `/v1/lifecycle/${deploy.id}/cancel`);
  await api.call("DELETE", "/v1/hosts/seen-02?force=true");
  await api.call("POST", "/v1/deployments/gone/teardown");
  expect((await api.call("GET", "/v1/lifecycle?deployment=gone")).json.items.map((row: { id: string }) => row.id)).toContain(deploy.id);
});

test("a reset of the breakers is counted for every master to see, audited and told", async () => {
  const answer = await api.call("POST", "/v1/hosts/seen-01/breaker/reset", { role: "operator" });
  expect(answer).toMatchObject({ status: 200, json: { name: "seen-01", breaker: { state: "closed", opened_at: null, retry_at: null } } });
  expect((await api.store.findHost("seen-01"))!.breakerResets).toBe(1);
  expect((await api.call("GET", "/v1/audit?action=host.breaker_reset", { role: "admin" })).json.items).toHaveLength(1);
  expect((await api.call("GET", "/v1/events?kind=breaker.reset")).json.items).toHaveLength(1);
});

test("cordon, labels and notes are changed, audited and told; an empty change is none", async () => {
  const before = (await api.call("GET", "/v1/events?limit=1000")).json.items.length;
  expect((await api.call("PATCH", "/v1/hosts/seen-01", { body: {} })).status).toBe(200);
  expect((await api.call("GET", "/v1/events?limit=1000")).json.items).toHaveLength(before);
  expect((await api.call("PATCH", "/v1/hosts/seen-01", { body: { schedulable: false, labels: { rack: "r1" } } })).json).toMatchObject({ schedulable: false, labels: { rack: "r1" } });
  expect((await api.call("GET", "/v1/events?kind=host.cordoned")).json.items).toHaveLength(1);
  expect((await api.call("GET", "/v1/hosts/seen-01/health")).json).toMatchObject({ health: "healthy", reasons: [{ code: "cordoned" }] });
  expect((await api.call("PATCH", "/v1/hosts/seen-01", { body: { address: "169.254.169.254" } })).json.code).toBe("address_refused");
});

test("a change that cannot be audited is not made", async () => {
  const client = new pg.Client(api.url);
  await client.connect();
  await client.query("alter table audit_log add constraint nobody check (action not in ('host.update', 'token.create')) not valid");
  try {
    expect((await api.call("PATCH", "/v1/hosts/seen-01", { body: { notes: "unaudited" } })).status).toBe(500);
    expect((await api.call("POST", "/v1/tokens", { body: { name: "unaudited", role: "admin" } })).status).toBe(500);
    expect((await api.call("GET", "/v1/hosts/seen-01")).json.notes).not.toBe("unaudited");
    expect((await api.call("GET", "/v1/tokens")).text).not.toContain("unaudited");
  } finally {
    await client.query("alter table audit_log drop constraint nobody");
    await client.end();
  }
});
