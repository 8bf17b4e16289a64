/** What a scrape says: of the ledger, of this process, and of hosts beyond the bound; and what it does not say. */
import { instant, PRODUCTION_POLICY, SkepError, type FleetGauges, type HostId, type Store } from "@skep/core";
import { createLogger } from "@skep/runtime";
import { createMemoryStore, findPrometheus, ManualClock, promtool } from "@skep/testkit";
import { expect, test } from "vitest";
import { createMasterMetrics, type MetricsDeps } from "../../src/metrics/create-metrics.ts";
import { createHostLabels } from "../../src/metrics/host-labels.ts";
import type { AgentCall, MasterMetrics } from "../../src/metrics/master-metrics.ts";
import { observedStore } from "../../src/metrics/observed-store.ts";
import { newRow, placed } from "./ledger.ts";

const logger = createLogger({ level: "silent", name: "test" });

function setUp(wish: Partial<MetricsDeps> = {}): { metrics: MasterMetrics; clock: ManualClock; store: Store } {
  const clock = new ManualClock();
  const store = createMemoryStore({ clock, policy: PRODUCTION_POLICY });
  const metrics = createMasterMetrics({ store, clock, logger, version: "0.3.0", nodeVersion: "v20", heartbeatIntervalMs: 30_000, caNotAfter: instant(1_800_000_000_000), maxHosts: 2, process: false, ...wish });
  return { metrics, clock, store };
}

