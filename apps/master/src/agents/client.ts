/**
 * The master's calls to its agents (ports.ts). A hostile or broken agent can make a call fail, never make it throw,
 * hang or grow: see exchange.ts. A final refusal counts only when it comes as a Skep problem; a 404 of some other
 * server at that address must not end a row.
 */
import { SkepError, type DispatchAnswer, type HostRecord, type Logger } from "@skep/core";
import { acceptedReply, agentHealth, cancelReply, dryRunReply, jobView } from "@skep/protocol";
import type { z } from "zod";
import type { AgentClient } from "../ports.ts";
import { exchange, jsonOf, refusalOf, transportFacts, type AgentRequest, type Exchange } from "./exchange.ts";
import { openExec } from "./open-exec.ts";
import { createPools, LONG_STREAMS, SHORT_CALLS, type PoolDeps } from "./pools.ts";

export interface AgentClientDeps extends PoolDeps {
  readonly logger: Logger;
}

export interface PinnedAgentClient extends AgentClient {
  /** The host's pins or address changed: connections made under the old ones end. */
  forget(hostId: string): void;
  /** The master's own credentials changed. */
  forgetAll(): void;
}

/** A mebibyte of log, as the route's own limit has it. */
const LOG_LIMIT_BYTES = 1_048_576;
/** A probe answers quickly or not at all: it is asked while a host is being judged. */
const HEALTH_TIMEOUT_MS = 5_000;

export function createAgentClient(deps: AgentClientDeps): PinnedAgentClient {
  const pools = createPools(deps, SHORT_CALLS);
  const streams = createPools(deps, LONG_STREAMS);

  const call = async (host: HostRecord, request: AgentRequest): Promise<Exchange> => {
    try {
      const answer = await exchange(await pools.poolFor(host), deps.clock, request);
      // After a failure the next call starts from the name again, which may by then have another address.
      if (answer.kind === "failed") pools.forget(host.id);
      return answer;
    } catch (error) {
      if (!(error instanceof SkepError)) deps.logger.debug({ err: error, host_id: host.id }, "an agent could not be called");
      return { kind: "failed", because: transportFacts(error) };
    }
  };

  const parsed = <T>(schema: z.ZodType<T>, answer: Exchange, status: readonly number[]): T | undefined => {
    if (answer.kind === "failed" || !status.includes(answer.status)) return undefined;
    const result = schema.safeParse(jsonOf(answer.bytes));
    return result.success ? result.data : undefined;
  };
  const strange = (answer: Exchange): string => (answer.kind === "failed" ? answer.because : `the agent answered ${answer.status} in a form that is not ours`);

  return {
    async deliver(host, job): Promise<DispatchAnswer> {
      const answer = await call(host, { method: "POST", path: `/${job.operation}`, body: job, traceparent: job.traceparent });
      const accepted = parsed(acceptedReply, answer, [202]);
      if (accepted !== undefined && accepted.job_id === job.job_id) {
        return { kind: "accepted", opSeq: accepted.op_seq, bootId: accepted.boot_id, duplicate: accepted.duplicate };
      }
      if (answer.kind === "answer" && answer.status >= 400) {
        const refusal = refusalOf(answer.bytes);
        if (refusal !== undefined) return { kind: "refused", status: answer.status, ...refusal };
      }
      return { kind: "unreachable", detail: strange(answer) };
    },

    async dryRun(host, command) {
      const answer = await call(host, { method: "POST", path: `/${command.operation}`, body: { ...command, dry_run: true } });
      const reply = parsed(dryRunReply, answer, [200]);
      if (reply !== undefined) return reply;
      throw refusalError(host, answer, strange(answer));
    },

    async job(host, jobId) {
      const answer = await call(host, { method: "GET", path: `/jobs/${encodeURIComponent(jobId)}` });
      const job = parsed(jobView, answer, [200]);
      if (job !== undefined && job.job_id === jobId) return { kind: "job", job };
      if (answer.kind === "answer" && answer.status === 404 && refusalOf(answer.bytes)?.code === "job_not_found") return { kind: "unknown" };
      return { kind: "silent", because: strange(answer) };
    },

    async cancel(host, jobId, request) {
      const answer = await call(host, { method: "POST", path: `/jobs/${encodeURIComponent(jobId)}/cancel`, body: request });
      const reply = parsed(cancelReply, answer, [200, 202]);
      if (reply !== undefined && reply.job_id === jobId) return { kind: "answer", reply };
      return { kind: "silent", because: strange(answer) };
    },

    async health(host) {
      const startedMs = deps.clock.mono();
      const answer = await call(host, { method: "GET", path: "/health", totalMs: HEALTH_TIMEOUT_MS });
      const ms = deps.clock.mono() - startedMs;
      const health = parsed(agentHealth, answer, [200]);
      return health === undefined ? { ok: false, ms, error: strange(answer) } : { ok: true, ms, health };
    },

    async logs(host, placementId, component, offset, limit) {
      const path = `/logs/${encodeURIComponent(placementId)}/${encodeURIComponent(component)}?offset=${offset}&limit=${limit}`;
      const answer = await call(host, { method: "GET", path, maxBytes: LOG_LIMIT_BYTES });
      if (answer.kind === "answer" && answer.status === 200) {
        const next = Number(answer.headers["x-next-offset"]);
        // Bytes that would lie before the first one ever written are a lie.
        if (Number.isSafeInteger(next) && next >= answer.bytes.length) return { data: answer.bytes, nextOffset: next };
      }
      throw refusalError(host, answer, strange(answer));
    },

    async runCommand(host, placementId, component, command, signal) {
      try {
        return await openExec(await streams.poolFor(host), deps.clock, `/exec/${encodeURIComponent(placementId)}/${encodeURIComponent(component)}`, command, signal);
      } catch (error) {
        if (error instanceof SkepError && error.code !== "address_refused") throw new SkepError(error.code, `host ${host.name}: ${error.detail}`);
        throw new SkepError("host_unreachable", `host ${host.name}: ${transportFacts(error)}`);
      }
    },

    forget: (hostId) => {
      pools.forget(hostId);
      streams.forget(hostId);
    },
    forgetAll: () => {
      pools.forgetAll();
      streams.forgetAll();
    },
    close: async () => {
      await Promise.all([pools.close(), streams.close()]);
    },
  };
}

/** The agent's own refusal under its own code, or `host_unreachable` with the reason. */
function refusalError(host: HostRecord, answer: Exchange, because: string): SkepError {
  const refusal = answer.kind === "answer" && answer.status >= 400 ? refusalOf(answer.bytes) : undefined;
  if (refusal !== undefined) return new SkepError(refusal.code as SkepError["code"], `host ${host.name}: ${refusal.detail}`);
  return new SkepError("host_unreachable", `host ${host.name}: ${because}`);
}
