/**
 * The tour: each step does one thing to a real fleet of two and returns what that proves. A step that cannot prove its
 * claim throws. Invariant checked at every kill: one start per job, and a row that says what is really the case.
 */
import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { certList, fleetHealth, hostHealth, operationPlan } from "@skep/protocol";
import type { AcceptedOperation, LifecycleJson } from "@skep/protocol";
import { fingerprintOf } from "@skep/pki";
import type { Clock } from "@skep/core";
import { findWorkloads } from "../leftovers.ts";
import { awaitSight, expectThat } from "./check.ts";
import { HEARTBEAT_INTERVAL_MS, SIGHT_TIMEOUT_MS } from "./stage.ts";
import type { Stage } from "./stage.ts";
import { workload } from "./workload.ts";

export interface Step {
  readonly name: string;
  /** Resolves with what it has proved. */
  readonly run: (stage: Stage, clock: Clock) => Promise<string>;
}

const BOTH = ["local-1", "local-2"];

const enrol: Step["run"] = async ({ api, facts }) => {
  for (const host of facts().hosts) {
    const pins = certList.parse(await api.get(`/v1/hosts/${host.name}/certs`)).items.filter((pin) => pin.status === "active");
    const presented = fingerprintOf(await readFile(host.cert_path, "utf8"));
    expectThat(pins.length === 1 && pins[0]?.sha256 === presented, `the one active pin of ${host.name} to be its certificate's ${presented}`, pins);
    expectThat((statSync(host.key_path).mode & 0o077) === 0, `${host.key_path} to be readable by its owner only`, (statSync(host.key_path).mode & 0o777).toString(8));
  }
  return "two hosts enrolled by one-time token and a request signed on the host; the master pins exactly the certificates they hold";
};

const deploy: Step["run"] = async (stage) => {
  const rows = await stage.rowsEnded(await stage.deploy(workload({ name: "tour", hosts: BOTH, greeting: "one", heldBy: "" })));
  expectSucceeded(rows);
  const answers = await stage.answers("tour");
  expectThat([...answers.values()].every(({ greeting }) => greeting === "one") && answers.size === 2, "both hosts to answer \"one\"", [...answers]);
  await expectOneStartPerJob(stage, "tour");
  return "the rows say succeeded, and both web servers really answer, each started once";
};

const health: Step["run"] = async ({ api }, clock) => {
  for (const name of BOTH) {
    await awaitSight(clock, {
      expected: `${name} to be healthy`,
      timeoutMs: SIGHT_TIMEOUT_MS,
      look: async (saw) => {
        const found = hostHealth.parse(await api.get(`/v1/hosts/${name}/health`));
        saw(JSON.stringify({ health: found.health, liveness: found.liveness, placements: found.placements, reasons: found.reasons }));
        return found.health === "healthy" && (found.liveness.age_ms ?? Infinity) < 3 * HEARTBEAT_INTERVAL_MS && found.placements.running === 1 ? found : undefined;
      },
    });
  }
  return "each host beats, runs one placement and is healthy for a stated reason; what is not measured yet is null, not invented";
};

const mutate: Step["run"] = async (stage) => {
  const before = await stage.answers("tour");
  const accepted = (await stage.api.post("/v1/deployments/tour/mutate", { env: { GREETING: "two" } })) as AcceptedOperation;
  expectThat(accepted.generation === 2, "generation 2", accepted.generation);
  expectSucceeded(await stage.rowsEnded(accepted));
  const after = await stage.answers("tour");
  for (const name of BOTH) expectThat(after.get(name)?.greeting === "two" && after.get(name)?.pid !== before.get(name)?.pid, `${name} to answer "two" from a new process`, [...after]);
  await expectOneStartPerJob(stage, "tour");
  return "generation 2 is what answers now, from new processes";
};

const dryRun: Step["run"] = async (stage) => {
  const look = async (): Promise<string> => {
    const placements = await stage.placements("tour");
    const rows = await stage.rows("deployment=tour");
    return JSON.stringify([rows.map((row) => row.id), placements.map(({ generation, desired }) => [generation, desired]), placements.map((placement) => stage.starts(placement).length), [...(await stage.answers("tour"))]]);
  };
  const before = await look();
  const plan = operationPlan.parse(await stage.api.post("/v1/deployments/tour/mutate", { env: { GREETING: "three" }, dry_run: true }));
  expectThat(plan.hosts.length === 2 && plan.hosts.every((host) => host.plan[0]?.action === "recreate"), "a plan to recreate web on two hosts", plan);
  const after = await look();
  expectThat(before === after, `nothing to change: ${before}`, after);
  return "the agents planned \"recreate web\", and left no trace: same rows, generation, processes and start counts";
};

