/** P6: an agent's last word on a job, from the wire to a reader of the event stream: row terminal, event committed, frame received. */
import { randomUUID } from "node:crypto";
import type { Row } from "../report/row.ts";
import { judge, type Goal } from "../report/row.ts";
import { request } from "undici";
import type pg from "pg";
import { beatBody } from "../load/beat-body.ts";
import { openConnection } from "../load/connection.ts";
import type { Bench } from "../stage/bench.ts";
import { insertDeployment, insertFleet, issueHosts, withClient } from "../stage/fleet-data.ts";

/** The window of the group commit; a delta does not wait for it, so the target grants more than is used. */
const WINDOW_MS = 20;
const GOAL: Goal = { kind: "ratio_at_most", limit: 3, plus: WINDOW_MS };

export async function measureDelta(bench: Bench): Promise<Row[]> {
  const count = bench.config.sizes.deltas;
  const authority = bench.authority();
  await using database = await bench.database();
  const agents = await insertFleet(database.url, { count, placementsEach: 0, issued: issueHosts(authority, count) });
  const jobs = await withClient(database.url, (client) => insertRunningJobs(client, agents.map((agent) => agent.hostId)));
  const master = await bench.master(authority, database.url);
  try {
    bench.say(`deltas: ${count}, one at a time`);
    const stream = await followEvents(master.apiUrl, master.token);
    const roundTrip = await openRoundTrip(database.url);
    const value: number[] = [];
    const reference: number[] = [];
    for (const [index, agent] of agents.entries()) {
      const job = jobs[index]!;
      const connection = await openConnection({ host: "127.0.0.1", port: master.swarmPort, trustDomain: authority.authority.trustDomain, caPem: authority.authority.certPem }, agent);
      await connection.post("/swarm/heartbeat", beatBody(agent, 1, 1));
      const delta = { delta_id: randomUUID(), job_id: job.id, placement_id: job.placementId, deployment: job.deployment, operation: "deploy", status: "succeeded", generation: 1, epoch: 1 };
      const seen = stream.waitFor(job.id);
      const sent = performance.now();
      const reply = await connection.post("/swarm/heartbeat", beatBody(agent, 2, 1, [delta]));
      if (reply.status !== 200 && reply.status !== 204) throw new Error(`a delta was answered ${reply.status}: ${reply.body.slice(0, 300)}`);
      value.push((await seen) - sent);
      reference.push(await roundTrip.once());
      connection.close();
    }
    stream.close();
    await roundTrip.close();
    return [judge({ name: "P6 delta on the wire until its event is at a client, p50", unit: "ms", goal: GOAL, value, reference, note: `${count} deltas, one at a time; median of all, min and max are single deltas; reference: INSERT + NOTIFY in one statement, until the listener hears of it. A delta is urgent and does not wait for the group-commit window (${WINDOW_MS} ms)` })];
  } finally {
    await master.stop();
  }
}

/** One deployment, placement and running row per host, as they are between a 202 and its delta. */
async function insertRunningJobs(client: pg.Client, hostIds: readonly string[]): Promise<{ readonly id: string; readonly placementId: string; readonly deployment: string }[]> {
  const jobs = [];
  await client.query("BEGIN");
  for (const [index, hostId] of hostIds.entries()) {
    const [id, placementId, deploymentId, deployment] = [randomUUID(), randomUUID(), randomUUID(), `delta-${index}`];
    await insertDeployment(client, deploymentId, deployment);
    await client.query("INSERT INTO placements (id, deployment_id, host_id, desired, epoch, generation) VALUES ($1, $2, $3, 'running', 1, 1)", [placementId, deploymentId, hostId]);
    await client.query(
      `INSERT INTO lifecycle (id, placement_id, deployment_id, deployment, host_id, operation, status, phase, generation, epoch, timeout_s, dispatch_deadline, sent_at, running_at)
       VALUES ($1, $2, $3, $4, $5, 'deploy', 'running', 'accepted', 1, 1, 600, now() + interval '1 hour', now(), now())`, [id, placementId, deploymentId, deployment, hostId]);
    jobs.push({ id, placementId, deployment });
  }
  await client.query("COMMIT");
  return jobs;
}

interface EventStream {
  /** Resolves with the moment at which the row's success arrived. */
  waitFor(lifecycleId: string): Promise<number>;
  close(): void;
}

async function followEvents(apiUrl: string, token: string): Promise<EventStream> {
  const stop = new AbortController();
  const { statusCode, body } = await request(`${apiUrl}/v1/events`, { headers: { authorization: `Bearer ${token}`, accept: "text/event-stream" }, signal: stop.signal, bodyTimeout: 0 });
  if (statusCode !== 200) throw new Error(`the event stream was answered ${statusCode}`);
  const waiting = new Map<string, (at: number) => void>();
  let text = "";
  body.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const frame = text.slice(0, end);
      text = text.slice(end + 2);
      if (!frame.includes("event: lifecycle.succeeded")) continue;
      for (const [id, resolve] of waiting) if (frame.includes(id)) resolve(performance.now());
    }
  });
  // The abort at the end is an error to the stream and none to us.
  body.on("error", () => undefined);
  return { waitFor: (id) => new Promise((resolve) => waiting.set(id, resolve)), close: () => stop.abort() };
}

async function openRoundTrip(url: string): Promise<{ once(): Promise<number>; close(): Promise<void> }> {
  const { default: driver } = await import("pg");
  const [listener, writer] = [new driver.Client({ connectionString: url }), new driver.Client({ connectionString: url })];
  await Promise.all([listener.connect(), writer.connect()]);
  await writer.query("CREATE TABLE round_trips (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())");
  await listener.query("LISTEN round_trips");
  return {
    once: async () => {
      const heard = new Promise<number>((resolve) => listener.once("notification", () => resolve(performance.now())));
      const sent = performance.now();
      await writer.query("WITH made AS (INSERT INTO round_trips DEFAULT VALUES RETURNING id) SELECT pg_notify('round_trips', id::text) FROM made");
      return (await heard) - sent;
    },
    close: async () => void (await Promise.all([listener.end(), writer.end()])),
  };
}
