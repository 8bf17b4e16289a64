/**
 * P8: the sweep's look at its open rows with a long history behind them, and two masters that sweep the same rows. The
 * look is production's query and production's decision; the duplicates are counted in the ledger that two real master
 * processes have written.
 */
import { randomUUID } from "node:crypto";
import { decideSweep, instant, PRODUCTION_POLICY, timingsFor, DEFAULT_HEARTBEAT_INTERVAL_MS } from "@skep/core";
import { createLogger, systemClock, systemRng } from "@skep/runtime";
import { createPostgresStore } from "@skep/store";
import type pg from "pg";
import { judge, spreadOf, type Goal, type Row } from "../report/row.ts";
import { sleep, type Bench } from "../stage/bench.ts";
import { insertDeployment, insertFleet, issueHosts, withClient } from "../stage/fleet-data.ts";

const GOAL: Goal = { kind: "ratio_at_most", limit: 3 };
const GROWTH: Goal = { kind: "at_most", limit: 1.2 };
const NONE: Goal = { kind: "at_most", limit: 0 };
const PAGE = 500;
const HOSTS = 100;
const GIVE_UP_MS = 180_000;
/** Uncounted looks at each size, for the compiler and the caches. */
const WARM_UP = 5;

export async function measureSweep(bench: Bench): Promise<Row[]> {
  const { sweepRows, openRows, rounds } = bench.config.sizes;
  const authority = bench.authority();
  await using database = await bench.database();
  await insertFleet(database.url, { count: HOSTS, placementsEach: 0, issued: issueHosts(authority, HOSTS) });
  await withClient(database.url, (client) => insertOpenRows(client, openRows));
  const medians: number[] = [];
  let last: { value: number[]; reference: number[] } = { value: [], reference: [] };
  for (const total of sweepRows) {
    bench.say(`sweep: ${openRows} open rows among ${total}`);
    await withClient(database.url, (client) => insertHistory(client, total));
    last = await timeLooks(database.url, openRows, rounds * 3);
    medians.push(spreadOf(last.value).median);
  }
  const rows = [
    judge({ name: `P8 sweep's look at ${openRows} open rows among ${sweepRows.at(-1)!.toLocaleString("en-US")}`, unit: "ms", goal: GOAL, ...last, note: `pages of ${PAGE} with host, liveness and inventory, each row judged; reference: the bare partial-index query in the same pages` }),
    judge({ name: `P8 growth of the look from ${sweepRows[0]!.toLocaleString("en-US")} to ${sweepRows.at(-1)!.toLocaleString("en-US")} rows`, unit: "×", goal: GROWTH, value: [medians.at(-1)! / medians[0]!], note: `medians ${medians.map((ms) => ms.toFixed(1)).join(", ")} ms` }),
  ];
  const { ms, duplicates } = await sweepWithTwo(bench, authority, database.url, openRows);
  rows.push(judge({ name: "P8 transitions made twice by two masters", unit: "rows", goal: NONE, value: [duplicates], note: `two master processes (interval 1 s, so that they sweep twice a second) found ${openRows} rows on hosts that are gone and marked each lost; counted in the events; ${(ms / 1_000).toFixed(1)} s from the first change to the last` }));
  return rows;
}

/** Rows that ran into their hosts' silence: running, one per placement, ten placements a deployment. */
async function insertOpenRows(client: pg.Client, count: number): Promise<void> {
  const { rows: hosts } = await client.query<{ id: string }>("SELECT id FROM hosts ORDER BY id");
  await client.query("BEGIN");
  for (let first = 0; first < count; first += 10) {
    const deploymentId = randomUUID();
    const name = `sweep-${first}`;
    await insertDeployment(client, deploymentId, name);
    const placements = Array.from({ length: Math.min(10, count - first) }, () => randomUUID());
    await client.query(
      `WITH made AS (INSERT INTO placements (id, deployment_id, host_id, desired, epoch, generation) SELECT p, $1, h, 'running', 1, 1 FROM unnest($2::uuid[], $3::uuid[]) AS t (p, h) RETURNING id, host_id)
       INSERT INTO lifecycle (id, placement_id, deployment_id, deployment, host_id, operation, status, phase, generation, epoch, timeout_s, dispatch_deadline, sent_at, running_at)
       SELECT gen_random_uuid(), id, $1, $4, host_id, 'deploy', 'running', 'accepted', 1, 1, 86400, now() + interval '1 hour', now(), now() FROM made`,
      [deploymentId, placements, placements.map((_, at) => hosts[(first + at) % hosts.length]!.id), name]);
  }
  await client.query("COMMIT");
}

