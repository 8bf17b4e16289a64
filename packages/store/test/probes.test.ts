/** What only several clients at once show of the prober's claims and results, and what only a real table of times does. */
import type { HostId, Reachability, Store } from "@skep/core";
import { runSql } from "@skep/store/server";
import { eventually } from "@skep/testkit";
import { useDatabase } from "@skep/testkit/vitest";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { idAt } from "./fill.ts";
import { openStore } from "./open-store.ts";

const HOSTS = 300;
const PERIOD_MS = 30_000;
const database = useDatabase();
let stores: Store[];

beforeAll(async () => {
  stores = await Promise.all([1, 2, 3].map(() => openStore(database.url)));
  await stores[0]!.transaction(async (tx) => {
    for (let index = 1; index <= HOSTS; index++) {
      await tx.insertHost({ id: idAt<HostId>(index), name: `h${index}`, labels: {}, notes: undefined, address: "10.0.0.1", agentPort: 8444, allowedCidr: undefined });
      await tx.casHostStatus(idAt<HostId>(index), "pending", "active", "test");
    }
  });
});
afterAll(() => Promise.all(stores.map((store) => store.close())));
const dueAgo = (ms: number): Promise<unknown> => runSql(database.url, `UPDATE host_reachability SET due_at = now() - ${ms} * interval '1 millisecond'`);
/** The database's time in seconds, as text: what later times are compared with, however slow the test is. */
const secondsNow = async (): Promise<string> => String((await runSql(database.url, "SELECT extract(epoch FROM now())::text AS now"))[0]!["now"]);
beforeEach(() => dueAgo(1_000));

/** Until nothing is left, as so many masters at once would. */
async function claimAll(limit: number): Promise<HostId[]> {
  const claimed: HostId[] = [];
  await Promise.all(stores.map(async (store) => {
    // A claim may find nothing because others hold everything for a moment: three such in a row are the end.
    for (let empty = 0; empty < 3;) {
      const hosts = await store.claimProbes("answering", limit, PERIOD_MS);
      claimed.push(...hosts.map((host) => host.id));
      empty = hosts.length === 0 ? empty + 1 : 0;
    }
  }));
  return claimed;
}

test("three masters claim every host, none twice", async () => {
  const claimed = await claimAll(20);
  expect(claimed).toHaveLength(HOSTS);
  expect(new Set(claimed).size).toBe(HOSTS);
});

test("the next time is one period after the last, within a tenth, however late the claim came", async () => {
  await dueAgo(10_000);
  const [{ due }] = await runSql(database.url, "SELECT extract(epoch FROM min(due_at))::text AS due FROM host_reachability") as [{ due: string }];
  await claimAll(1_000);
  const [spread] = await runSql(database.url, `SELECT min(extract(epoch FROM due_at) - ${due})::float8 AS least, max(extract(epoch FROM due_at) - ${due})::float8 AS most FROM host_reachability`) as { least: number; most: number }[];
  expect(spread!.least).toBeGreaterThanOrEqual(27 - 0.001);
  expect(spread!.most).toBeLessThanOrEqual(33 + 0.001);
  expect(spread!.most - spread!.least).toBeGreaterThan(4);
});

test("after a standstill nobody is claimed, and everybody is spread over the next period", async () => {
  await dueAgo(PERIOD_MS);
  const before = await secondsNow();
  // In one statement, whatever its limit.
  expect(await stores[0]!.claimProbes("answering", 1, PERIOD_MS)).toEqual([]);
  const after = await secondsNow();
  const [range] = await runSql(database.url, `SELECT min(extract(epoch FROM due_at) - ${before})::float8 AS least, max(extract(epoch FROM due_at) - ${after})::float8 AS most FROM host_reachability`) as { least: number; most: number }[];
  expect(range!.least).toBeGreaterThanOrEqual(0);
  expect(range!.most).toBeLessThanOrEqual(30);
  const thirds = await runSql(database.url, `SELECT width_bucket(extract(epoch FROM due_at - (SELECT min(due_at) FROM host_reachability))::float8, 0, 30.001, 3) AS third, count(*)::int AS hosts FROM host_reachability GROUP BY 1 ORDER BY 1`) as { third: number; hosts: number }[];
  expect(thirds.map((one) => one.third)).toEqual([1, 2, 3]);
  for (const { hosts } of thirds) expect(hosts).toBeGreaterThan(HOSTS / 6);
});

test("a claim waits for nobody who is just writing a result", async () => {
  const busy = idAt<HostId>(5);
  await stores[1]!.transaction(async (tx) => {
    await tx.lockReachability([busy]);
    const claimed = (await stores[0]!.claimProbes("answering", 1_000, PERIOD_MS)).map((host) => host.id);
    expect(claimed).toHaveLength(HOSTS - 1);
    expect(claimed).not.toContain(busy);
  });
});

test("results lock their hosts in the order of the ids, whatever order they come in", async () => {
  const ids = Array.from({ length: HOSTS }, (_, index) => idAt<HostId>(index + 1));
  let waiting: Promise<unknown> = Promise.resolve();
  await stores[1]!.transaction(async (tx) => {
    await tx.lockReachability([idAt(50)]);
    waiting = stores[0]!.transaction((other) => other.lockReachability(ids.toReversed()));
    // It has come as far as the one that is taken, and nobody behind that one is locked yet.
    await eventually(async (status) => {
      const free = await runSql(database.url, "SELECT host_id FROM host_reachability ORDER BY host_id FOR UPDATE SKIP LOCKED") as { host_id: HostId }[];
      status(`${free.length} are free`);
      return free.length === HOSTS - 50 && free[0]!.host_id === idAt(51);
    }, { what: "the first 50 are locked" });
  });
  expect(await waiting).toHaveLength(HOSTS);
});

test("groups of the same hosts in opposite orders do not deadlock, and every result is built on the one before", async () => {
  const ids = Array.from({ length: 100 }, (_, index) => idAt<HostId>(index + 1));
  const fail = (store: Store, order: readonly HostId[]): Promise<void> => store.transaction(async (tx) => {
    const records = await tx.lockReachability(order);
    const written = await tx.casReachability(records.map((record) => ({ ...record, consecutiveFailures: record.consecutiveFailures + 1 })));
    expect(written).toHaveLength(ids.length);
  }, { pool: "background" });
  for (let round = 0; round < 10; round++) await Promise.all([fail(stores[0]!, ids), fail(stores[1]!, ids.toReversed()), fail(stores[2]!, ids)]);
  const views = await stores[0]!.listHosts({ limit: 100 });
  expect(views.map((view) => view.reachability!.consecutiveFailures)).toEqual(ids.map(() => 30));
});

test("of two that believed the same record one is written", async () => {
  const read = async (): Promise<Reachability> => (await stores[0]!.findHostView(idAt(7)))!.reachability!;
  const before = await read();
  const written = await Promise.all(stores.map((store) => store.transaction((tx) => tx.casReachability([{ ...before, state: "unreachable" }]))));
  expect(written.flat()).toHaveLength(1);
  expect((await read()).version).toBe(before.version + 1);
});
