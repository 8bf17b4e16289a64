/**
 * METRICS: what one scrape of a master costs, with the bound on host labels as it is by default and with a label for
 * every host. The hosts' counters come about as in production: the master is told to ask every host.
 */
import { Pool } from "undici";
import { judge, type Goal, type Row } from "../report/row.ts";
import { sleep, type Bench } from "../stage/bench.ts";
import { growHosts, insertFleet, issueHosts } from "../stage/fleet-data.ts";

/** A twentieth of Prometheus' own time-out; and of the event loop, since nothing else runs while it is rendered. */
const GOAL: Goal = { kind: "at_most", limit: 500 };
const QUERY: Goal = { kind: "at_most", limit: 100 };
const SCRAPES = 20;
const COLD_SCRAPES = 5;
/** Longer than the ledger's numbers are kept. */
const COLD_MS = 3_200;

export async function measureMetrics(bench: Bench): Promise<Row[]> {
  const { scrapedHosts } = bench.config.sizes;
  const authority = bench.authority();
  await using database = await bench.database();
  await insertFleet(database.url, { count: 10, placementsEach: 1, issued: issueHosts(authority, 10) });
  await growHosts(database.url, scrapedHosts);
  const rows: Row[] = [];
  let token = "";
  for (const labels of [undefined, scrapedHosts]) {
    bench.say(`metrics: ${scrapedHosts} hosts, ${labels ?? "the default's"} labels`);
    const master = await bench.master(authority, database.url, undefined, labels === undefined ? {} : { SKEP_METRICS_MAX_HOSTS: String(labels) });
    const pool = new Pool(master.apiUrl, { connections: 1 });
    // Only the first master of a database makes one.
    if (master.token !== "") token = master.token;
    const headers = { authorization: `Bearer ${token}` };
    const scrape = async (): Promise<{ readonly ms: number; readonly text: string }> => {
      const started = performance.now();
      const { statusCode, body } = await pool.request({ method: "GET", path: "/metrics", headers });
      const text = await body.text();
      if (statusCode !== 200) throw new Error(`GET /metrics was answered ${statusCode}: ${text.slice(0, 300)}`);
      return { ms: performance.now() - started, text };
    };
    try {
      const checked = await pool.request({ method: "POST", path: "/v1/hosts/check", headers: { ...headers, "content-type": "application/json" }, body: "{}" });
      await checked.body.dump();
      const { text } = await scrape();
      const warm: number[] = [];
      for (let round = 0; round < SCRAPES; round++) warm.push((await scrape()).ms);
      const cold: number[] = [];
      for (let round = 0; round < COLD_SCRAPES; round++) {
        await sleep(COLD_MS);
        cold.push((await scrape()).ms);
      }
      const size = `${(Buffer.byteLength(text) / 1_024).toFixed(0)} KiB, ${text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length} samples`;
      const words = labels === undefined ? "the default bound on host labels (1,000)" : "a label for every host";
      rows.push(judge({ name: `METRICS scrape at ${scrapedHosts.toLocaleString("en-US")} hosts, ${words}`, unit: "ms", goal: GOAL, value: warm, note: `${size}; the ledger's numbers from memory` }));
      if (labels === undefined) rows.push(judge({ name: `METRICS the same, with a look at the ledger`, unit: "ms", goal: QUERY, value: cold, note: "one statement, asked at most every 3 s however many scrape" }));
    } finally {
      await pool.close();
      await master.stop();
    }
  }
  return rows;
}
