/** `skep up` as a script sees it: real processes, real PostgreSQL, real kill -9. Few tests, because each start costs seconds. */
import { execFileSync } from "node:child_process";
import { chownSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { processStartTime } from "@skep/runtime";
import { eventually, requireBuilt, startProgram, tempDir } from "@skep/testkit";
import type { Program } from "@skep/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { UpFacts } from "../src/facts.ts";
import { readJson } from "../src/files.ts";
import { layoutOf } from "../src/layout.ts";
import { findProcessesIn, findWorkloads } from "../src/leftovers.ts";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const PROGRAM = join(PACKAGE, "bin/skep-up.js");
/** Only bounds for failure: a start takes seconds, and many times that on a starved machine. */
const MINUTE = 180_000;
const isRoot = process.getuid?.() === 0;

const stateDirs = new Set<string>();
beforeAll(() => requireBuilt(PACKAGE));
// Workloads outlive whoever started them, by design: a failed test must not leave its own behind.
afterAll(() => {
  for (const dir of stateDirs) for (const pid of findProcessesIn(layoutOf(dir))) killIfThere(pid);
});

/** One may end another, and be gone between the look and the kill. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function up(stateDir: string, flags: readonly string[] = [], user: { uid?: number; gid?: number } = {}): Program {
  const argv = [PROGRAM, "--json", "--state-dir", stateDir, "--api-port", "0", "--swarm-port", "0", "--enrol-port", "0", "--heartbeat-interval-ms", "500", ...flags];
  stateDirs.add(stateDir);
  // Supervised: should this test process die, the end of its pipe stops it.
  return startProgram(argv, { env: { SKEP_SUPERVISED: "1", HOME: stateDir }, ...user });
}

const factsOf = async (program: Program): Promise<UpFacts> => JSON.parse((await program.output(/^.+\n/, MINUTE))[0]) as UpFacts;
const pidsOf = (facts: UpFacts): number[] => [facts.up_pid, facts.pid!, ...facts.hosts.map((host) => host.pid!)];
const living = (pids: readonly number[]): number[] => pids.filter((pid) => processStartTime(pid) !== null);

async function placements(facts: UpFacts): Promise<{ host: string; state: string }[]> {
  const reply = await fetch(`${facts.api_url}/v1/placements`, { headers: { authorization: `Bearer ${facts.token}` } });
  return ((await reply.json()) as { items: { host: string; state: string }[] }).items;
}

describe("one state directory, from its first start to its last", () => {
  const layout = layoutOf(join(tempDir("up with space"), "state"));
  let program: Program;
  let first: UpFacts;

  test("prints exactly one JSON line once everything is ready, the sample running", { timeout: 2 * MINUTE }, async () => {
    program = up(layout.dir);
    first = await factsOf(program);
    expect(program.stdout().split("\n")).toHaveLength(2);
    expect(first).toEqual({
      api_url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/), swarm_url: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/), enrol_url: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
      token: expect.stringMatching(/^skp_/), ca_path: expect.any(String), ca_sha256: expect.stringMatching(/^[0-9a-f]{64}$/), pid: expect.any(Number), up_pid: program.pid,
      database_url: expect.stringMatching(/^postgres:\/\//),
      hosts: ["local-1", "local-2"].map((name) => ({ id: expect.any(String), name, agent_url: expect.stringMatching(/^https:/), cert_path: expect.any(String), key_path: expect.any(String), pid: expect.any(Number) })),
    });
    expect(living(pidsOf(first))).toEqual(pidsOf(first));
    for (const path of [first.hosts[0]!.key_path, layout.facts, layout.cliContext]) expect(statSync(path).mode & 0o777, path).toBe(0o600);
    // Seen by its ready line; at this interval a starved agent may be overdue a moment later.
    await eventually(async () => (await placements(first)).map(({ state }) => state).join() === "running,running", { what: "the sample running", timeoutMs: MINUTE });
    expect(program.stderr()).not.toContain(first.token);
  });

  test("a concurrent start is refused with the pid, and disturbs nothing", { timeout: MINUTE }, async () => {
    const second = up(layout.dir);
    expect(await second.exited).toEqual({ code: 2, signal: null });
    expect(second.stderr()).toContain(`process ${program.pid} already runs`);
    expect(second.stdout()).toBe("");
    expect(living(pidsOf(first))).toEqual(pidsOf(first));
  });

  test("a killed child is back under a new pid that up.json tells, its workloads untouched", { timeout: MINUTE }, async () => {
    const workloads = findWorkloads(layout);
    const [host] = first.hosts;
    process.kill(host!.pid!, "SIGKILL");
    const pid = await eventually(() => {
      const now = (readJson(layout.facts) as UpFacts).hosts[0]!.pid;
      return now !== null && now !== host!.pid ? now : undefined;
    }, { what: "a new pid in up.json", timeoutMs: MINUTE });
    expect(living([pid])).toEqual([pid]);
    expect(findWorkloads(layout)).toEqual(workloads);
  });

  test("after kill -9 of up its children go, the workloads stay, and the next start adopts them", { timeout: 2 * MINUTE }, async () => {
    const workloads = findWorkloads(layout);
    expect(workloads.length).toBeGreaterThanOrEqual(4);
    const before = readJson(layout.facts) as UpFacts;
    program.kill("SIGKILL");
    await eventually(() => living(pidsOf(before)).length === 0, { what: "the children to see their pipe close", timeoutMs: MINUTE });
    expect(findWorkloads(layout)).toEqual(workloads);

    program = up(layout.dir);
    const again = await factsOf(program);
    expect(again).toMatchObject({ api_url: first.api_url, swarm_url: first.swarm_url, token: first.token, ca_sha256: first.ca_sha256 });
    expect(again.hosts.map(({ id, name }) => [id, name])).toEqual(first.hosts.map(({ id, name }) => [id, name]));
    await eventually(async () => (await placements(again)).every(({ state }) => state === "running"), { what: "the sample to be seen running", timeoutMs: MINUTE });
    expect(findWorkloads(layout)).toEqual(workloads);
  });

  test("a start that fails leaves what an earlier one has running, and so does the end of a supervisor", { timeout: 2 * MINUTE }, async () => {
    const workloads = findWorkloads(layout);
    const before = readJson(layout.facts) as UpFacts;
    program.child.stdin.end();
    expect(await program.exited).toEqual({ code: 0, signal: null });
    expect(living(pidsOf(before))).toEqual([]);
    const failing = up(layout.dir, ["--database-url", "postgres://nobody@127.0.0.1:1/none"]);
    expect(await failing.exited).toEqual({ code: 2, signal: null });
    expect(findWorkloads(layout)).toEqual(workloads);
    program = up(layout.dir);
    await factsOf(program);
    expect(findWorkloads(layout)).toEqual(workloads);
  });

  test("SIGTERM ends all of it: agents, workloads, master, database", { timeout: MINUTE }, async () => {
    const now = readJson(layout.facts) as UpFacts;
    program.kill("SIGTERM");
    expect(await program.exited).toEqual({ code: 0, signal: null });
    expect(living(pidsOf(now))).toEqual([]);
    expect(findProcessesIn(layout)).toEqual([]);
    expect(readJson(layout.facts)).toBeUndefined();
  });
});

test("a start that fails says why, with the child's own words, and leaves nothing", { timeout: MINUTE }, async () => {
  const layout = layoutOf(tempDir("up-fails"));
  const program = up(layout.dir, ["--database-url", "postgres://nobody@127.0.0.1:1/none"]);
  expect(await program.exited).toEqual({ code: 2, signal: null });
  expect(program.stderr()).toContain("[database_unavailable]");
  expect(program.stdout()).toBe("");
  expect(findProcessesIn(layout)).toEqual([]);
});

test("a second Ctrl-C does not wait", { timeout: MINUTE }, async () => {
  const layout = layoutOf(tempDir("up-impatient"));
  const program = up(layout.dir, ["--agents", "1"]);
  const facts = await factsOf(program);
  program.kill("SIGINT");
  await eventually(() => program.stderr().includes("stopping"), { what: "the first signal to be taken" });
  program.kill("SIGINT");
  const { code } = await program.exited;
  expect([0, 130]).toContain(code);
  await eventually(() => living(pidsOf(facts)).length === 0 && findProcessesIn(layout).length === 0, { what: "everything to be gone", timeoutMs: MINUTE });
});

// Only root can become somebody else; as an ordinary user all other tests here are that case already.
test.skipIf(!isRoot)("an ordinary user can run it", { timeout: 2 * MINUTE }, async () => {
  const [uid, gid] = ["-u", "-g"].map((flag) => Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" })));
  const dir = `/tmp/skep-up-nobody-${process.pid}`;
  execFileSync("install", ["-d", "-m", "0700", dir]);
  chownSync(dir, uid!, gid!);
  try {
    const program = up(join(dir, "state"), ["--agents", "1"], { uid: uid!, gid: gid! });
    const facts = await factsOf(program);
    expect(facts.hosts).toHaveLength(1);
    expect(statSync(`/proc/${facts.pid}`).uid).toBe(uid);
    program.kill("SIGTERM");
    expect(await program.exited).toEqual({ code: 0, signal: null });
    const left = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((name) => {
      try {
        return readlinkSync(`/proc/${name}/cwd`).startsWith(dir);
      } catch {
        return false;
      }
    });
    expect(left).toEqual([]);
  } finally {
    execFileSync("rm", ["-rf", dir]);
  }
});
