/** Masters and hosts put together from production code: `createControl` over one ledger, `createExecutor` per host. */
import { createExecutor, type Executor } from "@skep/agent";
import { NO_ALLOWANCES, SkepError, instant, timingsFor, uuidv7, type HostId, type Logger, type Policy, type Timings } from "@skep/core";
import { createControl } from "@skep/master";
import { loop, specHash, type Loop } from "@skep/runtime";
import { createMemoryDatabase, type MemoryDatabase, type StorePoint } from "@skep/testkit";
import { createAgentClient, type Reachable } from "./agent-client.ts";
import { createJournalDisk, type JournalDisk } from "./journal-disk.ts";
import { createNetwork, type Network } from "./network.ts";
import { EPOCH_MS, createProcess, type SimProcess } from "./process.ts";
import { startReporter } from "./reporter.ts";
import type { Truth } from "./truth.ts";
import { createWorkloads, type Workloads } from "./workloads.ts";
import type { World } from "./world.ts";

export const INTERVAL_MS = 30_000;
export const TIMINGS = timingsFor(INTERVAL_MS);
const BEAT_TIMEOUT_MS = 10_000;
const DISPATCH_EVERY_MS = 5_000;
const RECONCILE_EVERY_MS = 15_000;
const ROLLOUT_EVERY_MS = 5_000;
const PROBE_EVERY_MS = 5_000;
const MOVE_EVERY_MS = 5_000;

type Control = Awaited<ReturnType<typeof createControl>>;

export interface Master {
  readonly name: string;
  readonly running: () => { readonly process: SimProcess; readonly control: Control } | undefined;
  start(): void;
  kill(because: string): void;
}

export interface Host extends Reachable {
  readonly id: HostId;
  readonly workloads: Workloads;
  readonly disk: JournalDisk;
  /** The agent's process, ready or not. */
  readonly process: () => SimProcess | undefined;
  start(): void;
  kill(because: string, powerCut: boolean): void;
}

export interface Cluster {
  readonly database: MemoryDatabase;
  readonly network: Network;
  readonly masters: readonly Master[];
  readonly hosts: readonly Host[];
  /** The database answers nobody. */
  setDatabaseDown(down: boolean): void;
  /** No chance of anything going wrong from here on. */
  calm(): void;
  setReconcile(on: boolean): void;
}

export interface ClusterOptions {
  readonly world: World;
  readonly policy: Policy;
  readonly timings: Timings;
  readonly truth: Truth;
  readonly hosts: number;
  readonly masters: number;
  /** The chance of a process dying at any one of its calls to the outside. */
  readonly deathShare: number;
}

const ignore = (): void => {};

