/**
 * PostgreSQL goes away under a working fleet: stopped for ten seconds and back, then killed five times under load.
 * Meanwhile everybody is told so; nothing acknowledged is lost, nobody is called lost who is not, and nobody helps by hand.
 */
import { join } from "node:path";
import { below, seededRng } from "@skep/core";
import { createLogger, systemClock } from "@skep/runtime";
import { startEmbeddedPostgres, type RunningPostgres } from "@skep/store/server";
import { eventually, seedFromEnv, tempDir } from "@skep/testkit";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Answer } from "../src/harness/api.ts";
import { startFleet, type Agent, type Fleet } from "../src/harness/fleet.ts";
import { createOperators } from "../src/harness/load.ts";
import { allRollouts, allRows, rowsOfRollout, succeeds } from "../src/harness/operations.ts";
import { readStarts, startedTwice } from "../src/harness/starts.ts";
import { ledgerProblems } from "../src/harness/truth.ts";
import { noop } from "../src/harness/workloads.ts";

const AWAY_MS = 10_000;
const KILLS = 5;
/** A change of two hosts takes two waves, and a wave a beat: with fewer names most requests would find one under way. */
const NAMES = Array.from({ length: 12 }, (_, index) => `app-${index + 1}`);
const clock = systemClock();
const dir = tempDir("postgres");
const seed = seedFromEnv();
let database: RunningPostgres;
let fleet: Fleet;
let agents: Agent[];

const startDatabase = (port: number): Promise<RunningPostgres> =>
  startEmbeddedPostgres({ dataDir: join(dir, "data"), clock, port, logger: createLogger({ name: "e2e-postgres", level: "silent", destination: "stderr" }) });

beforeAll(async () => {
  database = await startDatabase(0);
  // Ten seconds away are more than six intervals, after which silence gives a host up whatever it says when asked. Fewer
  // would not show that the master holds its own deafness against nobody; shorter ones make an agent that a busy machine
  // stops for a few seconds truly silent.
  fleet = await startFleet({ dir: join(dir, "fleet"), databaseUrl: database.url, intervalMs: 1_500 });
  agents = [await fleet.addAgent("bee-1"), await fleet.addAgent("bee-2")];
});
afterEach(({ task }) => {
  if (task.result?.state === "fail") console.error(fleet?.tails());
});
afterAll(async () => {
  await fleet?.stop();
  await database?.stop();
});

/** Ends the server as told, lets it be away, at least until it was seen how that is, and starts it at its old address. */
async function awayFor(ms: number, end: () => Promise<void>, meanwhile: () => Promise<void> = async () => undefined): Promise<void> {
  const { port, exited } = database;
  await end();
  await exited;
  await Promise.all([clock.sleep(ms), meanwhile()]);
  database = await startDatabase(port);
}
const events = async (kind: string): Promise<string[]> => (await fleet.api.get(`/v1/events?kind=${kind}&limit=1000`)).items.map((event: any) => `${event.at} ${event.message}`);

