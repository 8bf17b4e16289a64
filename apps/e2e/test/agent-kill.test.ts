/**
 * Agents are killed at random instants and at every named point of a job, while operators go on asking. At the end
 * every row tells the truth, no job has started anything twice, and what an interruption left undone can be done again.
 */
import { readFileSync } from "node:fs";
import { below, seededRng, type Rng } from "@skep/core";
import { systemClock } from "@skep/runtime";
import { eventually, seedFromEnv } from "@skep/testkit";
import { expect, test } from "vitest";
import type { Agent } from "../src/harness/fleet.ts";
import { createOperators } from "../src/harness/load.ts";
import { accepted, allRollouts, allRows, ended, type Row, rowsOfRollout } from "../src/harness/operations.ts";
import { readStarts, startedTwice } from "../src/harness/starts.ts";
import { ledgerProblems } from "../src/harness/truth.ts";
import { useFleet } from "./kit/use-fleet.ts";

const KILLS_EACH = 26;
const FAILPOINTS = ["after_journal", "after_begun", "after_stop_old", "after_start_new", "before_ended", "before_report", "before_ack_write"];
/** What an agent that was not at hand in the middle of things may truthfully have said of a job. */
const HONEST_FAILURES = /^interrupted |^rejected .*(generation_conflict|no_active_deployment)/;

const seed = seedFromEnv();
let noops: Agent;
let processes: Agent;
const site = useFleet("agent-kill", { intervalMs: 800 }, async (fleet) => {
  noops = await fleet.addAgent("bee-1");
  processes = await fleet.addAgent("bee-2");
});

const noopSpec = (rng: Rng): unknown => ({ driver: "noop", components: [{ name: "one", noop: { start_ms: below(rng, 150) } }, { name: "two", depends_on: ["one"], noop: { start_ms: below(rng, 50) } }] });
const processSpec = (rng: Rng): unknown => ({ driver: "process", components: [{ name: "one", command: ["/bin/sleep", "3600"], env: { ROUND: String(below(rng, 1_000_000)) }, stop_timeout_s: 1 }] });

test(`agents killed at least ${2 * KILLS_EACH} times at random and at ${FAILPOINTS.length} named points each start nothing twice and tell the truth`, async () => {
  const { fleet } = site;
  const clock = systemClock();
  const rng = seededRng(seed);
  const crews = [
    createOperators({ api: () => fleet.api, clock, rng: seededRng(below(rng, 2 ** 32)), lanes: 2, deployments: ["ants", "bats", "cats", "dogs"], hosts: ["bee-1"], spec: noopSpec }),
    createOperators({ api: () => fleet.api, clock, rng: seededRng(below(rng, 2 ** 32)), lanes: 1, deployments: ["elks", "foxes"], hosts: ["bee-2"], spec: processSpec }),
  ];
  const load = Promise.all(crews.map((crew) => crew.run()));
  let kills = 0;
  const startsSoFar = (): number => [noops, processes].flatMap((agent) => readStarts(agent.stateDir)).length;
  const torment = async (agent: Agent, chance: Rng): Promise<void> => {
    // Where a start takes seconds an agent lives longer too, or it would die before anybody asked it for anything.
    let lifeMs = 700;
    for (let round = 0; round < KILLS_EACH || startsSoFar() <= KILLS_EACH; round++) {
      await clock.sleep(below(chance, lifeMs));
      await agent.kill();
      kills += 1;
      const startedMs = clock.mono();
      await agent.start();
      lifeMs = Math.max(700, Math.round((clock.mono() - startedMs) / 2));
    }
    for (const failpoint of FAILPOINTS) {
      await agent.kill();
      // Some points come before it is ready: then it never says so.
      await agent.start({ SKEP_FAILPOINT: `${failpoint}:kill` }).catch(() => undefined);
      await eventually(() => !agent.running(), { what: `${agent.name} dies at ${failpoint}`, timeoutMs: 180_000 });
      await agent.start();
    }
  };
  await Promise.all([torment(noops, seededRng(below(rng, 2 ** 32))), torment(processes, seededRng(below(rng, 2 ** 32)))]);
  for (const crew of crews) crew.stop();
  await load;

  await eventually(async (status) => {
    const open = (await fleet.api.get("/v1/lifecycle?open=true&limit=500")).items;
    const rolling = (await fleet.api.get("/v1/rollouts?open=true&limit=500")).items;
    status(`${open.length} open: ${JSON.stringify(open.slice(0, 3))}; ${rolling.length} rolling: ${JSON.stringify(rolling.slice(0, 3))}`);
    return open.length === 0 && rolling.length === 0;
  }, { what: "every row is terminal and every rollout has ended", timeoutMs: 180_000 });

  // What was promised: the rows of the answers, and what their rollouts opened on the way forth and back.
  const answers = crews.flatMap((crew) => crew.promised);
  const rolled = answers.flatMap((promise) => promise.rolloutId ?? []);
  const rollouts = await allRollouts(fleet.api);
  expect(rollouts.map((rollout) => rollout.id).sort()).toEqual([...rolled].sort());
  const promised = [...new Set([...answers.flatMap((promise) => promise.lifecycleIds), ...rollouts.flatMap(rowsOfRollout)])];
  const rows = await allRows(fleet.api);
  expect(new Set(rows.map((row) => row.id))).toEqual(new Set(promised));
  expect(promised).toHaveLength(rows.length);
  const dishonest = rows.filter((row) => row.status !== "succeeded" && row.status !== "superseded" && !(row.status === "failed" && HONEST_FAILURES.test(`${row.failure_code} ${row.because}`)));
  expect(dishonest).toEqual([]);
  const starts = [noops, processes].flatMap((agent) => readStarts(agent.stateDir));
  expect(startedTwice(starts)).toEqual([]);
  expect(starts.length).toBeGreaterThan(KILLS_EACH);
  expect(twoAlive()).toEqual([]);
  await eventually(async (status) => {
    const lies = await rowsThatLie(rows);
    status(lies.join("; "));
    return lies.length === 0;
  }, { what: "what the hosts show is what the last rows say", timeoutMs: 60_000 });

  const repaired = await repair(rows);
  await eventually(async (status) => {
    const problems = await ledgerProblems(fleet.api);
    status(problems.join("; "));
    return problems.length === 0;
  }, { what: "what hosts report is what the ledger says", timeoutMs: 60_000 });
  expect(startedTwice([noops, processes].flatMap((agent) => readStarts(agent.stateDir)))).toEqual([]);
  expect(twoAlive()).toEqual([]);
  const counts: Record<string, number> = {};
  for (const row of rows) counts[row.failure_code ?? row.status] = (counts[row.failure_code ?? row.status] ?? 0) + 1;
  console.log(`seed ${seed}: ${kills} kills at random instants, ${2 * FAILPOINTS.length} at named points; ${rows.length} rows ${JSON.stringify(counts)}, ${starts.length} starts, ${repaired} repaired by asking again`);
}, 1_200_000);

