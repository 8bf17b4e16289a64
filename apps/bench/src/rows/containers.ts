/**
 * P7: containers through the whole path (REST → row → agent → engine → probe → delta → row), beside what the same
 * engine needs when it is asked directly, and beside Swarm mode on it. A private engine of the benchmark's own.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { findEngine, startEngine, type Engine } from "@skep/testkit";
import { request } from "undici";
import { broken, judge, type Goal, type Row } from "../report/row.ts";
import { startAgent } from "../stage/agent.ts";
import { sleep, type Bench } from "../stage/bench.ts";
import type { Master } from "../stage/master.ts";

const ONE: Goal = { kind: "ratio_at_most", limit: 1.25, plus: 100 };
const BEATS_SWARM: Goal = { kind: "ratio_at_most", limit: 1 };
const MANY: Goal = { kind: "ratio_at_most", limit: 1.5 };
const ONE_NAME = "P7 one container: REST call until its row succeeded";
const SWARM_NAME = "P7 one container, beside docker service create";
const MANY_NAME = "P7 20 containers of one deployment";
const IMAGE = "skep-bench:1";
const COUNT = 20;
const AT_ONCE = 8;
const LOOK_EVERY_MS = 5;
const GIVE_UP_MS = 60_000;
const SERVE = ["/bin/httpd", "-f", "-p", "80"];

const run = promisify(execFile);

export async function measureContainers(bench: Bench): Promise<Row[]> {
  const tools = findEngine();
  if ("missing" in tools) return [ONE_NAME, SWARM_NAME, MANY_NAME].map((name) => broken(name, "–", tools.missing));
  const engine = await startEngine();
  const authority = bench.authority();
  const database = await bench.database();
  let master: Master | undefined;
  let agent: Awaited<ReturnType<typeof startAgent>> | undefined;
  try {
    await engine.image(IMAGE, { cmd: SERVE });
    master = await bench.master(authority, database.url);
    agent = await startAgent(master, { dir: join(bench.dir, "container-agent"), name: "containers", env: { DOCKER_HOST: `unix://${engine.socketPath}` } });
    await untilCapable(master);
    return await measure(bench, engine, master);
  } finally {
    await agent?.stop();
    await master?.stop();
    await database.drop();
    await engine.stop();
  }
}

async function measure(bench: Bench, engine: Engine, master: Master): Promise<Row[]> {
  const docker = (...argv: string[]): Promise<unknown> => run("docker", ["-H", `unix://${engine.socketPath}`, ...argv]);
  const { rounds } = bench.config.sizes;
  // As many hosts have it: a bridge that is there already. Ours makes one for each placement, and pays for it.
  await docker("network", "create", "bench");
  await docker("swarm", "init", "--advertise-addr", "127.0.0.1");
  // A service's task without a network would be spared what both others pay for.
  await docker("network", "create", "--driver", "bridge", "--scope", "swarm", "bench-swarm");
  const mine: number[] = [];
  const direct: number[] = [];
  const swarm: number[] = [];
  const mineMany: number[] = [];
  const floorMany: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    bench.say(`containers: round ${round} of ${rounds}`);
    // The first round warms caches and code on all sides and is not counted.
    const keep = (list: number[], ms: number): unknown => round > 0 && list.push(ms);
    keep(direct, await timed(() => docker("run", "-d", "--network", "bench", "--name", `direct-${round}`, IMAGE)));
    keep(mine, await timed(() => deploy(master, `one-${round}`, 1)));
    keep(swarm, await timed(async () => {
      await docker("service", "create", "--detach", "--no-resolve-image", "--network", "bench-swarm", "--name", `swarm-${round}`, IMAGE);
      await taskRunning(engine, `swarm-${round}`);
    }));
    await docker("service", "rm", `swarm-${round}`);
    keep(floorMany, await timed(() => startMany(engine, `floor-${round}`)));
    keep(mineMany, await timed(() => deploy(master, `many-${round}`, COUNT)));
    await teardown(master, `one-${round}`);
    await teardown(master, `many-${round}`);
    await engine.removeEverything("skep-bench");
    await docker("rm", "-f", `direct-${round}`);
  }
  return [
    judge({ name: ONE_NAME, unit: "ms", goal: ONE, value: mine, reference: direct, note: `reference: docker run -d of the same image on the same engine, onto a network that is there already; ours makes the placement's own network and waits for a TCP probe` }),
    judge({ name: SWARM_NAME, unit: "ms", goal: BEATS_SWARM, value: mine, reference: swarm, note: "reference: docker service create --detach --no-resolve-image onto a bridge on the same engine, until its task is running; the 5 s that the command waits by default before it calls a service converged are not counted" }),
    judge({ name: MANY_NAME, unit: "ms", goal: MANY, value: mineMany, reference: floorMany, note: `one row with ${COUNT} components; reference: create and start by Engine API, ${AT_ONCE} at a time` }),
  ];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

const headersOf = (master: Master): Record<string, string> => ({ authorization: `Bearer ${master.token}`, "content-type": "application/json" });

async function deploy(master: Master, name: string, count: number): Promise<void> {
  const components = Array.from({ length: count }, (_, index) => ({
    name: `c${index}`, container: { image: IMAGE, pull: "never" }, ports: [{ name: "http", container: 80, publish: false }], probe: { type: "tcp", port: "http" }, stop_timeout_s: 0,
  }));
  await succeeded(master, "/v1/deployments", { name, spec: { driver: "docker", components }, placement: { replicas: 1 }, reconcile: "report" });
}

const teardown = (master: Master, name: string): Promise<void> => succeeded(master, `/v1/deployments/${name}/teardown`, {});

async function succeeded(master: Master, path: string, body: object): Promise<void> {
  const headers = headersOf(master);
  const answer = await request(`${master.apiUrl}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  const text = await answer.body.text();
  if (answer.statusCode !== 202) throw new Error(`POST ${path} was answered ${answer.statusCode}: ${text.slice(0, 300)}`);
  const { lifecycle_ids: [id] } = JSON.parse(text) as { readonly lifecycle_ids: readonly string[] };
  const begun = performance.now();
  for (;;) {
    const { body: reply } = await request(`${master.apiUrl}/v1/lifecycle/${id}`, { headers });
    const row = (await reply.json()) as { readonly status: string; readonly error: string | null };
    if (row.status === "succeeded") return;
    if (row.status === "failed" || performance.now() - begun > GIVE_UP_MS) throw new Error(`${path}: the row is ${row.status}: ${row.error}`);
    await sleep(LOOK_EVERY_MS);
  }
}

/** A host says what it can run in its beats. */
async function untilCapable(master: Master): Promise<void> {
  const begun = performance.now();
  for (;;) {
    const answer = await request(`${master.apiUrl}/v1/deployments`, { method: "POST", headers: headersOf(master), body: JSON.stringify({ name: "rehearsal", dry_run: true, spec: { driver: "docker", components: [{ name: "c", container: { image: IMAGE, pull: "never" } }] }, placement: { replicas: 1 } }) });
    const text = await answer.body.text();
    if (answer.statusCode === 200) return;
    if (performance.now() - begun > GIVE_UP_MS) throw new Error(`the agent never offered its engine: ${text.slice(0, 300)}`);
    await sleep(50);
  }
}

async function taskRunning(engine: Engine, service: string): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ service: [service] }));
  const begun = performance.now();
  for (;;) {
    const tasks = await engine.ask<readonly { readonly Status: { readonly State: string } }[]>("GET", `/tasks?filters=${filters}`);
    if (tasks.some((task) => task.Status.State === "running")) return;
    if (performance.now() - begun > GIVE_UP_MS) throw new Error(`${service} never ran`);
    await sleep(LOOK_EVERY_MS);
  }
}

async function startMany(engine: Engine, name: string): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < COUNT; index = next++) {
      const { Id } = await engine.ask<{ Id: string }>("POST", `/containers/create?name=${name}-${index}`, { body: { Image: IMAGE, Labels: { "skep-bench": "" }, HostConfig: { NetworkMode: "bench" } } });
      await engine.ask("POST", `/containers/${Id}/start`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}
