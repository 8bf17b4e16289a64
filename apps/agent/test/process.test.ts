/** The agent as a process: the built binary, real TLS, real children, real kill -9. */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Spec } from "@skep/core";
import { fingerprintOf } from "@skep/pki";
import { eventually, requireBuilt, startProgram, tempDir, type Program } from "@skep/testkit";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Agent as HttpAgent } from "undici";
import { FAILPOINTS } from "../src/config.ts";
import { identify } from "../src/runner/proc.ts";
import { cleanup, masterClient, startMaster } from "./kit/agent-kit.ts";
import { deploy, target, teardown } from "./kit/executor-kit.ts";
import { HOST_ID, TRUST_DOMAIN, hostLeaf, masterLeaf, type FakeMaster } from "./kit/fake-master.ts";

const packageDir = dirname(dirname(fileURLToPath(import.meta.url)));
const BIN = join(packageDir, "bin", "skep-agent.js");
const running: Program[] = [];

beforeAll(() => requireBuilt(packageDir));
afterEach(async () => {
  for (const program of running.splice(0)) {
    program.kill("SIGTERM");
    await program.exited;
  }
  await cleanup();
});

interface Site {
  readonly dir: string;
  readonly master: FakeMaster;
  readonly client: HttpAgent;
}

/** An enrolled host directory and its master. */
async function site(): Promise<Site> {
  const master = await startMaster();
  const door = await startMaster({ door: true, authority: master.authority });
  door.on("enrol", ({ body }) => ({ status: 200, body: { cert_pem: hostLeaf(master.authority, { csrPem: String(body["csr_pem"]) }).certPem, chain_pem: master.authority.certPem, not_after: "2026-12-31T00:00:00.000Z" } }));
  const dir = tempDir("agent process");
  const bundle = { version: 1, host_id: HOST_ID, name: "web-01", enrol_urls: [door.url], master_urls: [master.url], ca_cert_pem: master.authority.certPem, ca_sha256: fingerprintOf(master.authority.certPem), trust_domain: TRUST_DOMAIN, token_id: HOST_ID, token: "t".repeat(43), expires_at: "2099-01-01T00:00:00.000Z" };
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "web-01.skep"), JSON.stringify(bundle), { mode: 0o600 });
  const enrol = startProgram([BIN, "enrol", join(dir, "web-01.skep")], { env: { SKEP_AGENT_DIR: join(dir, "identity"), HOME: dir } });
  expect((await enrol.exited).code, enrol.stderr()).toBe(0);
  expect(enrol.stdout()).toContain("Next: skep agent");
  return { dir, master, client: masterClient(masterLeaf(master.authority)) };
}

function start({ dir }: Site, env: Record<string, string> = {}): Program {
  const program = startProgram([BIN, "--json"], {
    env: { SKEP_AGENT_DIR: join(dir, "identity"), SKEP_STATE_DIR: join(dir, "state"), SKEP_AGENT_PORT: "0", SKEP_AGENT_LISTEN: "127.0.0.1", SKEP_LOG_LEVEL: "warn", SKEP_STOP_WORKLOADS_ON_EXIT: "true", HOME: dir, ...env },
  });
  running.push(program);
  return program;
}
const urlOf = async (program: Program): Promise<string> => (JSON.parse((await program.output(/^\{.*\}$/m))[0]) as { agent_url: string }).agent_url;
const push = (client: HttpAgent, origin: string, command: { operation: string }): Promise<number> =>
  client.request({ origin, path: `/${command.operation}`, method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(command) }).then(async (response) => (await response.body.dump(), response.statusCode), () => 0);

const sleeper = (version: string): Spec => ({ driver: "process", components: [{ name: "web", command: [process.execPath, "-e", "process.stdin.resume(); require('node:net').createServer().listen(0, '127.0.0.1')"], env: { VERSION: version }, ports: [], restart: { policy: "always" }, depends_on: [], stop_timeout_s: 2 }] });