/** Brings the table to `total` rows with rows that have ended. */
async function insertHistory(client: pg.Client, total: number): Promise<void> {
  await client.query("SET session_replication_role = replica");
  const { rows } = await client.query<{ have: number; placements: number }>("SELECT (SELECT count(*) FROM lifecycle)::int AS have, (SELECT count(*) FROM placements)::int AS placements");
  const { have, placements } = rows[0]!;
  // The modulus is a parameter and not a column: only so can the two be joined by hash.
  await client.query(
    `WITH p AS (SELECT id, deployment_id, host_id, row_number() OVER () - 1 AS nr FROM placements)
     INSERT INTO lifecycle (id, placement_id, deployment_id, deployment, host_id, operation, status, phase, generation, epoch, timeout_s, dispatch_deadline, sent_at, running_at, completed_at)
     SELECT gen_random_uuid(), p.id, p.deployment_id, 'history', p.host_id, 'deploy', 'succeeded', 'working', 1, 1, 600, now(), now(), now(), now()
     FROM generate_series(1, $1::int) AS i JOIN p ON p.nr = i % $2::int`, [Math.max(0, total - have), placements]);
  await client.query("SET session_replication_role = origin");
  await client.query("VACUUM ANALYZE lifecycle");
}

async function timeLooks(url: string, openRows: number, rounds: number): Promise<{ value: number[]; reference: number[] }> {
  const [clock, rng] = [systemClock(), systemRng()];
  const store = await createPostgresStore({ url, clock, rng, logger: createLogger({ level: "error", name: "bench", destination: "stderr" }), applicationName: "bench" });
  const timings = timingsFor(DEFAULT_HEARTBEAT_INTERVAL_MS);
  const look = async (): Promise<number> => {
    let seen = 0;
    for (let after: string | undefined; ; ) {
      const { now, cases } = await store.sweepCases(PAGE, after);
      for (const { row, host, inventory } of cases) {
        decideSweep({ row, hostStatus: host.status, inventory }, instant(now), now, timings, PRODUCTION_POLICY);
        seen += 1;
      }
      if (cases.length < PAGE) return seen;
      after = cases.at(-1)!.row.id;
    }
  };
  try {
    return await withClient(url, async (client) => {
      const bare = async (): Promise<void> => {
        for (let after = "00000000-0000-0000-0000-000000000000"; ; ) {
          const { rows } = await client.query<{ id: string }>(`SELECT * FROM lifecycle WHERE status IN ('pending', 'running', 'lost') AND id > $1 ORDER BY id LIMIT ${PAGE}`, [after]);
          if (rows.length < PAGE) return;
          after = rows.at(-1)!.id;
        }
      };
      for (let round = 0; round < WARM_UP; round++) {
        await bare();
        if ((await look()) !== openRows) throw new Error("the sweep did not see every open row");
      }
      const value: number[] = [];
      const reference: number[] = [];
      for (let round = 0; round < rounds; round++) {
        reference.push(await timed(bare));
        value.push(await timed(look));
      }
      return { value, reference };
    });
  } finally {
    await store.close();
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function sweepWithTwo(bench: Bench, authority: ReturnType<Bench["authority"]>, url: string, openRows: number): Promise<{ readonly ms: number; readonly duplicates: number }> {
  bench.say(`sweep: two masters, ${openRows} rows to mark lost`);
  await withClient(url, async (client) => {
    await client.query("UPDATE hosts SET status = 'unreachable', version = version + 1");
    await client.query("UPDATE host_liveness SET last_heartbeat_at = now() - interval '1 day'");
  });
  const masters = await Promise.all([bench.master(authority, url, 1_000), bench.master(authority, url, 1_000)]);
  try {
    return await withClient(url, async (client) => {
      const started = performance.now();
      for (;;) {
        const { rows } = await client.query<{ open: number }>("SELECT count(*)::int AS open FROM lifecycle WHERE status = 'running'");
        if (rows[0]!.open === 0) break;
        if (performance.now() - started > GIVE_UP_MS) throw new Error(`${rows[0]!.open} rows were still running after ${GIVE_UP_MS} ms`);
        await sleep(200);
      }
      // Two more sweeps of each: a duplicate that comes late is one, too.
      await sleep(1_500);
      const { rows } = await client.query<{ told: number; duplicates: number; ms: number }>(
        `SELECT count(*)::int AS told, coalesce(sum(n - 1), 0)::int AS duplicates, (extract(epoch FROM max(last) - min(first)) * 1000)::float8 AS ms
         FROM (SELECT lifecycle_id, count(*) AS n, min(at) AS first, max(at) AS last FROM events WHERE lifecycle_id IS NOT NULL GROUP BY lifecycle_id) AS per_row`);
      const { told, duplicates, ms } = rows[0]!;
      if (told !== openRows) throw new Error(`${told} of ${openRows} rows were told of`);
      return { ms, duplicates };
    });
  } finally {
    await Promise.all(masters.map((master) => master.stop()));
  }
}
