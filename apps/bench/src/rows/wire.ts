/**
 * P1–P3: what a heartbeat costs, from TLS to the commit. Four servers take turns under the same closed loop of the same
 * clients: the reference, the product with unchanged and with changed snapshots, and the naive master. The product runs
 * with production's limits; each agent's beats are counted so that its bucket never runs dry.
 */
import type { Goal, Row } from "../report/row.ts";
import { judge } from "../report/row.ts";
import type { LoadAgent, RoundResult } from "../load/beats-main.ts";
import type { Target } from "../load/connection.ts";
import { sleep, type Bench } from "../stage/bench.ts";
import { insertFleet, issueHosts } from "../stage/fleet-data.ts";
import { cpuMicros, treeCpuMicros } from "../stage/proc.ts";
import type { Worker } from "../stage/worker.ts";

/** The master's bucket of beats per host: 20, and one more each second (rulings 15). */
const BURST = 20;
const PER_SECOND = 1;
const HANDSHAKES_AT_ONCE = 32;

const GOALS = { P1: { kind: "ratio_at_most", limit: 1.9 }, P2: { kind: "ratio_at_most", limit: 2.6 }, P3: { kind: "ratio_at_least", limit: 3 } } as const satisfies Record<string, Goal>;

interface Sample {
  readonly perSecond: number;
  readonly microsPerBeat: number;
  readonly serverMicros: number;
  readonly postgresMicros: number;
  readonly result: RoundResult;
}

interface Contestant {
  /** A round that counts, after one beat each that does not. */
  round(changing: boolean): Promise<Sample>;
  stop(): Promise<void>;
}

export async function measureWire(bench: Bench): Promise<Row[]> {
  const { sizes } = bench.config;
  const authority = bench.authority();
  await using database = await bench.database();
  await using naiveDatabase = await bench.database();
  const agents = await insertFleet(database.url, { count: sizes.agents, placementsEach: 3, issued: issueHosts(authority, sizes.agents) });
  const { keyPem, certPem } = authority.master();
  const credentials = { caPem: authority.authority.certPem, keyPem, certPem };
  const targetOf = (port: number): Target => ({ host: "127.0.0.1", port, trustDomain: authority.authority.trustDomain, caPem: credentials.caPem });

  const master = await bench.master(authority, database.url);
  const bareServer = bench.worker("reference/https-main");
  const naiveServer = bench.worker("reference/naive-main");
  const opened: Contestant[] = [];
  try {
    bench.say(`wire: ${agents.length} connections to each of three servers`);
    const contest = async (pid: number, port: number, limited: boolean): Promise<Contestant> => {
      const made = await openContestant(bench, { pid, target: targetOf(port), agents, limited });
      opened.push(made);
      return made;
    };
    const skep = await contest(master.pid, master.swarmPort, true);
    const bare = await contest(bareServer.pid, await bareServer.ask<number>("listen", credentials), false);
    const naive = await contest(naiveServer.pid, await naiveServer.ask<number>("listen", { credentials, databaseUrl: naiveDatabase.url, hostIds: agents.map((agent) => agent.hostId) }), false);

    const steady: Sample[] = [];
    const changed: Sample[] = [];
    const floor: Sample[] = [await bare.round(false)];
    const simple: Sample[] = [];
    for (let round = 1; round <= sizes.rounds; round++) {
      bench.say(`wire: round ${round} of ${sizes.rounds}`);
      steady.push(await skep.round(false));
      floor.push(await bare.round(false));
      changed.push(await skep.round(true));
      simple.push(await naive.round(true));
      floor.push(await bare.round(false));
    }
    const cost = (samples: readonly Sample[]): number[] => samples.map((sample) => sample.microsPerBeat);
    const rate = (samples: readonly Sample[]): number[] => samples.map((sample) => sample.perSecond);
    const split = (samples: readonly Sample[]): string => `master ${middle(samples, (s) => s.serverMicros)} + PostgreSQL ${middle(samples, (s) => s.postgresMicros)} µs; p50 ${middle(samples, (s) => s.result.p50Ms)} ms, p99 ${middle(samples, (s) => s.result.p99Ms)} ms`;
    const how = `${agents.length} connections, closed loop, ${sizes.rounds} rounds of ${agents.length * sizes.beatsPerRound} beats of 1.5 KB; reference: bare node:https + JSON.parse → 204, same clients`;
    return [
      judge({ name: "P1 steady heartbeat, CPU until committed", unit: "µs/beat", goal: GOALS.P1, value: cost(steady), reference: cost(floor), note: `${how}; ${split(steady)}` }),
      judge({ name: "P2 heartbeat with a changed snapshot", unit: "µs/beat", goal: GOALS.P2, value: cost(changed), reference: cost(floor), note: `three placements and the resources differ in every beat; ${split(changed)}` }),
      judge({ name: "P3 beats that one master sustains", unit: "beats/s", goal: GOALS.P3, value: rate(steady), reference: rate(simple), note: `reference: Fastify + zod + SELECT + UPDATE per beat (${split(simple).replace("master", "it")}); no limit of the master was raised: ${sizes.beatsPerRound + 1} beats a round stay inside the burst of ${BURST}` }),
    ];
  } finally {
    for (const contestant of opened) await contestant.stop();
    await Promise.all([bareServer.stop(), naiveServer.stop(), master.stop()]);
  }
}

async function openContestant(bench: Bench, { pid, target, agents, limited }: { readonly pid: number; readonly target: Target; readonly agents: readonly LoadAgent[]; readonly limited: boolean }): Promise<Contestant> {
  const { beatsPerRound } = bench.config.sizes;
  const load: Worker = bench.worker("load/beats-main");
  await load.ask("open", { target, agents, atOnce: HANDSHAKES_AT_ONCE });
  // Opening the connection took one.
  let tokens = BURST - 1;
  let countedAt = performance.now();
  const refill = async (): Promise<void> => {
    const needed = beatsPerRound + 1;
    tokens = Math.min(BURST, tokens + ((performance.now() - countedAt) / 1_000) * PER_SECOND);
    countedAt = performance.now();
    if (limited && tokens < needed) {
      await sleep(((needed - tokens) / PER_SECOND) * 1_000);
      return refill();
    }
    tokens -= needed;
  };
  return {
    async round(changing) {
      await refill();
      await load.ask("round", { beatsPerAgent: 1, changing });
      const before = { server: cpuMicros(pid), postgres: treeCpuMicros(bench.postgres.pid) };
      const result = await load.ask<RoundResult>("round", { beatsPerAgent: beatsPerRound, changing });
      const serverMicros = (cpuMicros(pid) - before.server) / result.beats;
      const postgresMicros = (treeCpuMicros(bench.postgres.pid) - before.postgres) / result.beats;
      if (result.statuses["204"] !== result.beats) throw new Error(`not every beat was answered 204: ${JSON.stringify(result.statuses)}`);
      return { perSecond: (result.beats / result.ms) * 1_000, microsPerBeat: serverMicros + postgresMicros, serverMicros, postgresMicros, result };
    },
    stop: () => load.stop(),
  };
}

function middle(samples: readonly Sample[], pick: (sample: Sample) => number): string {
  const sorted = samples.map(pick).sort((a, b) => a - b);
  return (sorted[Math.floor(sorted.length / 2)] ?? 0).toFixed(0);
}
