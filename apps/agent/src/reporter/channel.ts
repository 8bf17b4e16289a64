/**
 * The agent's way to its master: one kept connection, one request at a time, every answer bounded. Invariants: a
 * request ends in a value, never in a throw; the peer is a master of our CA by its SPIFFE role, checked at each
 * handshake; no redirect is followed, nothing is decompressed, nothing longer than a mebibyte is read (faults F50).
 */
import { SkepError, type Clock } from "@skep/core";
import { clientTls, type AgentIdentity } from "@skep/pki";
import { Agent, type buildConnector } from "undici";

export type Answer =
  | { readonly kind: "answer"; readonly status: number; readonly json: unknown; readonly code: string; readonly detail: string; readonly retryAfterMs: number | undefined }
  | { readonly kind: "failed"; readonly because: string };

export interface Channel {
  /** `path` begins with a slash. Tries one master; after a failure the next request goes to the next one. */
  post(path: string, body: unknown): Promise<Answer>;
  /** Lets nothing more through and drops the connection. */
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 10_000;
/** The whole exchange: a peer that drips bytes is as silent as one that sends none. */
const TOTAL_TIMEOUT_MS = 20_000;
const MAX_ANSWER_BYTES = 1_048_576;
/** Above three of the longest intervals (5 min): a shorter one would make every beat a handshake (rulings 15). */
const KEEP_ALIVE_MS = 1_000_000;

export function createMasterChannel({ identity, clock }: { identity: AgentIdentity; clock: Clock }): Channel {
  const { caPem, certPem, keyPem, trustDomain } = identity;
  const agent = new Agent({
    connections: 1,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    headersTimeout: ANSWER_TIMEOUT_MS,
    bodyTimeout: ANSWER_TIMEOUT_MS,
    maxResponseSize: MAX_ANSWER_BYTES,
    // undici's own type knows fewer TLS options than it hands to tls.connect.
    connect: { ...clientTls({ trustDomain, caPem, certPem, keyPem, expect: { role: "master" } }), timeout: CONNECT_TIMEOUT_MS } as buildConnector.BuildOptions,
  });
  let turn = 0;

  async function post(path: string, body: unknown): Promise<Answer> {
    const origin = identity.masterUrls[turn % identity.masterUrls.length]!;
    const over = new AbortController();
    const done = new AbortController();
    void clock.sleep(TOTAL_TIMEOUT_MS, done.signal).then(() => {
      if (!done.signal.aborted) over.abort();
    });
    try {
      const response = await agent.request({
        origin: new URL(origin).origin, path, method: "POST", body: JSON.stringify(body),
        headers: { "content-type": "application/json" }, signal: over.signal,
      });
      const text = await response.body.text();
      if (response.statusCode >= 500) turn += 1;
      const json = jsonOf(text);
      return { kind: "answer", status: response.statusCode, json, ...problemOf(json), retryAfterMs: retryAfterOf(response.headers["retry-after"]) };
    } catch (error) {
      turn += 1;
      return { kind: "failed", because: over.signal.aborted ? `no answer within ${TOTAL_TIMEOUT_MS} ms` : transportFacts(error) };
    } finally {
      done.abort();
    }
  }

  return { post, close: () => agent.destroy() };
}

function jsonOf(text: string): unknown {
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function problemOf(json: unknown): { code: string; detail: string } {
  const { code, detail } = Object(json) as { code?: unknown; detail?: unknown };
  return { code: typeof code === "string" ? code.slice(0, 100) : "", detail: typeof detail === "string" ? detail.slice(0, 200) : "" };
}

function retryAfterOf(header: string | string[] | undefined): number | undefined {
  const seconds = Number(Array.isArray(header) ? header[0] : header);
  return header !== undefined && Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 300) * 1_000 : undefined;
}

/** Why a connection failed, in words of ours: an error's text may hold what the peer put there. */
export function transportFacts(error: unknown): string {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof SkepError) return `${cause.code}: ${cause.detail}`;
    if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return transportFacts(cause.errors[0]);
    const { code } = cause as { code?: unknown };
    if (typeof code === "string" && cause.cause === undefined) return `connection failed (${code})`;
  }
  return "connection failed";
}