test("stopped for ten seconds: 503 and not ready meanwhile, then everything goes on by itself", async () => {
  await succeeds(fleet.api, "/v1/deployments", { name: "before", spec: noop(0), placement: { hosts: ["bee-1", "bee-2"] }, reconcile: "report" });
  const scrape = async (): Promise<{ status: number; text: string }> => {
    const response = await fetch(`${fleet.api.url}/metrics`, { headers: { authorization: `Bearer ${fleet.api.token}` } });
    return { status: response.status, text: await response.text() };
  };
  expect((await scrape()).text).toMatch(/^master_hosts\{liveness="active"\} \d+$/m);
  const { pid } = fleet.master.ready();
  const agentPids = agents.map((agent) => agent.program()!.pid);
  const askMeanwhile = (): Promise<Answer> => fleet.api.post("/v1/deployments", { name: "meanwhile", spec: noop(0), placement: { hosts: ["bee-1"] }, reconcile: "report" }, { "idempotency-key": "meanwhile" });
  const refusal = (): Promise<Answer> => eventually(async (status) => {
    const answer = await askMeanwhile();
    status(`${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.status >= 500 ? answer : undefined;
  }, { what: "the master refuses without its database", timeoutMs: 60_000 });
  let refusing: Promise<Answer> | undefined;
  const stopUnderRequests = (): Promise<void> => {
    refusing = refusal();
    return database.stop();
  };
  await awayFor(AWAY_MS, stopUnderRequests, async () => {
    const refused = (await refusing)!;
    expect(refused).toMatchObject({ status: 503, body: { retryable: true } });
    expect(["database_unavailable", "overloaded"]).toContain(refused.body.code);
    expect(JSON.stringify(refused.body)).not.toContain(database.url);
    expect(await fleet.api.call("GET", "/readyz")).toMatchObject({ status: 503, body: { status: "not_ready" } });
    expect((await fleet.api.call("GET", "/healthz")).status).toBe(200);
    expect((await fleet.api.call("GET", "/v1/hosts")).status).toBe(503);
    // Who watches the master must see it now of all times: all but what only the ledger knows.
    const blind = await eventually(async (status) => {
      const { status: code, text } = await scrape();
      status(`${code} ${text.slice(0, 300)}`);
      return code === 200 && /^master_scrape_errors_total [1-9]/m.test(text) ? { text } : undefined;
    }, { what: "a scrape that says that the ledger could not be read", timeoutMs: 60_000 });
    expect(blind.text).toMatch(/^process_resident_memory_bytes \d+$/m);
    expect(blind.text).not.toMatch(/^master_hosts\{/m);
  });

  await eventually(async () => (await fleet.api.call("GET", "/readyz")).status === 200, { what: "the master is ready again", timeoutMs: 60_000 });
  // The refused request is asked again under its key and is done once.
  const again = await eventually(async (status) => {
    const answer = await askMeanwhile();
    status(`${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.status === 202 ? answer : undefined;
  }, { what: "the same request is accepted", timeoutMs: 60_000 });
  expect(again.body.lifecycle_ids).toHaveLength(1);
  await succeeds(fleet.api, "/v1/deployments/before/redeploy", {});
  expect(fleet.master.ready().pid).toBe(pid);
  expect(fleet.master.running()).toBe(true);
  expect(agents.map((agent) => agent.program()!.pid)).toEqual(agentPids);
  // The master was deaf, not the hosts dead: nobody was demoted by its silence.
  expect(await events("host.unreachable")).toEqual([]);
  expect(await events("lifecycle.lost")).toEqual([]);
  await eventually(async () => (await fleet.api.get("/v1/hosts")).items.every((host: any) => host.status === "active"), { what: "both hosts are active", timeoutMs: 60_000 });
}, 600_000);

test(`killed ${KILLS} times under load: what was promised is there, once, and true`, async () => {
  const rng = seededRng(seed);
  const earlier = new Set((await allRows(fleet.api)).map((row) => row.id));
  const operators = createOperators({ api: () => fleet.api, clock, rng, lanes: 3, deployments: NAMES, hosts: ["bee-1", "bee-2"], spec: (chance) => noop(below(chance, 60), 0) });
  const load = operators.run();
  for (let kill = 0; kill < KILLS; kill++) {
    const enough = operators.promised.length + 5;
    await eventually(() => operators.promised.length >= enough, { what: `work goes on before kill ${kill + 1}`, timeoutMs: 60_000 });
    await clock.sleep(below(rng, 500));
    await awayFor(below(rng, 2_000), async () => void process.kill(database.pid, "SIGKILL"));
  }
  const enough = operators.promised.length + 5;
  await eventually(() => operators.promised.length >= enough, { what: "work goes on after the last kill", timeoutMs: 60_000 });
  operators.stop();
  await load;
  await eventually(async (status) => {
    const open = (await fleet.api.get("/v1/lifecycle?open=true&limit=500")).items;
    const rolling = (await fleet.api.get("/v1/rollouts?open=true&limit=500")).items;
    status(JSON.stringify([open.slice(0, 3), rolling.slice(0, 3)]));
    return open.length === 0 && rolling.length === 0;
  }, { what: "every row is terminal and every rollout has ended", timeoutMs: 120_000 });

  expect(await events("host.unreachable")).toEqual([]);
  expect(await events("lifecycle.lost")).toEqual([]);
  // What was promised: the rows of the answer, and the rollout that opens the rest.
  const rolled = operators.promised.flatMap((promise) => promise.rolloutId ?? []);
  const rollouts = (await allRollouts(fleet.api)).filter((rollout) => rolled.includes(rollout.id));
  expect(rollouts).toHaveLength(rolled.length);
  const promised = [...new Set([...operators.promised.flatMap((promise) => promise.lifecycleIds), ...rollouts.flatMap(rowsOfRollout)])];
  const rows = (await allRows(fleet.api)).filter((row) => !earlier.has(row.id));
  expect(new Set(rows.map((row) => row.id))).toEqual(new Set(promised));
  expect(rows).toHaveLength(promised.length);
  expect(rows.filter((row) => row.status !== "succeeded").map((row) => [row.deployment, row.operation, row.status, row.failure_code, row.because])).toEqual([]);
  expect(startedTwice(agents.flatMap((agent) => readStarts(agent.stateDir)))).toEqual([]);
  await eventually(async (status) => {
    const problems = await ledgerProblems(fleet.api);
    status(problems.join("; "));
    return problems.length === 0;
  }, { what: "what hosts report is what the ledger says", timeoutMs: 60_000 });
  console.log(`seed ${seed}: PostgreSQL killed ${KILLS} times; ${operators.promised.length} operations, ${rows.length} rows, ${operators.retries()} retries`);
}, 600_000);
