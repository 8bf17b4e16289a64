/** P11: resident memory. Of a master per connected agent, beside a bare TLS server; of an agent at rest, beside a bare `node`. */
import { join } from "node:path";
import { startProgram } from "@skep/testkit";
import { judge, type Goal, type Row } from "../report/row.ts";
import { sleep, type Bench } from "../stage/bench.ts";
import { insertFleet, issueHosts } from "../stage/fleet-data.ts";
import { startAgent } from "../stage/agent.ts";
import type { Master } from "../stage/master.ts";
import { rssKib } from "../stage/proc.ts";

const PER_CONNECTION: Goal = { kind: "ratio_at_most", limit: 1.5 };
const AT_REST: Goal = { kind: "ratio_at_most", limit: 1.6 };
/** V8 gives back what a burst left behind only after several seconds of quiet. */
const SETTLE_MS = 8_000;
/** Warms the server up first, so that what is measured is connections and not code that is loaded late. */
const WARM_CONNECTIONS = 50;
const READINGS = 5;

export async function measureMemory(bench: Bench): Promise<Row[]> {
  const count = bench.config.sizes.agents;
  const authority = bench.authority();
  await using database = await bench.database();
  const agents = await insertFleet(database.url, { count, placementsEach: 1, issued: issueHosts(authority, count) });
  const { keyPem, certPem } = authority.master();
  const caPem = authority.authority.certPem;
  const master = await bench.master(authority, database.url);
  const bare = bench.worker("reference/https-main");
  try {
    const perConnection = async (pid: number, port: number): Promise<number> => {
      const open = { target: { host: "127.0.0.1", port, trustDomain: authority.authority.trustDomain, caPem }, atOnce: 32 };
      const warm = bench.worker("load/beats-main");
      await warm.ask("open", { ...open, agents: agents.slice(0, WARM_CONNECTIONS) });
      await warm.ask("round", { beatsPerAgent: 3, changing: false });
      await warm.stop();
      await sleep(SETTLE_MS);
      const before = rssKib(pid);
      const load = bench.worker("load/beats-main");
      try {
        await load.ask("open", { ...open, agents });
        await load.ask("round", { beatsPerAgent: 1, changing: false });
        await sleep(SETTLE_MS);
        return (rssKib(pid) - before) / agents.length;
      } finally {
        await load.stop();
      }
    };
    bench.say(`memory: ${count} connections`);
    const reference = await perConnection(bare.pid, await bare.ask<number>("listen", { caPem, keyPem, certPem }));
    const value = await perConnection(master.pid, master.swarmPort);
    return [
      judge({ name: "P11 master's memory per connected agent", unit: "KiB", goal: PER_CONNECTION, value: [value], reference: [reference], note: `growth of the resident set over ${count} connections with one beat each; reference: node:https with the same TLS settings. Freed garbage is in it, so that it is an upper bound` }),
      await measureAgent(bench, master),
    ];
  } finally {
    await Promise.all([bare.stop(), master.stop()]);
  }
}

async function measureAgent(bench: Bench, master: Master): Promise<Row> {
  bench.say("memory: an agent at rest");
  const agent = await startAgent(master, { dir: join(bench.dir, "agent"), name: "at-rest" });
  const bare = startProgram(["-e", "process.stdin.resume()"]);
  try {
    await sleep(SETTLE_MS);
    const readings: number[][] = [[], []];
    for (let reading = 0; reading < READINGS; reading++) {
      [agent.pid, bare.pid].forEach((pid, at) => readings[at]!.push(rssKib(pid) / 1_024));
      await sleep(500);
    }
    return judge({ name: "P11 an agent at rest", unit: "MiB", goal: AT_REST, value: readings[0]!, reference: readings[1]!, note: "resident set of a real, enrolled agent that beats; reference: a `node` process that does nothing" });
  } finally {
    bare.kill("SIGKILL");
    await Promise.all([agent.stop(), bare.exited]);
  }
}