/** The newest row of each placement against what its host reports. */
async function rowsThatLie(rows: readonly Row[]): Promise<string[]> {
  const placements = (await site.fleet.api.get("/v1/placements?limit=500")).items as any[];
  const newest = new Map(rows.map((row) => [row.placement_id, row]));
  return placements.filter((placement) => placement.removed_at === null).flatMap((placement) => {
    const row = newest.get(placement.id)!;
    const seen = placement.observed === null ? "nothing" : `${placement.observed.state} at generation ${placement.observed.generation}`;
    const at = `${row.operation} of ${row.deployment}, generation ${row.generation}: ${row.status}; its host shows ${seen}`;
    if (row.status === "succeeded" && row.operation !== "teardown") return placement.observed?.state === "running" && placement.observed.generation === row.generation ? [] : [at];
    // I5: what the failed generation left running is named by its steps.
    const confessed = row.steps.some((step) => step.name.startsWith("left running"));
    const alive = ["running", "degraded", "deploying"].includes(placement.observed?.state) && placement.observed.generation === row.generation;
    return row.status === "failed" && row.operation !== "teardown" && alive && !confessed ? [at] : [];
  });
}

/** An operator does again what was interrupted. Returns how many deployments that took. */
async function repair(rows: readonly Row[]): Promise<number> {
  const { api } = site.fleet;
  const newest = new Map(rows.map((row) => [row.deployment, row]));
  const undone = [...newest.values()].filter((row) => row.status !== "succeeded");
  const again = await Promise.all(undone.map((row) => accepted(api, `/v1/deployments/${row.deployment}/${row.operation === "teardown" ? "teardown" : "redeploy"}`, {})));
  if (again.length > 0) expect((await ended(api, again.flat(), 120_000)).map((row) => row.status)).toEqual(again.flat().map(() => "succeeded"));
  return undone.length;
}

/** Placements of which two processes live at once: never, whatever was killed when. */
function twoAlive(): string[] {
  const alive = new Map<string, Set<number>>();
  for (const start of readStarts(processes.stateDir)) {
    if (start.pid === undefined || !lives(start.pid)) continue;
    const key = `${start.placement} ${start.component}`;
    alive.set(key, (alive.get(key) ?? new Set()).add(start.pid));
  }
  return [...alive].filter(([, pids]) => pids.size > 1).map(([key, pids]) => `${key}: ${[...pids].join(", ")}`);
}

/** By its command line too: the kernel hands out a dead process's number again. */
function lives(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") === "/bin/sleep\0" + "3600\0";
  } catch {
    return false;
  }
}
