/** The master's calls to agents over the simulated network: the same answers as over TLS, read the same way. */
import { CLOSED_BREAKER, SkepError, createCallMetrics, viewBreaker, type DispatchAnswer, type HostRecord } from "@skep/core";
import type { Executor } from "@skep/agent";
import type { createControl } from "@skep/master";
import type { Network } from "./network.ts";
import type { SimProcess } from "./process.ts";

export type ControlDeps = Parameters<typeof createControl>[0];
export type AgentClient = ControlDeps["agents"];

/** The agent that answers at a host's address now, if any. */
export interface Reachable {
  readonly name: string;
  readonly agent: () => { readonly process: SimProcess; readonly executor: Executor } | undefined;
}

const PUSH_TIMEOUT_MS = 15_000;
const HEALTH_TIMEOUT_MS = 5_000;

export function createAgentClient(from: { readonly name: string; readonly process: SimProcess }, network: Network, hostOf: (hostId: string) => Reachable): AgentClient {
  const call = <T>(host: HostRecord, what: string, timeoutMs: number, handle: (executor: Executor) => Promise<T>): Promise<T> => {
    const target = hostOf(host.id);
    return network.call({
      from, what: `${what} ${target.name}`, timeoutMs,
      to: { name: target.name, process: () => target.agent()?.process },
      handle: async () => handle(target.agent()!.executor),
    });
  };
  const because = (error: unknown): string => (error instanceof Error ? error.message : String(error));

  return {
    async deliver(host, job): Promise<DispatchAnswer> {
      try {
        const reply = await call(host, `deliver ${job.job_id}`, PUSH_TIMEOUT_MS, (executor) => executor.admit(structuredClone(job)));
        return { kind: "accepted", opSeq: reply.op_seq, bootId: reply.boot_id, duplicate: reply.duplicate };
      } catch (error) {
        if (error instanceof SkepError && error.code !== "internal") return { kind: "refused", status: error.status, code: error.code, detail: error.detail };
        return { kind: "unreachable", detail: because(error) };
      }
    },
    dryRun: () => Promise.reject(new SkepError("host_unreachable", "the simulation makes no dry runs")),
    async job(host, jobId) {
      try {
        const job = await call(host, `job ${jobId}`, PUSH_TIMEOUT_MS, async (executor) => {
          const found = executor.job(jobId);
          if (found === undefined) throw new SkepError("job_not_found");
          return found;
        });
        return { kind: "job", job };
      } catch (error) {
        if (error instanceof SkepError && error.code === "job_not_found") return { kind: "unknown" };
        return { kind: "silent", because: because(error) };
      }
    },
    async cancel(host, jobId, request) {
      try {
        const reply = await call(host, `cancel ${jobId}`, PUSH_TIMEOUT_MS, (executor) => executor.cancel(jobId, { ...request, reason: request.reason ?? "operator" }));
        return { kind: "answer", reply };
      } catch (error) {
        return { kind: "silent", because: because(error) };
      }
    },
    async health(host) {
      const startedMs = from.process.clock.mono();
      try {
        const health = await call(host, "health", HEALTH_TIMEOUT_MS, async (executor) => ({ status: "ok" as const, phase: executor.phase(), version: "sim", boot_id: executor.bootId }));
        return { ok: true, ms: from.process.clock.mono() - startedMs, health };
      } catch (error) {
        return { ok: false, ms: from.process.clock.mono() - startedMs, error: because(error) };
      }
    },
    metrics: () => Promise.reject(new SkepError("metrics_unsupported")),
    logs: () => Promise.reject(new SkepError("logs_not_found")),
    runCommand: () => Promise.reject(new SkepError("exec_unsupported")),
    // The simulated network has no breaker in front of it: the ledger's rules must hold without one.
    circuit: () => viewBreaker(CLOSED_BREAKER, from.process.clock.mono()),
    openCircuits: () => [],
    calls: () => createCallMetrics(from.process.clock.mono()).summary(from.process.clock.mono()),
    close: () => Promise.resolve(),
  };
}
