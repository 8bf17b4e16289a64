/**
 * The master's calls to its agents (ports.ts). A hostile or broken agent can make a call fail, never make it throw,
 * hang or grow: see exchange.ts. Every call passes the host's circuit: see ask.ts. A final refusal counts only when it
 * comes as a Skep problem; a 404 of some other server at that address must not end a row.
 */
import { SkepError, type CircuitView, type DispatchAnswer, type HostId, type HostRecord, type Logger } from "@skep/core";
import { acceptedReply, agentHealth, cancelReply, dryRunReply, jobView, METRICS_LIMIT_BYTES } from "@skep/protocol";
import type { AgentClient, Withheld } from "../ports.ts";
import { ask, circuitError, circuitWords, jsonReply, replyOrThrow, type Asked, type AskDeps } from "./ask.ts";
import { createCircuits, type CallObserver } from "./circuits.ts";
import { isStranger, transportFacts } from "./exchange.ts";
import { openExec, type OpenedExec } from "./open-exec.ts";
import { readExposition } from "./read-metrics.ts";
import { createPools, LONG_STREAMS, SHORT_CALLS, type PoolDeps } from "./pools.ts";

export interface AgentClientDeps extends PoolDeps {
  readonly logger: Logger;
  readonly observer?: CallObserver | undefined;
  /** Of every host's circuit; see circuits.ts. */
  readonly coolDownMs?: number | undefined;
}

export interface PinnedAgentClient extends AgentClient {
  /** The host's pins changed: connections made under the old ones end, and so does what its breaker believed. */
  forget(hostId: HostId): void;
  /** The master's own credentials changed. */
  forgetAll(): void;
}

/** A mebibyte of log, as the route's own limit has it. */
const LOG_LIMIT_BYTES = 1_048_576;
/** A scrape through the master must end before Prometheus' own time-out, 10 s by default. */
const METRICS_TIMEOUT_MS = 8_000;
/** A probe answers quickly or not at all: it is asked while a host is being judged. */
const HEALTH_TIMEOUT_MS = 5_000;

