/**
 * Two masters on one database: both dispatch, both sweep, both are asked, either is killed. Every effect happens once,
 * every transition is told once, and an agent finds the master that lives.
 */
import { below, seededRng } from "@skep/core";
import { systemClock } from "@skep/runtime";
import { runSql, withConnection, type RunSql } from "@skep/store/server";
import { eventually, seedFromEnv } from "@skep/testkit";
import { expect, test } from "vitest";
import { specHash } from "@skep/runtime";
import type { Api } from "../src/harness/api.ts";
import { setMasters, type Agent, type Fleet, type MasterReady, type Member } from "../src/harness/fleet.ts";
import { authorityOf, forgeMaster } from "../src/harness/forge.ts";
import { createOperators } from "../src/harness/load.ts";
import { accepted, allRollouts, allRows, ended, isForSilence, rowsOfRollout, succeeds, type Row } from "../src/harness/operations.ts";
import { ask } from "../src/harness/plain-https.ts";
import { readStarts, startedTwice } from "../src/harness/starts.ts";
import { ledgerProblems } from "../src/harness/truth.ts";
import { noop } from "../src/harness/workloads.ts";
import { useFleet } from "./kit/use-fleet.ts";

const KILLS = 8;
const clock = systemClock();
const seed = seedFromEnv();
let second: Member & { ready(): MasterReady; api: Api };
let agents: Agent[];
const site = useFleet("two-masters", { intervalMs: 500 }, async (fleet) => {
  second = await fleet.addMaster();
  agents = [await fleet.addAgent("bee-1"), await fleet.addAgent("bee-2")];
  const urls = [fleet.master.ready().swarm_url, second.ready().swarm_url];
  // One prefers the first master, one the second.
  for (const [index, agent] of agents.entries()) {
    await setMasters(agent.identityDir, index === 0 ? urls : [...urls].reverse());
    agent.program()!.kill("SIGHUP");
  }
});

/** What was told more than once though it can happen only once. */
const toldTwice = (fleet: Fleet): Promise<unknown[]> =>
  runSql(fleet.databaseUrl, "SELECT lifecycle_id, kind, count(*)::int AS times FROM events WHERE kind IN ('lifecycle.succeeded', 'lifecycle.failed', 'lifecycle.cancelled', 'lifecycle.superseded') GROUP BY 1, 2 HAVING count(*) > 1");
/** The events of these kinds about one host or row, in the order they were told. */
const told = async (fleet: Fleet, kinds: readonly string[], column: "host_id" | "lifecycle_id", id: string): Promise<string[]> =>
  (await runSql(fleet.databaseUrl, `SELECT kind FROM events WHERE kind = ANY($1) AND ${column} = $2 ORDER BY id`, [kinds, id])).map((row) => String(row["kind"]));
/** How often it was told, provided that between two times there was an end to it: a busy machine may silence a host more than once. */
const timesInTurn = (kinds: readonly string[], kind: string): number => {
  expect(kinds.filter((one, index) => one === kind && kinds[index - 1] === kind), kinds.join(", ")).toEqual([]);
  return kinds.filter((one) => one === kind).length;
};

/** A deploy is asked for under one key until it is accepted: nobody waits for a lock for longer than two seconds, and a host may be late with its beat. */
async function acceptedOnce(api: Api, body: object): Promise<string[]> {
  const key = crypto.randomUUID();
  const answer = await eventually(async (status) => {
    const seen = await api.post("/v1/deployments", body, { "idempotency-key": key });
    status(`${seen.status} ${JSON.stringify(seen.body)}`);
    return seen.status === 503 || isForSilence(seen) ? undefined : seen;
  }, { what: "the deploy is accepted", timeoutMs: 60_000 });
  expect(answer.status, JSON.stringify(answer.body)).toBe(202);
  return answer.body.lifecycle_ids;
}

test("a job delivered forty times at once is started once, and told the same each time", async () => {
  const { fleet } = site;
  const authority = await authorityOf(fleet);
  const spec = { driver: "noop" as const, components: [{ name: "one", command: [], env: {}, ports: [], restart: { policy: "always" as const }, depends_on: [], stop_timeout_s: 1 }] };
  const command = { job_id: crypto.randomUUID(), placement_id: crypto.randomUUID(), deployment: "echo", epoch: 1, generation: 1, timeout_s: 60, spec, spec_hash: specHash(spec) };
  const credential = forgeMaster(authority);
  const answers = await Promise.all(Array.from({ length: 40 }, () => ask(`${agents[0]!.agentUrl()}/deploy`, command, { caPem: authority.certPem, credential })));
  expect(answers.map((answer) => answer.status)).toEqual(Array(40).fill(202));
  expect(answers.filter((answer) => answer.json.duplicate === false)).toHaveLength(1);
  await eventually(() => readStarts(agents[0]!.stateDir).length > 0, { what: "it was started", timeoutMs: 60_000 });
  await ask(`${agents[0]!.agentUrl()}/deploy`, command, { caPem: authority.certPem, credential });
  expect(readStarts(agents[0]!.stateDir).filter((start) => start.job === command.job_id)).toHaveLength(1);
  // Nobody placed it: the ledger is told of an orphan, and lets it be.
  await eventually(async () => (await fleet.api.get("/v1/events?kind=placement.orphan")).items.length > 0, { what: "the orphan is told of", timeoutMs: 60_000 });
  expect((await ask(`${agents[0]!.agentUrl()}/teardown`, { ...command, job_id: crypto.randomUUID(), generation: 2 }, { caPem: authority.certPem, credential })).status).toBe(202);
});

