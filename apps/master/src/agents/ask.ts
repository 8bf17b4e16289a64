/**
 * One question to one agent: through the host's circuit, over its pinned pool, and read into one of four answers. This is
 * where a call's outcome is told to the breaker: what the caller got wrong (4xx) is the host answering, and so is an agent
 * that says of itself that it is booting, stopping or out of disk; everything else that is no answer of ours is a failure.
 */
import { SkepError, type Clock, type ErrorCode, type HostRecord, type Logger } from "@skep/core";
import type { z } from "zod";
import type { Circuits, CircuitOpen } from "./circuits.ts";
import { exchange, jsonOf, refusalOf, transportFacts, type AgentRequest, type Exchange } from "./exchange.ts";
import type { Pools } from "./pools.ts";

export type Asked<T> =
  | { readonly kind: "reply"; readonly value: T }
  /** In our own form, under a code of the registry. */
  | { readonly kind: "refused"; readonly status: number; readonly code: string; readonly detail: string }
  /** Nothing was learnt. */
  | { readonly kind: "silent"; readonly because: string }
  | CircuitOpen;

type Answer = Extract<Exchange, { kind: "answer" }>;
/** What a good answer says; undefined = it is not one of ours. */
export type ReadAnswer<T> = (answer: Answer) => T | undefined;

/** 5xx by which an agent that is alive and well-spoken puts a command off. */
const AGENT_STATES: ReadonlySet<string> = new Set<ErrorCode>(["agent_booting", "agent_draining", "disk_full"]);
const isHostFailure = (status: number, code: string | undefined): boolean => status >= 500 && (code === undefined || !AGENT_STATES.has(code));

/**
 * What an answer that is no reply of ours says of its host. `code`: where it came in our own form. A 4xx in any form is an
 * answer to a wrong question; a 2xx that is not ours is somebody else's server.
 */
export const outcomeOfAnswer = (status: number, code: string | undefined): "success" | "failure" => (status < 400 || isHostFailure(status, code) ? "failure" : "success");

export interface AskDeps {
  readonly pools: Pools;
  readonly circuits: Circuits;
  readonly clock: Clock;
  readonly logger: Logger;
}

export async function ask<T>(deps: AskDeps, host: HostRecord, { body, ...request }: Omit<AgentRequest, "body"> & { readonly body?: unknown }, read: ReadAnswer<T>): Promise<Asked<T>> {
  const pass = deps.circuits.begin(host);
  if (pass.kind === "circuit_open") return pass;
  const text = body === undefined ? undefined : JSON.stringify(body);
  const bytesSent = text === undefined ? 0 : Buffer.byteLength(text);
  let answer: Exchange;
  try {
    answer = await exchange(await deps.pools.poolFor(host), deps.clock, { ...request, body: text });
  } catch (error) {
    // An address that may not be called is our own rule and no call; a name that does not resolve is a host that cannot be reached.
    const refused = error instanceof SkepError;
    if (!refused) deps.logger.debug({ err: error, host_id: host.id }, "an agent could not be called");
    const because = transportFacts(error);
    pass.settle({ outcome: refused ? "aborted" : "failure", because });
    return { kind: "silent", because };
  }
  if (answer.kind === "failed" && answer.givenUp === true) {
    pass.settle({ outcome: "aborted", because: answer.because });
    return { kind: "silent", because: answer.because };
  }
  if (answer.kind === "failed") {
    // After a failure the next call starts from the name again, which may by then have another address.
    deps.pools.forget(host.id);
    pass.settle({ outcome: answer.stranger === true ? "identity" : "failure", bytesSent, because: answer.because });
    return { kind: "silent", because: answer.because };
  }
  const bytes = { bytesSent, bytesReceived: answer.bytes.length };
  const value = answer.status < 300 ? read(answer) : undefined;
  if (value !== undefined) {
    pass.settle({ outcome: "success", ...bytes });
    return { kind: "reply", value };
  }
  const refusal = answer.status >= 400 ? refusalOf(answer.bytes) : undefined;
  const because = refusal === undefined ? `the agent answered ${answer.status} in a form that is not ours` : `the agent answered ${answer.status} ${refusal.code}`;
  pass.settle({ outcome: outcomeOfAnswer(answer.status, refusal?.code), ...bytes, because });
  return refusal === undefined ? { kind: "silent", because } : { kind: "refused", status: answer.status, ...refusal };
}

/** A JSON body that passes its schema. */
export const jsonReply = <T>(schema: z.ZodType<T>): ReadAnswer<T> => ({ bytes }) => {
  const parsed = schema.safeParse(jsonOf(bytes));
  return parsed.success ? parsed.data : undefined;
};

/** Nothing but a reply will do: the agent's own refusal under its own code, `circuit_open`, or `host_unreachable` with the reason. */
export function replyOrThrow<T>(host: HostRecord, asked: Asked<T>): T {
  switch (asked.kind) {
    case "reply":
      return asked.value;
    case "refused":
      throw new SkepError(asked.code as ErrorCode, `host ${host.name}: ${asked.detail}`);
    case "silent":
      throw new SkepError("host_unreachable", `host ${host.name}: ${asked.because}`);
    case "circuit_open":
      throw circuitError(host, asked);
  }
}

export const circuitWords = ({ because, retryAfterMs }: CircuitOpen): string =>
  `the circuit is open (${because})${retryAfterMs === undefined ? " until an operator resets it, or its pin or address changes" : `, next try in ${Math.ceil(retryAfterMs / 1_000)} s`}`;

export const circuitError = (host: HostRecord, open: CircuitOpen): SkepError =>
  new SkepError("circuit_open", `host ${host.name}: ${circuitWords(open)}`, open.retryAfterMs === undefined ? {} : { retryAfterMs: open.retryAfterMs });