export function createAgentClient(deps: AgentClientDeps): PinnedAgentClient {
  const pools = createPools(deps, SHORT_CALLS);
  const streams = createPools(deps, LONG_STREAMS);
  const circuits = createCircuits(deps);
  const asking: AskDeps = { pools, circuits, clock: deps.clock, logger: deps.logger };
  const why = (asked: Exclude<Asked<unknown>, { kind: "reply" }>): string =>
    asked.kind === "silent" ? asked.because : asked.kind === "refused" ? `${asked.code}: ${asked.detail}` : circuitWords(asked);

  return {
    async deliver(host, job): Promise<DispatchAnswer> {
      const asked = await ask(asking, host, { method: "POST", path: `/${job.operation}`, body: job, traceparent: job.traceparent }, (answer) => {
        const accepted = answer.status === 202 ? jsonReply(acceptedReply)(answer) : undefined;
        return accepted?.job_id === job.job_id ? accepted : undefined;
      });
      switch (asked.kind) {
        case "reply":
          return { kind: "accepted", opSeq: asked.value.op_seq, bootId: asked.value.boot_id, duplicate: asked.value.duplicate };
        case "refused":
          return asked;
        case "silent":
          return { kind: "unreachable", detail: asked.because };
        case "circuit_open":
          return { kind: "circuit_open", detail: circuitWords(asked), retryAfterMs: asked.retryAfterMs };
      }
    },

    dryRun: async (host, command) => replyOrThrow(host, await ask(asking, host, { method: "POST", path: `/${command.operation}`, body: { ...command, dry_run: true } }, jsonReply(dryRunReply))),

    async job(host, jobId) {
      const asked = await ask(asking, host, { method: "GET", path: `/jobs/${encodeURIComponent(jobId)}` }, (answer) => {
        const job = jsonReply(jobView)(answer);
        return job?.job_id === jobId ? job : undefined;
      });
      if (asked.kind === "reply") return { kind: "job", job: asked.value };
      if (asked.kind === "refused" && asked.status === 404 && asked.code === "job_not_found") return { kind: "unknown" };
      return { kind: "silent", because: why(asked) };
    },

    async cancel(host, jobId, request) {
      const asked = await ask(asking, host, { method: "POST", path: `/jobs/${encodeURIComponent(jobId)}/cancel`, body: request }, (answer) => {
        const reply = jsonReply(cancelReply)(answer);
        return reply?.job_id === jobId ? reply : undefined;
      });
      return asked.kind === "reply" ? { kind: "answer", reply: asked.value } : { kind: "silent", because: why(asked) };
    },

    async health(host, signal) {
      const startedMs = deps.clock.mono();
      const asked = await ask(asking, host, { method: "GET", path: "/health", totalMs: HEALTH_TIMEOUT_MS, signal }, jsonReply(agentHealth));
      const ms = deps.clock.mono() - startedMs;
      if (asked.kind === "reply") return { ok: true, ms, health: asked.value };
      if (asked.kind !== "circuit_open") return { ok: false, ms, error: why(asked) };
      return { ok: false, ms: 0, error: why(asked), withheld: { failedAgoMs: asked.failedAgoMs, ...circuitFacts(circuits.view(host)) } };
    },

    async metrics(host) {
      const asked = await ask(asking, host, { method: "GET", path: "/metrics", maxBytes: METRICS_LIMIT_BYTES, totalMs: METRICS_TIMEOUT_MS }, ({ status, bytes }) => (status === 200 ? readExposition(bytes) : undefined));
      if (asked.kind === "refused" && asked.status === 404 && asked.code === "route_not_found") throw new SkepError("metrics_unsupported", `host ${host.name}: its agent has no metrics`);
      return replyOrThrow(host, asked);
    },

    async logs(host, placementId, component, offset, limit) {
      const path = `/logs/${encodeURIComponent(placementId)}/${encodeURIComponent(component)}?offset=${offset}&limit=${limit}`;
      return replyOrThrow(host, await ask(asking, host, { method: "GET", path, maxBytes: LOG_LIMIT_BYTES }, ({ status, headers, bytes }) => {
        const next = Number(headers["x-next-offset"]);
        // Bytes that would lie before the first one ever written are a lie.
        return status === 200 && Number.isSafeInteger(next) && next >= bytes.length ? { data: bytes, nextOffset: next } : undefined;
      }));
    },

    async runCommand(host, placementId, component, command, signal) {
      const pass = circuits.begin(host);
      if (pass.kind === "circuit_open") throw circuitError(host, pass);
      let opened: OpenedExec;
      try {
        opened = await openExec(await streams.poolFor(host), deps.clock, `/exec/${encodeURIComponent(placementId)}/${encodeURIComponent(component)}`, command, signal);
      } catch (error) {
        pass.settle({ outcome: signal.aborted ? "aborted" : unansweredOutcome(error), because: transportFacts(error) });
        if (error instanceof SkepError && error.code !== "address_refused") throw ofHost(host, error);
        throw new SkepError("host_unreachable", `host ${host.name}: ${transportFacts(error)}`);
      }
      if (opened.kind === "refused") {
        pass.settle({ outcome: signal.aborted ? "aborted" : opened.outcome, because: transportFacts(opened.error) });
        throw ofHost(host, opened.error);
      }
      // What the circuit asks is whether the host took the command; how long that runs is the command's own affair.
      pass.settle({ outcome: "success" });
      return opened.exec;
    },

    circuit: circuits.view,
    openCircuits: circuits.open,
    calls: circuits.calls,
    forget: (hostId) => {
      pools.forget(hostId);
      streams.forget(hostId);
      circuits.pinsChanged(hostId);
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

const circuitFacts = ({ consecutiveFailures, cause }: CircuitView): Pick<Withheld, "consecutiveFailures" | "stranger"> => ({ consecutiveFailures, stranger: cause === "identity" });

const ofHost = (host: HostRecord, { code, detail }: SkepError): SkepError => new SkepError(code, `host ${host.name}: ${detail}`);

/** How a command went that nobody answered. */
function unansweredOutcome(error: unknown): "failure" | "identity" | "aborted" {
  if (!(error instanceof SkepError)) return "failure";
  if (error.code === "address_refused") return "aborted";
  return isStranger(error.cause) ? "identity" : "failure";
}
