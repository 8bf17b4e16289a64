/** P14: how long a stranger waits. From a clone to a running workload, or, when quick, only `npm start` in this tree. */
import { spawn } from "node:child_process";
import { createWriteStream, existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { request } from "undici";
import { broken, judge, type Goal, type Row } from "../report/row.ts";
import { sleep, type Bench } from "../stage/bench.ts";
import { APPS } from "../stage/master.ts";

const START_GOAL: Goal = { kind: "at_most", limit: 20 };
const CLONE_GOAL: Goal = { kind: "at_most", limit: 60 };
const START_NAME = "P14 npm start until the first workload runs";
const CLONE_NAME = "P14 clone → npm ci → first workload running";
const GIVE_UP_MS = 300_000;
const LOOK_EVERY_MS = 50;
const ROOT = join(APPS, "..");

export async function measureInstall(bench: Bench): Promise<Row[]> {
  if (!bench.config.sizes.fromClone) {
    bench.say("install: npm start");
    const { seconds, ready } = await start(bench, ROOT);
    return [judge({ name: START_NAME, unit: "s", goal: START_GOAL, value: [seconds], note: `a quick run measures this only: an empty state directory in this built tree, embedded PostgreSQL, two agents enrolled, the sample deployed; ready line after ${ready.toFixed(1)} s` })];
  }
  const clone = join(bench.dir, "clone");
  bench.say("install: clone, npm ci");
  const begun = performance.now();
  await run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], bench.dir);
  const cloned = performance.now();
  try {
    await run(["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund"], clone);
  } catch (error) {
    return [broken(CLONE_NAME, "≤ 60 s", (error as Error).message)];
  }
  const installed = performance.now();
  bench.say("install: npm start in the clone");
  const { seconds, ready } = await start(bench, clone);
  const total = (installed - begun) / 1_000 + seconds;
  const parts = `clone ${((cloned - begun) / 1_000).toFixed(1)} s, npm ci with its build ${((installed - cloned) / 1_000).toFixed(1)} s, npm start ${seconds.toFixed(1)} s`;
  return [
    judge({ name: CLONE_NAME, unit: "s", goal: CLONE_GOAL, value: [total], note: `${parts}; npm's cache as it was on this machine (--prefer-offline)` }),
    judge({ name: START_NAME, unit: "s", goal: START_GOAL, value: [seconds], note: `in that clone; ready line after ${ready.toFixed(1)} s` }),
  ];
}

/** `npm start` on an empty state directory; stopped, by its own pid, once the sample runs. */
async function start(bench: Bench, cwd: string): Promise<{ readonly seconds: number; readonly ready: number }> {
  const begun = performance.now();
  const argv = ["start", "--silent", "--", "--json", "--state-dir", join(bench.dir, "up"), "--api-port", "0", "--swarm-port", "0", "--enrol-port", "0"];
  const child = spawn("npm", argv, { cwd, stdio: ["ignore", "pipe", "pipe"], env: environment() });
  child.stderr.pipe(createWriteStream(join(bench.dir, "npm-start.log")));
  let upPid: number | undefined;
  const ended = new Promise<never>((_resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`npm start ended with ${code} before the sample ran`)));
  });
  ended.catch(() => undefined);
  try {
    const line = await Promise.race([ended, new Promise<string>((resolve) => createInterface({ input: child.stdout }).once("line", resolve))]);
    const ready = (performance.now() - begun) / 1_000;
    const facts = JSON.parse(line) as { readonly api_url: string; readonly token: string; readonly up_pid: number };
    upPid = facts.up_pid;
    for (;;) {
      const { body } = await request(`${facts.api_url}/v1/deployments`, { headers: { authorization: `Bearer ${facts.token}` } });
      const { items } = (await body.json()) as { readonly items: readonly { readonly status: string }[] };
      const seconds = (performance.now() - begun) / 1_000;
      if (items.some((item) => item.status === "active")) return { seconds, ready };
      if (seconds * 1_000 > GIVE_UP_MS) throw new Error(`no workload ran after ${GIVE_UP_MS} ms`);
      await sleep(LOOK_EVERY_MS);
    }
  } finally {
    await stop(upPid ?? child.pid);
  }
}

async function stop(pid: number | undefined): Promise<void> {
  if (pid === undefined || !existsSync(`/proc/${pid}`)) return;
  process.kill(pid, "SIGTERM");
  for (let waited = 0; existsSync(`/proc/${pid}`) && waited < 30_000; waited += 100) await sleep(100);
}

function run(argv: readonly string[], cwd: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), { cwd, stdio: ["ignore", "ignore", "pipe"], env: environment() });
    let last = "";
    child.stderr.on("data", (chunk: Buffer) => (last = (last + chunk.toString()).slice(-500)));
    child.once("error", reject);
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`${argv.slice(0, 2).join(" ")} ended with ${code}: ${last.trim().split("\n").at(-1) ?? ""}`))));
  });
}

/** Ours without what `npm run` put there: an npm inside an npm would take its settings for orders. */
const environment = (): NodeJS.ProcessEnv => Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)));
