/**
 * The master is killed at random instants and at every named point between request, commit, dispatch, 202 and delta,
 * while operators go on asking. At the end every promise is in the ledger, every row is true, and no job ran twice.
 */
import { below, seededRng } from "@skep/core";
import { systemClock } from "@skep/runtime";
import { eventually, seedFromEnv, tempDatabase, tempDir } from "@skep/testkit";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { startFleet, type Agent, type Fleet } from "../src/harness/fleet.ts";
import { createOperators } from "../src/harness/load.ts";
import { allRollouts, rowsOfRollout } from "../src/harness/operations.ts";
import { readStarts, startedTwice } from "../src/harness/starts.ts";
import { ledgerProblems } from "../src/harness/truth.ts";

const RANDOM_KILLS = 50;
const FAILPOINTS = ["before_commit", "after_commit", "after_claim", "before_push", "after_push", "before_record", "before_beat_commit", "after_beat_commit"];

let fleet: Fleet;
let agents: Agent[];
let database: Awaited<ReturnType<typeof tempDatabase>>;
const seed = seedFromEnv();

beforeAll(async () => {
  database = await tempDatabase({ url: inject("postgres").embedded });
  // Short intervals, so that a test sees in seconds what a fleet sees in minutes (rulings 1).
  fleet = await startFleet({ dir: tempDir("master-kill"), databaseUrl: database.url, intervalMs: 400 });
  agents = [await fleet.addAgent("bee-1"), await fleet.addAgent("bee-2")];
});

afterAll(async () => {
  await fleet?.stop();
  await database?.drop();
});

test(`a master killed ${RANDOM_KILLS} times at random and at ${FAILPOINTS.length} named points loses nothing and repeats nothing`, async () => {
  const clock = systemClock();
  const rng = seededRng(seed);
  const operators = createOperators({
    api: () => fleet.api, clock, rng, lanes: 4, // A change of two hosts takes two waves: more names, or most requests would find one under way.
    deployments: Array.from({ length: 20 }, (_, index) => `app-${index + 1}`), hosts: ["bee-1", "bee-2"],
    spec: (chance) => ({ driver: "noop", components: [{ name: "one", noop: { start_ms: below(chance, 120) } }, { name: "two", depends_on: ["one"] }] }),
  });
  const load = operators.run();
  for (let round = 0; round < RANDOM_KILLS; round++) {
    // In the middle of work and not of starting up, however slow this machine is; each fifth life ends whenever it ends.
    const enough = operators.promised.length + (round % 5 === 0 ? 0 : 1);
    await eventually(() => operators.promised.length >= enough, { what: `work goes on before kill ${round + 1}`, timeoutMs: 60_000 });
    await clock.sleep(below(rng, 400));
    await fleet.master.kill();
    await fleet.master.start();
  }
  for (const failpoint of FAILPOINTS) {
    await fleet.master.kill();
    // Hosts and operators do not wait until it says that it is ready: it may die of them before that.
    await fleet.master.start({ SKEP_FAILPOINT: `${failpoint}:${1 + below(rng, 4)}` }).catch((error: unknown) => console.log(`at ${failpoint}: ${String(error).split("\n")[0]}`));
    await eventually(() => !fleet.master.running(), { what: `the master dies at ${failpoint}`, timeoutMs: 60_000 });
    expect((await fleet.master.program()!.exited).signal, `${failpoint}: ${fleet.master.program()!.stderr().slice(-2_000)}`).toBe("SIGKILL");
    await fleet.master.start();
  }
  operators.stop();
  await load;

  await eventually(async (status) => {
    const open = await fleet.api.get("/v1/lifecycle?open=true&limit=500");
    status(`${open.items.length} open rows: ${JSON.stringify(open.items.slice(0, 3))}\n${fleet.tails()}`);
    const rolling = await fleet.api.get("/v1/rollouts?open=true&limit=500");
    return open.items.length === 0 && rolling.items.length === 0;
  }, { what: "every row is terminal and every rollout has ended", timeoutMs: 120_000 });

  // What was promised: the rows of the answer, and the rollout that opens the rest. Every rollout was promised, once.
  const rollouts = await allRollouts(fleet.api);
  const rolled = operators.promised.flatMap((promise) => promise.rolloutId ?? []);
  expect(new Set(rolled).size).toBe(rolled.length);
  expect(rollouts.map((rollout) => rollout.id).sort()).toEqual([...rolled].sort());
  expect(rollouts.filter((rollout) => rollout.status !== "succeeded" && rollout.status !== "superseded").map((rollout) => [rollout.status, rollout.because])).toEqual([]);
  const ids = [...new Set([...operators.promised.flatMap((promise) => promise.lifecycleIds), ...rollouts.flatMap(rowsOfRollout)])];
  expect(operators.promised.length).toBeGreaterThan(RANDOM_KILLS);
  const rows = await ledgerRows();
  const ledger = new Map(rows.map((row) => [row.id, row]));
  expect(ids.filter((id) => !ledger.has(id))).toEqual([]);
  // Every row was promised to somebody: no request was taken twice (I1).
  expect(rows.filter((row) => !ids.includes(row.id)).map((row) => [row.deployment, row.operation, row.because])).toEqual([]);
  // Nobody but the master was hurt, and nothing here can fail: any other word would be a lie. On a machine that stalls
  // for three intervals a row may be called lost and be taken over by the next request, and says so.
  const takenOver = (row: any): boolean => row.status === "superseded" && String(row.because).startsWith("taken over by");
  expect(rows.filter((row) => row.status !== "succeeded" && !takenOver(row)).map((row) => [row.deployment, row.operation, row.status, row.failure_code, row.error, row.because])).toEqual([]);

  const starts = agents.flatMap((agent) => readStarts(agent.stateDir));
  expect(startedTwice(starts)).toEqual([]);
  expect(starts.length).toBeGreaterThan(0);
  await eventually(async (status) => {
    const problems = await ledgerProblems(fleet.api);
    status(problems.join("; "));
    return problems.length === 0;
  }, { what: "what hosts report is what the ledger says", timeoutMs: 60_000 });
  console.log(`seed ${seed}: ${RANDOM_KILLS} kills at random instants and ${FAILPOINTS.length} at named points, ${operators.promised.length} operations, ${rows.length} rows, ${starts.length} starts, ${operators.retries()} retries, refused ${JSON.stringify([...operators.refused])}`);
}, 600_000);

async function ledgerRows(): Promise<any[]> {
  const rows: any[] = [];
  let cursor = "";
  do {
    const page: any = await fleet.api.get(`/v1/lifecycle?newest_first=false&limit=500${cursor === "" ? "" : `&cursor=${cursor}`}`);
    rows.push(...page.items);
    cursor = page.next_cursor ?? "";
  } while (cursor !== "");
  return rows;
}