const killAgent: Step["run"] = async (stage, clock) => {
  const untouched = await stage.answers("tour");
  const hold = stage.hold("agent-kill");
  const accepted = await stage.deploy(workload({ name: "under-agent-kill", hosts: ["local-1"], greeting: "survivor", heldBy: hold.path }));
  await awaitBegun(stage, clock, accepted);
  const pid = await killProcess(stage, "local-1");
  await awaitRestart(stage, clock, "local-1", pid);
  hold.release();
  const told = await expectTruth(stage, clock, await stage.rowsEnded(accepted));
  const after = await stage.answers("tour");
  expectThat(after.get("local-1")?.pid === untouched.get("local-1")?.pid, "the other workload of that host to be the same process", [[...untouched], [...after]]);
  return `agent ${pid} killed while it deployed; its successor found ${told}; the host's other workload never noticed`;
};

const killMaster: Step["run"] = async (stage, clock) => {
  const hold = stage.hold("master-kill");
  const accepted = await stage.deploy(workload({ name: "under-master-kill", hosts: BOTH, greeting: "survivor", heldBy: hold.path }));
  await awaitBegun(stage, clock, accepted);
  const pid = await killProcess(stage, "master");
  // Asked while the master is dead: the request waits for its successor and, repeated with its key, acts once.
  const waiting = stage.deploy(workload({ name: "asked-while-dead", hosts: ["local-2"], greeting: "patient", heldBy: "" }));
  await awaitRestart(stage, clock, "master", pid);
  hold.release();
  const told = await expectTruth(stage, clock, await stage.rowsEnded(accepted));
  // And once more at the very moment of a request, when nobody can know whether it was committed.
  const racing = stage.deploy(workload({ name: "asked-while-dying", hosts: ["local-1"], greeting: "once", heldBy: "" }));
  await clock.sleep(5);
  const second = await killProcess(stage, "master");
  await awaitRestart(stage, clock, "master", second);
  for (const request of [await waiting, await racing]) {
    await expectTruth(stage, clock, await stage.rowsEnded(request));
    const rows = await stage.rows(`deployment=${request.name}`);
    expectThat(rows.filter((row) => row.retry_of === null).length === 1, `one accepted operation for ${request.name}`, rows.map((row) => row.id));
  }
  return `master ${pid} killed while both agents worked, ${second} in the middle of a request: ${told}; a request repeated with its key acted once`;
};

const recovery: Step["run"] = async (stage, clock) => {
  const names = ["tour", "under-agent-kill", "under-master-kill", "asked-while-dead", "asked-while-dying"];
  await awaitSight(clock, {
    expected: "no open row and every placement running what was asked for",
    timeoutMs: SIGHT_TIMEOUT_MS,
    look: async (saw) => {
      const open = await stage.rows("open=true");
      const placements = (await Promise.all(names.map((name) => stage.placements(name)))).flat();
      const wrong = placements.filter((placement) => placement.state !== "running" || placement.observed?.generation !== placement.generation);
      const fleet = fleetHealth.parse(await stage.api.get("/v1/fleet/health"));
      saw(JSON.stringify({ open: open.map((row) => [row.deployment, row.status]), wrong: wrong.map(({ deployment, host, because }) => [deployment, host, because]), hosts: fleet.hosts }));
      return open.length === 0 && wrong.length === 0 && fleet.hosts["active"] === 2 ? true : undefined;
    },
  });
  let jobs = 0;
  for (const name of names) jobs += await expectOneStartPerJob(stage, name);
  return `no row is open, both hosts are active, all placements run what was asked for; ${jobs} jobs, ${jobs} starts`;
};

const teardown: Step["run"] = async (stage) => {
  for (const name of ["tour", "under-agent-kill", "under-master-kill", "asked-while-dead", "asked-while-dying"]) {
    expectSucceeded(await stage.rowsEnded((await stage.api.post(`/v1/deployments/${name}/teardown`, {})) as AcceptedOperation));
  }
  const left = findWorkloads(stage.layout);
  expectThat(left.length === 0, "no process of a workload to be left", left);
  return "every deployment is torn down, and /proc knows no process of theirs";
};

