/**
 * P9: what operators ask for all day, as the fleet grows. Latency through the real API; the plans are those of the very
 * statements that the store sends, recorded on their way to the driver.
 */
import { createLogger, systemClock, systemRng } from "@skep/runtime";
import { createPostgresStore } from "@skep/store";
import pg from "pg";
import { Pool } from "undici";
import { judge, spreadOf, type Goal, type Row } from "../report/row.ts";
import type { Bench } from "../stage/bench.ts";
import { growHosts, insertFleet, insertTokens, issueHosts, withClient } from "../stage/fleet-data.ts";

const GOAL: Goal = { kind: "ratio_at_most", limit: 3 };
/** Three statements and fifty judgements where the plain list has one statement. */
const HEALTH_GOAL: Goal = { kind: "ratio_at_most", limit: 6 };
const GROWTH: Goal = { kind: "at_most", limit: 1.2 };
const LIST = "/v1/hosts?status=active&limit=50";
const FLEET = "/v1/fleet/health";
const HEALTH = "/v1/fleet/hosts?limit=50";
const ATTENTION = "/v1/fleet/hosts?sort=attention&limit=50";
/** A look at the whole fleet: few, so that the largest one does not take most of the run. */
const ATTENTION_REQUESTS = 5;
/** The medians at every size are in the note; this is the size that one screen is meant for. */
const ATTENTION_HOSTS = 10_000;
const ATTENTION_GOAL: Goal = { kind: "at_most", limit: 250 };
/** Authentication's one primary-key SELECT through the whole stack, and no other query: the API's own `SELECT 1`. */
const BARE = "/v1/version";
/** Of each request at each size, uncounted: caches, connections and the compiler would be measured instead. */
const WARM_UP = 30;
/** Below the requests per minute of one token. */
const PER_TOKEN = 300;

export async function measureQueries(bench: Bench): Promise<Row[]> {
  const { hosts, requests } = bench.config.sizes;
  const authority = bench.authority();
  await using database = await bench.database();
  await insertFleet(database.url, { count: 10, placementsEach: 1, issued: issueHosts(authority, 10) });
  const tokens = await insertTokens(database.url, Math.ceil((hosts.length * ((requests + WARM_UP) * 4 + ATTENTION_REQUESTS + 1)) / PER_TOKEN));
  const master = await bench.master(authority, database.url);
  const pool = new Pool(master.apiUrl, { connections: 1 });
  let asked = 0;
  const ask = async (path: string): Promise<number> => {
    const token = tokens[Math.floor(asked++ / PER_TOKEN) % tokens.length]!;
    const started = performance.now();
    const { statusCode, body } = await pool.request({ method: "GET", path, headers: { authorization: `Bearer ${token}` } });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`GET ${path} was answered ${statusCode}: ${text.slice(0, 300)}`);
    return performance.now() - started;
  };
  try {
    const seen: { readonly total: number; readonly list: number[]; readonly fleet: number[]; readonly health: number[]; readonly attention: number[]; readonly bare: number[] }[] = [];
    for (const total of hosts) {
      bench.say(`queries: ${total} hosts`);
      await growHosts(database.url, total);
      const sample = { total, list: [] as number[], fleet: [] as number[], health: [] as number[], attention: [] as number[], bare: [] as number[] };
      for (let round = -WARM_UP; round < requests; round++) {
        const [bare, list, fleet, health] = [await ask(BARE), await ask(LIST), await ask(FLEET), await ask(HEALTH)];
        if (round < 0) continue;
        sample.bare.push(bare);
        sample.list.push(list);
        sample.fleet.push(fleet);
        sample.health.push(health);
      }
      for (let round = -1; round < ATTENTION_REQUESTS; round++) {
        const ms = await ask(ATTENTION);
        if (round >= 0) sample.attention.push(ms);
      }
      seen.push(sample);
    }
    const last = seen.at(-1)!;
    const scans = await findSequentialScans(database.url);
    const size = last.total.toLocaleString("en-US");
    const grown = (pick: (sample: (typeof seen)[number]) => number[]): { readonly ratio: number; readonly words: string } => {
      const medians = seen.map((sample) => spreadOf(pick(sample)).median);
      return { ratio: medians.at(-1)! / medians[0]!, words: `p50 ${medians.map((ms, at) => `${ms.toFixed(2)} ms at ${hosts[at]!.toLocaleString("en-US")}`).join(", ")}` };
    };
    const [list, fleet, health, attention] = [grown((sample) => sample.list), grown((sample) => sample.fleet), grown((sample) => sample.health), grown((sample) => sample.attention)];
    const screen = seen.filter((sample) => sample.total <= ATTENTION_HOSTS).at(-1)!;
    const reference = "reference: GET /v1/version, whose only query is authentication's primary-key SELECT";
    return [
      judge({ name: `P9 GET ${LIST} at ${size} hosts, p50`, unit: "ms", goal: GOAL, value: last.list, reference: last.bare, note: `${planWords(scans.list)}; ${reference}` }),
      judge({ name: "P9 growth of the list's p50 over 100× the hosts", unit: "×", goal: GROWTH, value: [list.ratio], note: list.words }),
      judge({ name: `P9 GET ${FLEET} at ${size} hosts, p50`, unit: "ms", goal: GOAL, value: last.fleet, reference: last.bare, note: `${planWords(scans.fleet)}; it counts all hosts by status; ${fleet.words}` }),
      judge({ name: `P9 GET ${HEALTH} at ${size} hosts, p50`, unit: "ms", goal: HEALTH_GOAL, value: last.health, reference: last.bare, note: `${planWords(scans.health)}; 50 hosts judged, with their certificates and placements` }),
      judge({ name: "P9 growth of the health list's p50 over 100× the hosts", unit: "×", goal: GROWTH, value: [health.ratio], note: health.words }),
      judge({ name: `P9 GET ${ATTENTION} at ${screen.total.toLocaleString("en-US")} hosts, p50`, unit: "ms", goal: ATTENTION_GOAL, value: screen.attention, note: `a fleet of which nothing is to be said, apart from ten hosts' placements that nobody reports; ${attention.words}` }),
    ];
  } finally {
    await pool.close();
    await master.stop();
  }
}