export function createCluster({ world, policy, timings, truth, hosts: hostCount, masters: masterCount, deathShare }: ClusterOptions): Cluster {
  const network = createNetwork(world);
  const chance = world.rng("chance");
  let rough = true;
  let databaseDown = false;
  let reconcile = true;
  const dies = (): boolean => rough && chance.float() < deathShare;
  const logger: Logger = { debug: ignore, info: ignore, warn: ignore, error: (data, message) => truth.noteError(data, message), child: () => logger };
  // The database's clock is the world's: nobody else's is (faults I12).
  const databaseClock = { now: () => instant(EPOCH_MS + world.nowMs()), mono: () => world.nowMs(), sleep: (ms: number) => world.sleep(ms) };
  const database = createMemoryDatabase({ clock: databaseClock, policy, lineage: "sim" });

  const latencyOf = (process: SimProcess) => async (point: StorePoint): Promise<void> => {
    await process.port(`store ${point}`, async () => {
      if (databaseDown) {
        await world.sleep(2_000);
        throw new SkepError("database_unavailable", "the database is away");
      }
      if (rough && chance.float() < 0.1) await world.sleep(1 + chance.float() * 40);
      if (rough && chance.float() < 0.0005) throw new SkepError("database_unavailable", `the connection was cut at ${point}`);
    });
  };

  const hosts: Host[] = [];
  const hostOf = (hostId: string): Host => hosts.find((host) => host.id === hostId)!;

  function createMaster(index: number): Master {
    const name = `m${index}`;
    let process: SimProcess | undefined;
    let running: { process: SimProcess; control: Control } | undefined;
    let lives = 0;

    const boot = async (mine: SimProcess): Promise<void> => {
      const session = database.connect({ latency: latencyOf(mine) });
      mine.onKill(() => session.kill());
      const rng = world.rng(`${name} ${lives}`);
      const control = await createControl({
        store: session, clock: mine.clock, rng, logger, policy, timings, hash: specHash,
        agents: createAgentClient({ name, process: mine }, network, hostOf), failpoint: mine.failpoint,
      });
      running = { process: mine, control };
      const never = new AbortController().signal;
      const every = (what: string, everyMs: number, once: () => Promise<unknown>): Loop =>
        loop({ name: what, everyMs, jitterShare: 0.1, clock: mine.clock, rng, logger, once, signal: never });
      const dispatch = every("dispatch", DISPATCH_EVERY_MS, () => control.dispatchOnce());
      every("sweep", timings.sweepIntervalMs, () => control.sweepOnce());
      every("liveness", timings.sweepIntervalMs, () => control.livenessOnce());
      every("probes", PROBE_EVERY_MS, () => control.probeOnce());
      every("reconcile", RECONCILE_EVERY_MS, async () => (reconcile ? control.reconcileOnce() : undefined));
      const rollouts = every("rollouts", ROLLOUT_EVERY_MS, () => control.rolloutOnce());
      control.onWorkDue(() => dispatch.wake());
      control.onRolloutDue(() => rollouts.wake());
      const moves = every("moves", MOVE_EVERY_MS, () => control.drainOnce());
      control.onMoveDue(() => moves.wake());
    };

    const start = (): void => {
      lives += 1;
      const mine = createProcess(world, name, { skewMs: skew(`${name} ${lives}`), diesHere: dies });
      process = mine;
      mine.onKill(() => {
        running = undefined;
        if (process === mine) world.after(rough ? 1_000 + chance.float() * 90_000 : 1_000, start);
      });
      world.trace(`${name} starts`);
      boot(mine).catch((error: unknown) => mine.kill(`could not start: ${String(error)}`));
    };
    return { name, running: () => running, start, kill: (because) => process?.kill(because) };
  }

  function createHost(index: number): Host {
    const name = `h${index}`;
    const id = uuidv7(instant(EPOCH_MS + index), world.rng(`id ${name}`)) as HostId;
    const workloads = createWorkloads(world, name, truth.noteStart);
    const disk = createJournalDisk(world, name, truth.journalOf(id, workloads));
    let process: SimProcess | undefined;
    let running: { process: SimProcess; executor: Executor } | undefined;
    let lives = 0;
    let boots = 1;

    const start = (): void => {
      lives += 1;
      const label = `${name} ${lives}`;
      const mine = createProcess(world, name, { skewMs: skew(label), diesHere: dies });
      process = mine;
      mine.onKill(() => {
        running = undefined;
        truth.hostDown(id);
        disk.crash(false);
        if (process === mine) world.after(rough ? 500 + chance.float() * 120_000 : 1_000, start);
      });
      const rng = world.rng(label);
      const executor = createExecutor({
        journal: disk.open(mine), drivers: [workloads.driver(mine)], clock: mine.clock, rng, logger, policy, hash: specHash, allowed: () => NO_ALLOWANCES, realpath: async (path) => path,
        bootId: uuidv7(mine.clock.now(), rng), failpoint: mine.failpoint,
      });
      running = { process: mine, executor };
      world.trace(`${name} agent starts, boot ${boots}`);
      const link = {
        masters: masterCount,
        register: (to: number, request: Parameters<Control["register"]>[1]) => callMaster(name, mine, to, "register", (control) => control.register(id, request)),
        beat: (to: number, request: Parameters<Control["beat"]>[1]) => callMaster(name, mine, to, "beat", (control) => control.beat(id, request)),
      };
      executor.load().then(() => {
        executor.open();
        truth.hostUp(id);
        startReporter({ process: mine, executor, link, rng, logger, hostId: id, hostBootId: `${name}-${boots}`, trace: world.trace });
      }).catch((error: unknown) => mine.kill(`could not go on: ${String(error)}`));
    };
    return {
      id, name, workloads, disk, start,
      process: () => process,
      agent: () => running,
      kill: (because, powerCut) => {
        if (powerCut) {
          boots += 1;
          disk.crash(true);
          workloads.reboot();
        }
        process?.kill(because);
      },
    };
  }

  const callMaster = <T>(from: string, process: SimProcess, to: number, what: string, handle: (control: Control) => Promise<T>): Promise<T> =>
    network.call({
      from: { name: from, process }, what, timeoutMs: BEAT_TIMEOUT_MS,
      to: { name: masters[to]!.name, process: () => masters[to]!.running()?.process },
      handle: async () => handle(masters[to]!.running()!.control),
    });
  const skew = (label: string): number => Math.floor((world.rng(`skew ${label}`).float() * 2 - 1) * 3_600_000);

  for (let index = 1; index <= hostCount; index++) hosts.push(createHost(index));
  const masters = Array.from({ length: masterCount }, (_, index) => createMaster(index + 1));

  return {
    database, network, masters, hosts,
    setDatabaseDown: (down) => {
      databaseDown = down;
      world.trace(`database ${down ? "away" : "back"}`);
    },
    calm: () => {
      rough = false;
      databaseDown = false;
      network.calm();
      network.healAll();
      for (const host of hosts) {
        host.workloads.calm();
        host.disk.setFull(false);
      }
      world.trace("calm");
    },
    setReconcile: (on) => {
      reconcile = on;
    },
  };
}