test("a deploy that waited behind the end of a teardown makes a new deployment", async () => {
  const { fleet } = site;
  await succeeds(fleet.api, "/v1/deployments", { name: "phoenix", spec: noop(0), placement: { hosts: ["bee-1"] }, reconcile: "report" });
  await succeeds(fleet.api, "/v1/deployments/phoenix/teardown", {});
  const [old] = (await fleet.api.get("/v1/deployments?include_deleted=true&limit=500")).items.filter((item: any) => item.name === "phoenix");
  expect(old).toMatchObject({ status: "torn_down" });
  /** Server processes that wait for a lock of this one: masters' own loops wait for others, and some for this one. */
  const waitingFor = async (pid: number): Promise<number[]> => (await runSql(fleet.databaseUrl, "SELECT pid FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))", [pid])).map((row) => Number(row["pid"]));
  const pidOf = async (run: RunSql): Promise<number> => Number((await run("SELECT pg_backend_pid() AS pid"))[0]!["pid"]);
  const ids = await withConnection(fleet.databaseUrl, (holder) => withConnection(fleet.databaseUrl, async (reviver) => {
    const [holderPid, reviverPid] = [await pidOf(holder), await pidOf(reviver)];
    // As it stood a moment before its last row ended: still live, with its lock in somebody's hands. The holder queues
    // for the lock before the revival can be seen, or a master that looks in between ends the deployment first.
    await reviver("BEGIN");
    await reviver("UPDATE deployments SET deleted_at = NULL, status = 'tearing_down' WHERE id = $1", [old.id]);
    await holder("BEGIN");
    const held = holder("SELECT 1 FROM deployments WHERE id = $1 FOR UPDATE", [old.id]);
    await eventually(async () => (await waitingFor(reviverPid)).includes(holderPid), { what: "the holder is next in line", timeoutMs: 60_000 });
    await reviver("COMMIT");
    await held;
    const others = await waitingFor(holderPid);
    const request = acceptedOnce(second.api, { name: "phoenix", spec: noop(0), placement: { hosts: ["bee-1"] }, replace: true, reconcile: "report" });
    await eventually(async () => (await waitingFor(holderPid)).some((pid) => !others.includes(pid)), { what: "the deploy waits for the lock", timeoutMs: 60_000 });
    await holder("UPDATE deployments SET deleted_at = now(), status = 'torn_down', version = version + 1 WHERE id = $1", [old.id]);
    await holder("COMMIT");
    return request;
  }));
  const [row] = await ended(fleet.api, ids);
  expect(row).toMatchObject({ status: "succeeded" });
  const present = await fleet.api.get("/v1/deployments/phoenix");
  expect(present.id).not.toBe(old.id);
  await eventually(async () => (await fleet.api.get("/v1/deployments/phoenix")).status === "active", { what: "the new one is active", timeoutMs: 60_000 });
  expect(await fleet.api.get(`/v1/deployments/${old.id}`)).toMatchObject({ status: "torn_down", desired: "absent" });
});