/** Starts of a job, from the runners' own books. */
function startsOf(dir: string, jobId: string): number {
  const files = existsSync(join(dir, "state")) ? readdirSync(join(dir, "state"), { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith("starts.log")) : [];
  return files.flatMap((path) => readFileSync(join(dir, "state", path), "utf8").split("\n")).filter((line) => line.includes(jobId)).length;
}
const placementsOf = (master: FakeMaster): { generation: number; state: string }[] =>
  (master.beats().at(-1)!["status"] as { placements: { generation: number; state: string }[] }).placements;
const outcomeOf = (master: FakeMaster, jobId: string): unknown => master.deltas().findLast((delta) => delta["job_id"] === jobId && delta["status"] !== "running");

describe("the agent's process", () => {
  test("enrols, runs, survives kill -9 with its workload alive, and tears down", async () => {
    const here = await site();
    const first = start(here);
    const command = deploy(target(), 1, sleeper("1"));
    expect(await push(here.client, await urlOf(first), command)).toBe(202);
    await eventually(() => outcomeOf(here.master, command.job_id) as object | undefined, { what: "the outcome" });
    expect(outcomeOf(here.master, command.job_id)).toMatchObject({ status: "succeeded" });
    first.kill("SIGKILL");
    await first.exited;
    const second = start(here);
    const url = await urlOf(second);
    await eventually(() => placementsOf(here.master)[0]?.state === "running", { what: "the adopted workload" });
    expect(await push(here.client, url, command)).toBe(202);
    expect(startsOf(here.dir, command.job_id)).toBe(1);
    const gone = teardown(command, 2);
    expect(await push(here.client, url, gone)).toBe(202);
    await eventually(() => (outcomeOf(here.master, gone.job_id) as { status: string } | undefined)?.status === "succeeded", { what: "the teardown" });
  });

  test("a second agent on the same state is refused, and says by whom", async () => {
    const here = await site();
    const first = start(here);
    await urlOf(first);
    const second = start(here);
    expect((await second.exited).code).toBe(1);
    expect(second.stderr()).toContain(`process ${first.pid}`);
  });

  test("wrong settings are all named at once", async () => {
    const program = startProgram([BIN], { env: { SKEP_AGENT_PORT: "ninety", SKEP_LOG_LEVEL: "loud", SKEP_AGENT_URL: "http://x", HOME: "/nonexistent" } });
    expect((await program.exited).code).toBe(1);
    for (const name of ["SKEP_AGENT_PORT", "SKEP_LOG_LEVEL", "SKEP_AGENT_URL"]) expect(program.stderr()).toContain(name);
  });
});

describe("leaving", () => {
  const workloadOf = (dir: string): number[] => {
    const files = readdirSync(join(dir, "state"), { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith("starts.log"));
    return files.flatMap((path) => readFileSync(join(dir, "state", path), "utf8").split("\n").filter((line) => line !== "").map((line) => (JSON.parse(line) as { pid: number }).pid));
  };

  test("without a supervisor workloads stay; SIGTERM stops them when that was asked for", async () => {
    const here = await site();
    const first = start(here, { SKEP_SUPERVISED: "1" });
    const command = deploy(target(), 1, sleeper("1"));
    await push(here.client, await urlOf(first), command);
    await eventually(() => outcomeOf(here.master, command.job_id) as object | undefined, { what: "the outcome" });
    const [pid] = workloadOf(here.dir);
    first.child.stdin.end();
    expect((await first.exited).code).toBe(0);
    expect(identify(pid!)).toBeDefined();
    const second = start(here);
    await urlOf(second);
    second.kill("SIGTERM");
    expect((await second.exited).code).toBe(0);
    expect(identify(pid!)).toBeUndefined();
    // Sent before it ended, and read here when this process gets to it.
    await eventually(() => here.master.beats().at(-1)?.["phase"] === "stopping", { what: "its last beat" });
  });
});

describe("killed at each point", () => {
  test("ends in a truthful outcome, with the job started at most once", async () => {
    const here = await site();
    const at = target();
    let generation = 1;
    const first = start(here);
    const base = deploy(at, generation, sleeper("0"));
    expect(await push(here.client, await urlOf(first), base)).toBe(202);
    await eventually(() => outcomeOf(here.master, base.job_id) as object | undefined, { what: "the base" });
    let living = first;
    for (const point of FAILPOINTS) {
      living.kill("SIGKILL");
      await living.exited;
      const armed = start(here, { SKEP_ALLOW_FAILPOINTS: "1", SKEP_FAILPOINT: `${point}:kill` });
      generation += 1;
      const command = deploy(at, generation, sleeper(String(generation)));
      // before_report kills it in its first beat, before or after its ready line: what it did not take arrives at its successor.
      const url = await Promise.race([urlOf(armed).catch(() => undefined), armed.exited.then(() => undefined)]);
      const taken = url !== undefined && (await push(here.client, url, command)) === 202;
      expect((await armed.exited).signal, point).toBe("SIGKILL");
      living = start(here);
      const again = await urlOf(living);
      if (!taken) expect(await push(here.client, again, command)).toBe(202);
      await eventually(() => outcomeOf(here.master, command.job_id) as object | undefined, { what: `the outcome after ${point}`, timeoutMs: 60_000 });
      const outcome = outcomeOf(here.master, command.job_id) as { status: string; error_code?: string };
      if (outcome.status === "succeeded") {
        await eventually(() => placementsOf(here.master)[0]?.state === "running" && placementsOf(here.master)[0]?.generation === generation, { what: `generation ${generation} running after ${point}` });
        expect(startsOf(here.dir, command.job_id), point).toBe(1);
      } else {
        expect(outcome, point).toMatchObject({ status: "failed", error_code: "interrupted" });
        expect(startsOf(here.dir, command.job_id), point).toBeLessThanOrEqual(1);
      }
    }
  }, 600_000);
});