const planWords = (scanned: readonly string[]): string => (scanned.length === 0 ? "EXPLAIN shows no sequential scan of a table that grows" : `EXPLAIN shows a sequential scan of ${scanned.join(", ")}`);

interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

async function findSequentialScans(url: string): Promise<{ readonly list: string[]; readonly fleet: string[]; readonly health: string[] }> {
  const store = await createPostgresStore({ url, clock: systemClock(), rng: systemRng(), logger: createLogger({ level: "error", name: "bench", destination: "stderr" }), applicationName: "bench" });
  try {
    const list = await recordStatements(() => store.listHosts({ status: "active", limit: 51 }));
    const fleet = await recordStatements(() => store.fleetCounts());
    const health = await recordStatements(async () => {
      const ids = (await store.listHosts({ limit: 51, live: true, byName: {} })).map((view) => view.host.id);
      await Promise.all([store.listPresentCerts(ids), store.listPlacementFacts(ids)]);
    });
    return await withClient(url, async (client) => ({ list: await scannedBy(client, list), fleet: await scannedBy(client, fleet), health: await scannedBy(client, health) }));
  } finally {
    await store.close();
  }
}

/** What the driver is asked while `work` runs. The driver's own method is put back afterwards. */
async function recordStatements(work: () => Promise<unknown>): Promise<Statement[]> {
  const statements: Statement[] = [];
  const own = pg.Client.prototype.query;
  pg.Client.prototype.query = function (this: pg.Client, query: { text?: string; values?: unknown[] } | string, values?: unknown[], ...rest: never[]) {
    const text = typeof query === "string" ? query : query.text;
    if (text !== undefined) statements.push({ text, values: (Array.isArray(values) ? values : typeof query === "string" ? undefined : query.values) ?? [] });
    return (own as (...all: unknown[]) => unknown).call(this, query, values, ...rest);
  } as typeof own;
  try {
    await work();
  } finally {
    pg.Client.prototype.query = own;
  }
  return statements.filter(({ text }) => /^\s*(select|with)\b/i.test(text));
}

interface Plan {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly Plans?: readonly Plan[];
}

/** Tables that are read whole and have more than a page of rows: of a table with one row there is no better way. */
async function scannedBy(client: pg.Client, statements: readonly Statement[]): Promise<string[]> {
  if (statements.length === 0) throw new Error("no statement was recorded");
  const found = new Set<string>();
  const walk = (plan: Plan): void => {
    if (plan["Node Type"] === "Seq Scan" && plan["Relation Name"] !== undefined) found.add(plan["Relation Name"]);
    plan.Plans?.forEach(walk);
  };
  for (const { text, values } of statements) {
    const { rows } = await client.query<{ "QUERY PLAN": readonly { readonly Plan: Plan }[] }>(`EXPLAIN (FORMAT JSON) ${text}`, [...values]);
    walk(rows[0]!["QUERY PLAN"][0]!.Plan);
  }
  const { rows } = await client.query<{ relname: string }>("SELECT relname FROM pg_class WHERE relname = ANY($1) AND relpages > 1", [[...found]]);
  return rows.map((row) => row.relname);
}
