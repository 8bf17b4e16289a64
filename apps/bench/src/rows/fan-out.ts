/** P5: one REST call that deploys to every agent, until the ledger holds the last 202. Real TLS to real listeners; only what they do with the job is left out. */
import type { Goal, Row } from "../report/row.ts";
import { judge } from "../report/row.ts";
import { uuidv7 } from "@skep/core";
import { systemClock, systemRng } from "@skep/runtime";
import type pg from "pg";
import { request } from "undici";
import { sleep, type Bench } from "../stage/bench.ts";
import { insertFleet, issueHosts, SPEC, withClient } from "../stage/fleet-data.ts";
import type { Master } from "../stage/master.ts";

const GOAL: Goal = { kind: "ratio_at_least", limit: 0.5 };
const LOOK_EVERY_MS = 10;
const GIVE_UP_MS = 60_000;

export async function measureFanOut(bench: Bench): Promise<Row[]> {
  const { agents: count, rounds } = bench.config.sizes;
  const authority = bench.authority();
  await using database = await bench.database();
  const issued = issueHosts(authority, count);
  const farm = bench.worker("load/farm-main");
  const posts = bench.worker("reference/posts-main");
  let master: Master | undefined;
  try {
    const caPem = authority.authority.certPem;
    const ports = await farm.ask<number[]>("listen", { caPem, agents: issued });
    await insertFleet(database.url, { count, placementsEach: 0, issued: issued.map((host, index) => ({ ...host, agentUrl: `https://127.0.0.1:${ports[index]}` })) });
    const started = await bench.master(authority, database.url);
    master = started;
    bench.say(`fan-out: ${count} listeners, first deploy dials them all`);
    const cold = await deployToAll(started, database.url, "fan-cold", count);
    const { keyPem, certPem } = authority.master();
    await posts.ask("open", { me: { keyPem, certPem }, targets: issued.map((host, index) => ({ host: "127.0.0.1", port: ports[index]!, caPem, trustDomain: authority.authority.trustDomain, expectHost: host.hostId })) });
    const body = JSON.stringify({ operation: "deploy", job_id: uuidv7(systemClock().now(), systemRng()), spec: SPEC });
    const perSecond = (ms: number): number => (count / ms) * 1_000;
    const reference = [perSecond(await posts.ask<number>("round", { body }))];
    const warm: Awaited<ReturnType<typeof deployToAll>>[] = [];
    for (let round = 1; round <= rounds; round++) {
      bench.say(`fan-out: round ${round} of ${rounds}`);
      warm.push(await deployToAll(started, database.url, `fan-${round}`, count));
      reference.push(perSecond(await posts.ask<number>("round", { body })));
    }
    const accepted = warm.map((one) => one.acceptedMs).sort((a, b) => a - b)[Math.floor(warm.length / 2)]!;
    const delivery = warm.map((one) => perSecond(one.totalMs - one.acceptedMs)).sort((a, b) => a - b)[Math.floor(warm.length / 2)]!;
    return [judge({
      name: "P5 deploy fan-out over REST until all 202s are recorded", unit: "agents/s", goal: GOAL, value: warm.map((one) => perSecond(one.totalMs)), reference,
      note: `${count} agents; the REST call itself (plan and ${count} rows in one transaction) takes ${accepted.toFixed(0)} ms of it, delivery alone runs at ${delivery.toFixed(0)}/s; the first deploy, which dials everybody, ${perSecond(cold.totalMs).toFixed(0)}/s; reference: warm keep-alive POSTs of the same spec to the same listeners, 256 at once`,
    })];
  } finally {
    await Promise.all([farm.stop(), posts.stop(), master?.stop()]);
  }
}

/** How the rows stand, for whoever has to find out why. */
async function standing(client: pg.Client, name: string): Promise<string> {
  const { rows } = await client.query<{ words: string }>(
    "SELECT concat_ws(' ', count(*), status, phase, 'attempts', max(dispatch_attempts), max(because)) AS words FROM lifecycle WHERE deployment = $1 GROUP BY status, phase", [name]);
  return rows.map((row) => row.words).join("; ");
}

async function deployToAll(master: Master, databaseUrl: string, name: string, count: number): Promise<{ readonly acceptedMs: number; readonly totalMs: number }> {
  return withClient(databaseUrl, async (client) => {
    const started = performance.now();
    const { statusCode, body } = await request(`${master.apiUrl}/v1/deployments`, {
      method: "POST", headers: { authorization: `Bearer ${master.token}`, "content-type": "application/json" },
      body: JSON.stringify({ name, spec: SPEC, placement: { replicas: count }, reconcile: "report" }), headersTimeout: GIVE_UP_MS,
    });
    const text = await body.text();
    if (statusCode !== 202) throw new Error(`the deploy was answered ${statusCode}: ${text.slice(0, 300)}`);
    const acceptedMs = performance.now() - started;
    for (;;) {
      const { rows } = await client.query<{ count: number }>("SELECT count(*)::int AS count FROM lifecycle WHERE deployment = $1 AND status = 'running'", [name]);
      const totalMs = performance.now() - started;
      if (rows[0]!.count === count) return { acceptedMs, totalMs };
      if (totalMs > GIVE_UP_MS) throw new Error(`after ${GIVE_UP_MS} ms only ${rows[0]!.count} of ${count} deliveries were recorded: ${await standing(client, name)}`);
      await sleep(LOOK_EVERY_MS);
    }
  });
}