export const TOUR: readonly Step[] = [
  { name: "enrol", run: enrol },
  { name: "deploy", run: deploy },
  { name: "health", run: health },
  { name: "mutate", run: mutate },
  { name: "dry-run", run: dryRun },
  { name: "kill -9 agent", run: killAgent },
  { name: "kill -9 master", run: killMaster },
  { name: "recovery", run: recovery },
  { name: "teardown", run: teardown },
];

function expectSucceeded(rows: readonly LifecycleJson[]): void {
  const bad = rows.filter((row) => row.status !== "succeeded");
  expectThat(bad.length === 0, "every row to have succeeded", bad.map((row) => `${row.host}: ${row.operation} ${row.status} ${row.failure_code ?? ""} ${row.error ?? ""}`).join("; "));
}

/** No job, whatever was killed around it, may have started its component twice. Resolves with the number of jobs that started something. */
async function expectOneStartPerJob(stage: Stage, deployment: string): Promise<number> {
  const starts = (await stage.placements(deployment)).flatMap((placement) => stage.starts(placement));
  const counts = new Map<string, number>();
  for (const { job } of starts) counts.set(job, (counts.get(job) ?? 0) + 1);
  expectThat(starts.length > 0 && [...counts.values()].every((count) => count === 1), `each job of ${deployment} to have started once`, starts);
  return counts.size;
}

/** A row that says succeeded must have its generation running; one that says failed must not. */
async function expectTruth(stage: Stage, clock: Clock, rows: readonly LifecycleJson[]): Promise<string> {
  for (const row of rows) {
    expectThat(["succeeded", "failed", "cancelled"].includes(row.status), `${row.deployment} on ${row.host} to have ended in what the agent says`, `${row.status}: ${row.because ?? ""}`);
    if (row.status === "succeeded") {
      await awaitSight(clock, { expected: `${row.deployment} to answer on ${row.host}`, timeoutMs: SIGHT_TIMEOUT_MS, look: async () => ((await stage.answers(row.deployment)).has(row.host) ? true : undefined) });
    } else {
      const jobs = (await stage.placements(row.deployment)).flatMap((placement) => stage.starts(placement)).filter((start) => start.job === row.id && start.pid !== undefined);
      expectThat(!jobs.some((start) => isAlive(start.pid!)), `no process of failed job ${row.id}`, jobs);
    }
    const [placement] = (await stage.placements(row.deployment)).filter(({ host }) => host === row.host);
    const starts = placement === undefined ? [] : stage.starts(placement).filter((start) => start.job === row.id);
    expectThat(starts.length <= 1, `job ${row.id} to have started at most once`, starts);
  }
  return rows.map((row) => `${row.deployment} on ${row.host} ${row.status}`).join(", ");
}

async function awaitBegun(stage: Stage, clock: Clock, accepted: AcceptedOperation): Promise<void> {
  await awaitSight(clock, {
    expected: `a process of ${accepted.name} to have been started, its row still open`,
    timeoutMs: SIGHT_TIMEOUT_MS,
    look: async (saw) => {
      const rows = await stage.rows(`deployment=${accepted.name}`);
      saw(rows.map((row) => `${row.host}: ${row.status}/${row.phase}`).join(", "));
      expectThat(rows.every((row) => row.completed_at === null), "the deploy to wait in the middle, where it is to be killed", rows.map((row) => row.status));
      const started = (await stage.placements(accepted.name)).filter((placement) => stage.starts(placement).length > 0);
      return started.length === accepted.placements.length ? true : undefined;
    },
  });
}

const pidOf = (stage: Stage, who: string): number | null => (who === "master" ? stage.facts().pid : (stage.facts().hosts.find((host) => host.name === who)?.pid ?? null));

async function killProcess(stage: Stage, who: string): Promise<number> {
  const pid = pidOf(stage, who);
  expectThat(pid !== null && isAlive(pid), `${who} to be alive before it is killed`, pid);
  process.kill(pid!, "SIGKILL");
  return pid!;
}

async function awaitRestart(stage: Stage, clock: Clock, who: string, killed: number): Promise<void> {
  await awaitSight(clock, {
    expected: `the supervisor to start ${who} again`,
    timeoutMs: SIGHT_TIMEOUT_MS,
    look: async (saw) => {
      const pid = pidOf(stage, who);
      saw(`pid ${pid}`);
      if (pid === null || pid === killed || !isAlive(pid)) return undefined;
      return who !== "master" || (await stage.api.once("GET", "/readyz")).status === 200 ? true : undefined;
    },
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
