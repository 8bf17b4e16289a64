/** Control over the ledger in memory, with hosts that do as the test says and tell it in real beats. */
import { PRODUCTION_POLICY, timingsFor, seededRng, uuidv7, type HostId, type JobId, type Logger, type ObservedState, type Policy, type ReportedComponent, type Tracer } from "@skep/core";
import type { PendingJob } from "@skep/protocol";
import { createLogger, specHash } from "@skep/runtime";
import { ManualClock, createMemoryDatabase, type MemorySession } from "@skep/testkit";
import { createControl, type Control } from "../../src/control/index.ts";
import type { AgentClient, ControlDeps, OperatorContext } from "../../src/ports.ts";
import { fakeAgents } from "../http/harness.ts";

export type Outcome = "succeeded" | { readonly error: string };

export interface Fleet {
  readonly control: Control;
  readonly store: MemorySession;
  readonly clock: ManualClock;
  readonly hosts: readonly string[];
  /** Jobs in the order in which they were delivered. */
  readonly jobs: readonly { readonly host: string; readonly job: PendingJob }[];
  context(): OperatorContext;
  /** Another master on the same ledger. */
  another(): Promise<Control>;
  /** Delivers what is due and tells of how each delivered job ended; undefined = it says nothing yet. */
  work(answer: (host: string, job: PendingJob) => Outcome | undefined): Promise<number>;
  /** Every host beats once, saying what it runs. */
  beat(): Promise<void>;
  /** What the host says of the placement from its next beat on. */
  say(host: string, state: ObservedState, components?: readonly ReportedComponent[]): void;
  /** Works, beats and passes until nothing moves. */
  settle(answer: (host: string, job: PendingJob) => Outcome | undefined): Promise<void>;
  /** Silence: it takes nothing and says nothing. */
  setAway(host: string, away: boolean): Promise<void>;
}

interface Host {
  readonly id: HostId;
  readonly name: string;
  session: number;
  seq: number;
  away: boolean;
  readonly placements: Map<string, { readonly job: PendingJob; state: ObservedState; components: readonly ReportedComponent[] }>;
  readonly open: Map<string, PendingJob>;
}

/** What one test wants otherwise than the rest. */
export interface ControlWish {
  readonly answers?: Partial<AgentClient>;
  readonly observe?: ControlDeps["observe"];
  readonly tracer?: Tracer;
  readonly logger?: Logger;
}