test(`operators at both, ${KILLS} kills among them: each effect once, each transition told once`, async () => {
  const { fleet } = site;
  const rng = seededRng(seed);
  const earlier = new Set((await allRows(fleet.api)).map((row) => row.id));
  const operators = createOperators({ api: () => (rng.float() < 0.5 ? fleet.api : second.api), clock, rng, lanes: 3, deployments: ["ants", "bats", "cats", "dogs"], hosts: ["bee-1", "bee-2"], spec: (chance) => noop(below(chance, 80), 0) });
  const load = operators.run();
  const living = (): Api => (second.running() ? second.api : fleet.api);
  for (let kill = 0; kill < KILLS; kill++) {
    const enough = operators.promised.length + 3;
    await eventually(() => operators.promised.length >= enough, { what: "work goes on", timeoutMs: 60_000 });
    await clock.sleep(below(rng, 300));
    const victim = kill % 2 === 0 ? fleet.master : second;
    await victim.kill();
    // The other one goes on alone: what the dead one had claimed comes free, and nobody waits for it to return.
    if (kill < 2) {
      const alone = operators.promised.length + 3;
      await eventually(() => operators.promised.length >= alone, { what: "one master is enough", timeoutMs: 60_000 });
    }
    await victim.start();
  }
  operators.stop();
  await load;
  await eventually(async (status) => {
    const open = (await living().get("/v1/lifecycle?open=true&limit=500")).items;
    status(JSON.stringify(open.slice(0, 3)));
    return open.length === 0 && (await living().get("/v1/rollouts?open=true&limit=500")).items.length === 0;
  }, { what: "every row is terminal and every rollout has ended", timeoutMs: 120_000 });
  const rows = (await allRows(fleet.api)).filter((row) => !earlier.has(row.id));
  const rolled = operators.promised.flatMap((promise) => promise.rolloutId ?? []);
  expect(new Set(rolled).size).toBe(rolled.length);
  const rollouts = (await allRollouts(fleet.api)).filter((rollout) => rolled.includes(rollout.id));
  expect(rollouts).toHaveLength(rolled.length);
  expect(rollouts.filter((rollout) => rollout.status !== "succeeded" && rollout.status !== "superseded").map((rollout) => [rollout.status, rollout.because])).toEqual([]);
  const promised = [...new Set([...operators.promised.flatMap((promise) => promise.lifecycleIds), ...rollouts.flatMap(rowsOfRollout)])];
  expect(rows).toHaveLength(promised.length);
  expect(new Set(rows.map((row) => row.id))).toEqual(new Set(promised));
  // Nobody but masters was hurt. On a machine that stalls for three intervals a row may be called lost and be taken over by
  // the next request, and says so.
  const takenOver = (row: Row): boolean => row.status === "superseded" && row.because?.startsWith("taken over by") === true;
  const lost = new Set((await runSql(fleet.databaseUrl, "SELECT lifecycle_id FROM events WHERE kind IN ('lifecycle.lost', 'lifecycle.needs_decision')")).map((row) => row["lifecycle_id"]));
  expect(rows.filter((row) => takenOver(row) && !lost.has(row.id))).toEqual([]);
  expect(rows.filter((row) => row.status !== "succeeded" && !takenOver(row)).map((row) => [row.deployment, row.operation, row.status, row.failure_code, row.because])).toEqual([]);
  expect(startedTwice(agents.flatMap((agent) => readStarts(agent.stateDir)))).toEqual([]);
  expect(await toldTwice(fleet)).toEqual([]);
  await eventually(async (status) => {
    const problems = await ledgerProblems(second.api);
    status(problems.join("; "));
    return problems.length === 0;
  }, { what: "what hosts report is what the ledger says", timeoutMs: 60_000 });
  console.log(`seed ${seed}: ${KILLS} kills of either master, ${rows.length} rows, ${operators.retries()} retries`);
}, 600_000);

test("a host that falls silent is given up once by the two of them, and its row is lost once and settled once", async () => {
  const { fleet } = site;
  const [agent] = agents;
  const silences = async (): Promise<number> => timesInTurn(await told(fleet, ["host.unreachable", "host.active"], "host_id", agent!.hostId), "host.unreachable");
  const before = await silences();
  const [id] = await accepted(fleet.api, "/v1/deployments", { name: "silent", spec: noop(600_000), placement: { hosts: ["bee-1"] }, reconcile: "report" });
  await eventually(async () => (await second.api.get(`/v1/lifecycle/${id}`)).status === "running", { what: "the job runs", timeoutMs: 60_000 });
  await agent!.kill();
  const row = await eventually(async () => {
    const seen = await second.api.get(`/v1/lifecycle/${id}`);
    return seen.status === "lost" ? seen : undefined;
  }, { what: "the row is lost, by no means failed", timeoutMs: 60_000 });
  expect(row).toMatchObject({ failure_code: null, completed_at: null });
  await agent!.start();
  const [settled] = await ended(second.api, [id!], 60_000);
  expect(settled).toMatchObject({ status: "failed", failure_code: "interrupted" });
  expect(await silences()).toBeGreaterThan(before);
  expect(timesInTurn(await told(fleet, ["lifecycle.lost", "lifecycle.running"], "lifecycle_id", id!), "lifecycle.lost")).toBeGreaterThan(0);
  expect(await toldTwice(fleet)).toEqual([]);
});

test("the last master but one is no loss: agents turn to the other", async () => {
  const { fleet } = site;
  await fleet.master.kill();
  const since = Date.parse((await second.api.get("/v1/hosts/bee-1")).last_heartbeat_at);
  await eventually(async () => Date.parse((await second.api.get("/v1/hosts/bee-1")).last_heartbeat_at) > since + 1_000, { what: "bee-1 speaks to the second master", timeoutMs: 60_000 });
  await eventually(async () => (await second.api.get("/v1/hosts")).items.every((host: any) => host.status === "active"), { what: "all hosts are active", timeoutMs: 60_000 });
  await succeeds(second.api, "/v1/deployments", { name: "alone", spec: noop(0), placement: { hosts: ["bee-1", "bee-2"] } });
  await fleet.master.start();
});