/** Samples by their name and labels, as they stand in the text. */
async function scrape(metrics: MasterMetrics): Promise<ReadonlyMap<string, number>> {
  const lines = (await metrics.render()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
}

const call = (host: string, patch: Partial<AgentCall> = {}): AgentCall => ({ hostId: `id-${host}`, hostName: host, outcome: "success", ms: 20, bytesSent: 100, bytesReceived: 50, ...patch });

test("the ledger's numbers are those of the ledger", async () => {
  const { metrics, store } = setUp();
  const host = await placed(store, "web-01");
  await store.transaction(async (tx) => {
    await tx.insertLifecycle(newRow(host));
    await tx.openSession(host.hostId, { bootId: "b", hostBootId: "k", agentVersion: "0.1.0", agentUrl: undefined });
  });
  const seen = await scrape(metrics);
  expect(seen.get('master_hosts{liveness="active"}')).toBe(1);
  expect(seen.get('master_hosts{liveness="unreachable"}')).toBe(0);
  expect(seen.get('master_lifecycle_open{operation="deploy"}')).toBe(1);
  expect(seen.get('master_hosts_agent_version{version="0.1.0"}')).toBe(1);
  expect(seen.get("master_hosts_version_skewed")).toBe(1);
  expect(seen.get("master_scrape_errors_total")).toBe(0);
  expect(seen.get("master_ca_expiry_timestamp_seconds")).toBe(1_800_000_000);
  // Nobody has a certificate: there is no end to tell of, and 0 would be 1970.
  expect(seen.has("master_host_cert_expiry_timestamp_seconds")).toBe(false);
});

test("a state that is over is gone from the next scrape", async () => {
  const { metrics, store, clock } = setUp();
  const { hostId } = await placed(store, "web-01");
  const speak = (agentVersion: string) => store.transaction((tx) => tx.openSession(hostId, { bootId: "b", hostBootId: "k", agentVersion, agentUrl: undefined }));
  await speak("0.1.0");
  expect((await scrape(metrics)).has('master_hosts_agent_version{version="0.1.0"}')).toBe(true);
  await speak("0.3.0");
  clock.advance(10_000);
  const seen = await scrape(metrics);
  expect([seen.has('master_hosts_agent_version{version="0.1.0"}'), seen.get('master_hosts_agent_version{version="0.3.0"}'), seen.get("master_hosts_version_skewed")]).toEqual([false, 1, 0]);
});

/** A ledger that answers as told. */
function ledger(answer: () => Promise<FleetGauges>): MetricsDeps["store"] & { asked: number } {
  const { store } = setUp();
  const told = { asked: 0, poolUse: store.poolUse, fleetGauges: () => {
    told.asked += 1;
    return answer();
  } };
  return told;
}

test("scrapes at the same time ask once, and an answer lasts a few seconds", async () => {
  const { store, clock } = setUp();
  const counted = ledger(() => store.fleetGauges({ lateAfterMs: 1 }));
  const { metrics } = setUp({ store: counted, clock });
  await Promise.all([scrape(metrics), scrape(metrics), scrape(metrics)]);
  await scrape(metrics);
  expect(counted.asked).toBe(1);
  clock.advance(3_000);
  await scrape(metrics);
  expect(counted.asked).toBe(2);
});

test("a database that is away costs the ledger's numbers, and nothing old is told as new", async () => {
  const { store, clock } = setUp();
  let away = false;
  const { metrics } = setUp({ clock, store: ledger(() => (away ? Promise.reject(new SkepError("database_unavailable")) : store.fleetGauges({ lateAfterMs: 1 }))) });
  metrics.onHeartbeat("ok");
  expect((await scrape(metrics)).get("master_hosts_late")).toBe(0);
  away = true;
  clock.advance(10_000);
  const seen = await scrape(metrics);
  expect(seen.get("master_scrape_errors_total")).toBe(1);
  expect([...seen.keys()].filter((key) => /^master_(hosts|lifecycle_open|rollout|host_cert)/.test(key))).toEqual([]);
  expect(seen.get('master_heartbeats_total{result="ok"}')).toBe(1);
  away = false;
  expect((await scrape(metrics)).get('master_hosts{liveness="active"}')).toBe(0);
});

test("a database that says nothing holds no scrape for longer than two seconds, and is not asked again meanwhile", async () => {
  const clock = new ManualClock();
  const silent = ledger(() => new Promise(() => undefined));
  const { metrics } = setUp({ clock, store: silent });
  for (let round = 1; round <= 2; round++) {
    const scraping = scrape(metrics);
    clock.advance(2_000);
    expect((await scraping).get("master_scrape_errors_total")).toBe(round);
  }
  expect(silent.asked).toBe(1);
});

test("hosts beyond the bound are told of together; one that leaves makes room", async () => {
  const { metrics } = setUp();
  for (const host of ["a", "b", "c", "d"]) metrics.onCall(call(host));
  metrics.onCall(call("c", { outcome: "failure", bytesReceived: 0 }));
  const seen = await scrape(metrics);
  expect(seen.get('master_agent_requests_total{host="a",outcome="success"}')).toBe(1);
  expect(seen.get('master_agent_requests_total{host="other",outcome="success"}')).toBe(2);
  expect(seen.get('master_agent_requests_total{host="other",outcome="failure"}')).toBe(1);
  expect(seen.get('master_agent_bytes_total{host="other",direction="sent"}')).toBe(300);
  expect(seen.get("master_metrics_hosts_folded")).toBe(2);
  expect(seen.get("master_agent_request_duration_seconds_count")).toBe(5);
  metrics.forgetHost("id-a");
  metrics.onCall(call("d"));
  const after = await scrape(metrics);
  expect([...after.keys()].filter((key) => key.includes('host="a"'))).toEqual([]);
  expect(after.get('master_agent_requests_total{host="d",outcome="success"}')).toBe(1);
  expect(after.get("master_metrics_hosts_folded")).toBe(1);
});

test("a host that is called other is among the others", () => {
  const labels = createHostLabels(10);
  expect([labels.labelOf("1", "other"), labels.labelOf("2", "web"), labels.folded()]).toEqual(["other", "web", 1]);
});

test("a breaker has a series while it is not closed, and is counted always", async () => {
  const { metrics } = setUp();
  for (const host of ["a", "b", "c"]) metrics.onCall(call(host));
  const turn = (host: string, to: "open" | "half_open" | "closed") => metrics.onTransition({ hostId: `id-${host}`, hostName: host, to });
  turn("a", "open");
  turn("b", "open");
  turn("b", "half_open");
  // Beyond the bound on labels: counted, and no "other" pretends to a state.
  turn("c", "open");
  const seen = await scrape(metrics);
  expect([...seen].filter(([key]) => key.startsWith("master_breaker_state"))).toEqual([['master_breaker_state{host="a"}', 2], ['master_breaker_state{host="b"}', 1]]);
  expect(["open", "half_open", "closed"].map((state) => seen.get(`master_breakers{state="${state}"}`))).toEqual([2, 1, 0]);
  expect(seen.get('master_breaker_transitions_total{to="open"}')).toBe(3);
  for (const host of ["a", "b", "c"]) turn(host, "closed");
  const after = await scrape(metrics);
  expect([...after.keys()].filter((key) => key.startsWith("master_breaker_state"))).toEqual([]);
  expect(["open", "half_open", "closed"].map((state) => after.get(`master_breakers{state="${state}"}`))).toEqual([0, 0, 3]);
});

test("a row that ends is counted once it is committed, and not when it is rolled back", async () => {
  const { store, metrics } = setUp();
  const observed = observedStore(store, metrics);
  const row = newRow(await placed(store, "web-01"));
  await observed.transaction((tx) => tx.insertLifecycle(row));
  const end = async (fail: boolean) => observed.transaction(async (tx) => {
    await tx.casLifecycle({ id: row.id, expectedVersion: 1, status: "cancelled", because: "test" });
    if (fail) throw new Error("rolled back");
  });
  const counted = async () => (await scrape(metrics)).get('master_lifecycle_total{operation="deploy",status="cancelled"}');
  await expect(end(true)).rejects.toThrow("rolled back");
  expect(await counted()).toBe(0);
  await end(false);
  expect(await counted()).toBe(1);
  // The version believed in is gone: nothing ended by this.
  await end(false);
  expect(await counted()).toBe(1);
});

test("two masters in one process count apart", async () => {
  const [one, other] = [setUp().metrics, setUp().metrics];
  one.onDelta("applied");
  expect((await scrape(one)).get('master_deltas_total{result="applied"}')).toBe(1);
  expect((await scrape(other)).get('master_deltas_total{result="applied"}')).toBe(0);
});

test.skipIf("missing" in findPrometheus())("promtool reads what was scraped", async () => {
  const { metrics, store } = setUp();
  await placed(store, "web-01");
  metrics.onCall(call("web-01"));
  metrics.onProbe({ ok: false, ms: 5, error: "no answer" });
  metrics.onSweepRow("lost");
  metrics.onSweep(12);
  metrics.onDispatch("accepted");
  metrics.onHeartbeatCommitted(3);
  metrics.onTransition({ hostId: "id-web-01" as HostId, hostName: "web-01", to: "open" });
  expect(await promtool(["check", "metrics"], { input: await metrics.render() })).toEqual({ code: 0, output: "" });
});