export async function startControl(hostCount: number, policy: Policy = PRODUCTION_POLICY, wish: ControlWish = {}): Promise<Fleet> {
  const { answers = {}, observe, tracer, logger = createLogger({ name: "test", level: "silent", destination: "stderr" }) } = wish;
  const clock = new ManualClock();
  const database = createMemoryDatabase({ clock, policy });
  const store = database.connect();
  const rng = seededRng(11);
  const hosts = Array.from({ length: hostCount }, (_, index): Host => ({ id: uuidv7(clock.now(), rng) as HostId, name: `web-${index + 1}`, session: 0, seq: 0, away: false, placements: new Map(), open: new Map() }));
  const hostOf = (id: string): Host => hosts.find((host) => host.id === id)!;
  const jobs: { host: string; job: PendingJob }[] = [];
  const agents: AgentClient = {
    ...fakeAgents(),
    deliver: async (record, job) => {
      const host = hostOf(record.id);
      if (host.away) return { kind: "unreachable", detail: "away" };
      const duplicate = jobs.some((one) => one.job.job_id === job.job_id);
      if (!duplicate) {
        jobs.push({ host: host.name, job });
        host.open.set(job.job_id, job);
      }
      return { kind: "accepted", opSeq: 1, bootId: "boot", duplicate };
    },
    cancel: async (record, jobId) => {
      const host = hostOf(record.id);
      if (host.away) return { kind: "silent", because: "away" };
      host.open.delete(jobId);
      return { kind: "answer", reply: { status: "cancelled", job_id: jobId } };
    },
    ...answers,
  };
  const make = (): Promise<Control> => createControl({ store: database.connect(), agents, clock, rng, logger, tracer, policy, timings: timingsFor(30_000), hash: specHash, failpoint: () => undefined, observe });
  const control = await make();
  await store.transaction(async (tx) => {
    for (const host of hosts) {
      await tx.insertHost({ id: host.id, name: host.name, labels: {}, notes: undefined, address: "10.0.0.1", agentPort: 1, allowedCidr: undefined });
      await tx.casHostStatus(host.id, "pending", "enrolled", "test");
    }
  });
  /** Beats are committed in groups that wait a moment for each other, by the clock that only we move. */
  const driven = async <T>(work: Promise<T>): Promise<T> => {
    let done = false;
    void work.finally(() => (done = true)).catch(() => undefined);
    while (!done) await clock.run(5);
    return work;
  };
  for (const host of hosts) host.session = (await control.register(host.id, { boot_id: "boot", host_boot_id: "k", agent_version: "1", op_seq: 0 })).session_epoch;

  const beatOf = (host: Host, lifecycle: readonly object[] = []): Promise<unknown> => {
    host.seq += 1;
    const placements = [...host.placements].map(([id, { job, state, components }]) => ({
      placement_id: id, deployment: job.deployment, epoch: job.epoch, generation: job.generation, spec_hash: "spec_hash" in job ? job.spec_hash : "0".repeat(64), state, components: [...components],
    }));
    return driven(control.beat(host.id, {
      host_uuid: host.id, agent_version: "1", boot_id: "boot", session_epoch: host.session, seq: host.seq, op_seq: host.seq, phase: "ready", status: { placements },
      jobs: [...host.open.values()].map((job) => ({ job_id: job.job_id, operation: job.operation, status: "running" })), lifecycle: [...lifecycle], capabilities: ["noop"],
    }));
  };
  const beat = async (): Promise<void> => {
    clock.advance(1_000);
    for (const host of hosts) if (!host.away) await beatOf(host);
  };
  const work: Fleet["work"] = async (answer) => {
    await driven(control.dispatchOnce());
    let ended = 0;
    for (const host of hosts) {
      for (const job of [...host.open.values()]) {
        const outcome = host.away ? undefined : answer(host.name, job);
        if (outcome === undefined) continue;
        ended += 1;
        host.open.delete(job.job_id);
        if (outcome === "succeeded" && job.operation === "teardown") host.placements.delete(job.placement_id);
        else if (outcome === "succeeded") host.placements.set(job.placement_id, { job, state: "desired" in job && job.desired === "stopped" ? "stopped" : "running", components: [] });
        const status = outcome === "succeeded" ? "succeeded" : "failed";
        await beatOf(host, [{
          delta_id: uuidv7(clock.now(), rng), job_id: job.job_id as JobId, placement_id: job.placement_id, deployment: job.deployment, operation: job.operation, status, generation: job.generation, epoch: job.epoch,
          ...(outcome === "succeeded" ? {} : { error: outcome.error, error_code: "start_failed" }),
        }]);
      }
    }
    return ended;
  };
  await beat();
  return {
    control, store, clock, hosts: hosts.map((host) => host.name), jobs, work, beat,
    another: make,
    context: () => ({ actor: "token:test", requestId: uuidv7(clock.now(), rng), idempotency: undefined }),
    say: (name, state, components = []) => {
      const host = hosts.find((one) => one.name === name)!;
      for (const placement of host.placements.values()) Object.assign(placement, { state, components });
    },
    settle: async (answer) => {
      for (let still = 0, rounds = 0; still < 2; rounds++) {
        if (rounds > 200) throw new Error("it never settles");
        const ended = await work(answer);
        await beat();
        const { stepped } = await control.rolloutOnce();
        const { stepped: moved } = await control.drainOnce();
        still = ended + stepped + moved === 0 ? still + 1 : 0;
      }
    },
    setAway: async (name, away) => {
      const host = hosts.find((one) => one.name === name)!;
      host.away = away;
      await store.transaction(async (tx) => void (await tx.casHostStatus(host.id, away ? "active" : "unreachable", away ? "unreachable" : "active", "the test says so")));
    },
  };
}
