/**
 * The agent's reporter over the simulated network: register, then beat at once, at every interval, and when there is a
 * delta to tell. It mirrors the real one's order of things: floors are durable before the session is taken, what is
 * acknowledged is forgotten and nothing else, a refusal for ever is written down as the job's outcome.
 */
import { SkepError, jitter, type Rng } from "@skep/core";
import type { Executor } from "@skep/agent";
import type { HeartbeatReply, HeartbeatRequest, PendingJob, RegisterReply, RegisterRequest } from "@skep/protocol";
import { NoAnswer } from "./network.ts";
import type { SimProcess } from "./process.ts";

/** How the reporter reaches a master; the transport decides which one and what happens on the way. */
export interface MasterLink {
  register(master: number, request: RegisterRequest): Promise<RegisterReply>;
  beat(master: number, request: HeartbeatRequest): Promise<HeartbeatReply | undefined>;
  readonly masters: number;
}

export interface ReporterDeps {
  readonly process: SimProcess;
  readonly executor: Executor;
  readonly link: MasterLink;
  readonly rng: Rng;
  readonly hostId: string;
  readonly hostBootId: string;
  readonly intervalMs: number;
  readonly trace: (line: string) => void;
}

const PUSH_AFTER_MS = 50;
const MAX_DELTAS = 500;
const FINAL = new Set(["stale_epoch", "stale_generation", "generation_conflict", "spec_hash_mismatch", "spec_refused", "no_active_deployment"]);

export async function runReporter(deps: ReporterDeps): Promise<never> {
  const { process, executor, link, rng } = deps;
  const { clock } = process;
  let session: number | undefined;
  let seq = 0;
  let master = Math.floor(rng.float() * link.masters);
  let nap: AbortController | undefined;
  let woken = false;
  executor.onDelta(() => {
    woken = true;
    nap?.abort();
  });

  const register = async (): Promise<void> => {
    const { op_seq, jobs } = executor.inventory();
    const { placements } = await executor.snapshot();
    const reply = await link.register(master, {
      boot_id: executor.bootId, host_boot_id: deps.hostBootId, agent_version: "sim", agent_url: "https://10.0.0.1:8444", op_seq,
      placements: placements as RegisterRequest["placements"], jobs: jobs as RegisterRequest["jobs"],
    });
    await executor.applyFloors(reply.floors.map((floor) => ({ placementId: floor.placement_id, epoch: floor.epoch, generation: floor.generation })));
    executor.setSession(reply.session_epoch);
    session = reply.session_epoch;
  };

  const beat = async (): Promise<void> => {
    const status = await executor.snapshot();
    const { op_seq, jobs } = executor.inventory();
    const deltas = executor.deltas(MAX_DELTAS);
    seq += 1;
    const reply = await link.beat(master, {
      host_uuid: deps.hostId, agent_version: "sim", protocol: 1, boot_id: executor.bootId, host_boot_id: deps.hostBootId, session_epoch: session, seq, op_seq,
      phase: executor.phase(), interval_ms: deps.intervalMs, status: { ...status }, jobs: jobs as HeartbeatRequest["jobs"], lifecycle: [...deltas],
    });
    await executor.ack(reply === undefined ? deltas.map(({ delta_id }) => ({ delta_id, result: "applied" as const })) : reply.acked);
    for (const job of reply?.pending_jobs ?? []) await take(job);
    for (const { job_id, reason, ...target } of reply?.cancel_jobs ?? []) {
      await executor.cancel(job_id, { ...target, reason: reason as "operator" }).catch(() => undefined);
    }
  };

  const take = async (job: PendingJob): Promise<void> => {
    try {
      await executor.admit(job);
    } catch (error) {
      if (error instanceof SkepError && FINAL.has(error.code)) await executor.recordRefusal(job, error.code, error.detail).catch(() => undefined);
    }
  };

  const round = async (): Promise<boolean> => {
    try {
      if (session === undefined) await register();
      await beat();
      return true;
    } catch (error) {
      if (error instanceof SkepError && error.code === "session_stale") {
        session = undefined;
        return false;
      }
      if (error instanceof NoAnswer || error instanceof SkepError) {
        deps.trace(`${process.name} could not report: ${error instanceof SkepError ? error.code : error.message}`);
        master = (master + 1) % link.masters;
        return true;
      }
      throw error;
    }
  };

  for (;;) {
    woken = false;
    const done = await round();
    if (!done) {
      await clock.sleep(200 + rng.float() * 800);
      continue;
    }
    if (!woken) {
      nap = new AbortController();
      await clock.sleep(jitter(deps.intervalMs, 0.1, rng), nap.signal);
      nap = undefined;
    }
    if (woken) await clock.sleep(PUSH_AFTER_MS);
  }
}
