/**
 * P15: one master probes a fleet of which one host in twenty takes the connection and never answers. Real TLS to real listeners; how
 * late a result is comes from the database's own times: when it was due, and when it was on record.
 */
import { issueHosts, insertFleet, withClient } from "../stage/fleet-data.ts";
import { sleep, type Bench } from "../stage/bench.ts";
import type { Master } from "../stage/master.ts";
import { judge, type Goal, type Row } from "../report/row.ts";

const LATE: Goal = { kind: "at_most", limit: 1_000 };
const HANGING_ONE_IN = 20;
const LOOK_EVERY_MS = 250;

interface Seen {
  readonly id: string;
  readonly due: number;
  readonly probed: number | null;
}

export async function measureProbing(bench: Bench): Promise<Row[]> {
  const { probedHosts: count, probeIntervalMs: intervalMs, probePeriods: periods } = bench.config.sizes;
  const authority = bench.authority();
  await using database = await bench.database();
  const issued = issueHosts(authority, count);
  const farm = bench.worker("load/farm-main");
  let master: Master | undefined;
  try {
    bench.say(`probing: ${count} listeners`);
    const ports = await farm.ask<number[]>("listen", { caPem: authority.authority.certPem, agents: issued, hangOneIn: HANGING_ONE_IN });
    await insertFleet(database.url, { count, placementsEach: 0, issued: issued.map((host, index) => ({ ...host, agentUrl: `https://127.0.0.1:${ports[index]}` })) });
    // As a fleet that is being probed already: the times are spread over an interval.
    await withClient(database.url, (client) => client.query("INSERT INTO host_reachability (host_id, due_at) SELECT id, now() + interval '3 seconds' + random() * $1 * interval '1 millisecond' FROM hosts", [intervalMs]));
    master = await bench.master(authority, database.url, intervalMs);
    bench.say(`probing: ${periods} intervals of ${intervalMs / 1_000} s`);
    const answering = new Set(issued.filter((_, index) => index % HANGING_ONE_IN !== 0).map((host) => host.hostId));
    const lateness = await watch(database.url, answering, (periods + 1) * intervalMs);
    lateness.sort((a, b) => a - b);
    const at = (share: number): number => lateness[Math.min(lateness.length - 1, Math.floor(lateness.length * share))] ?? Number.NaN;
    return [judge({
      name: `P15 probing ${count.toLocaleString("en")} hosts of which 5 % hang: the latest result of one that answers`, unit: "ms", goal: LATE, value: [at(1)],
      note: `${lateness.length} results of ${answering.size} hosts over ${periods} intervals of ${intervalMs / 1_000} s, p50 ${at(0.5).toFixed(0)} ms and p99 ${at(0.99).toFixed(0)} ms after they were due; ${(lateness.length / answering.size).toFixed(1)} results per host; the first ones dial`,
    })];
  } finally {
    await Promise.all([farm.stop(), master?.stop()]);
  }
}

/** How many ms after its time each result was on record. */
async function watch(url: string, hosts: ReadonlySet<string>, forMs: number): Promise<number[]> {
  const last = new Map<string, Seen>();
  const claimed = new Map<string, number>();
  const lateness: number[] = [];
  await withClient(url, async (client) => {
    const started = performance.now();
    while (performance.now() - started < forMs) {
      const { rows } = await client.query<Seen>("SELECT host_id AS id, extract(epoch FROM due_at)::float8 * 1000 AS due, extract(epoch FROM last_probe_at)::float8 * 1000 AS probed FROM host_reachability");
      for (const row of rows.filter(({ id }) => hosts.has(id))) {
        const was = last.get(row.id);
        last.set(row.id, row);
        // A claim moves the time on; the result that follows belongs to the time it moved from.
        if (was !== undefined && was.due !== row.due) claimed.set(row.id, was.due);
        const due = claimed.get(row.id);
        if (row.probed !== (was?.probed ?? null) && row.probed !== null && due !== undefined) lateness.push(row.probed - due);
      }
      await sleep(LOOK_EVERY_MS);
    }
  });
  return lateness;
}
