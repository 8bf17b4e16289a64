/**
 * One bounded request to an agent. Whatever the agent or the network does ends here as a value: at most `totalMs`, at
 * most `maxBytes`, no redirect followed, nothing decompressed (faults F50).
 */
import { setImmediate } from "node:timers/promises";
import { SkepError, type Clock } from "@skep/core";
import { problemSchema } from "@skep/protocol";
import type { Pool } from "undici";

export interface AgentRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** JSON text. */
  readonly body?: string | undefined;
  /** The span that this request is made for. */
  readonly traceparent?: string | undefined;
  /** The whole exchange, ms. Default 15 s. */
  readonly totalMs?: number;
  /** Default 64 KiB: longer answers are not read to their end. */
  readonly maxBytes?: number;
  /** Gives the request up. */
  readonly signal?: AbortSignal | undefined;
}

export type Exchange =
  | { readonly kind: "answer"; readonly status: number; readonly headers: Readonly<Record<string, string | string[] | undefined>>; readonly bytes: Buffer }
  /** `stranger`: whoever answered is not the pinned host. `givenUp`: by the caller; nothing was learnt. */
  | { readonly kind: "failed"; readonly because: string; readonly stranger?: boolean; readonly givenUp?: boolean };

export const TOTAL_TIMEOUT_MS = 15_000;
export const REPLY_LIMIT_BYTES = 65_536;

export async function exchange(pool: Pool, clock: Clock, request: AgentRequest): Promise<Exchange> {
  const totalMs = request.totalMs ?? TOTAL_TIMEOUT_MS;
  const maxBytes = request.maxBytes ?? REPLY_LIMIT_BYTES;
  const over = new AbortController();
  const timer = new AbortController();
  void clock.sleep(totalMs, timer.signal).then(() => {
    if (!timer.signal.aborted) over.abort();
  });
  try {
    const { statusCode, headers, body } = await pool.request({
      method: request.method,
      path: request.path,
      headers: { ...(request.body === undefined ? {} : { "content-type": "application/json" }), ...(request.traceparent === undefined ? {} : { traceparent: request.traceparent }) },
      ...(request.body === undefined ? {} : { body: request.body }),
      signal: request.signal === undefined ? over.signal : AbortSignal.any([over.signal, request.signal]),
    });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      // Leaving the loop destroys the stream, and with it the connection of whoever sends too much.
      if (size > maxBytes) return { kind: "failed", because: `the agent's answer is longer than ${maxBytes} bytes` };
      chunks.push(chunk);
    }
    // undici frees a connection one turn after the answer's end; asking sooner would cost another handshake.
    await setImmediate();
    return { kind: "answer", status: statusCode, headers, bytes: Buffer.concat(chunks) };
  } catch (error) {
    if (request.signal?.aborted === true) return { kind: "failed", because: "given up by this master", givenUp: true };
    return { kind: "failed", because: over.signal.aborted ? `no answer within ${totalMs} ms` : transportFacts(error), stranger: isStranger(error) };
  } finally {
    timer.abort();
  }
}

/** A refusal in our own form; undefined when whatever answered does not speak like an agent of ours. */
export function refusalOf(bytes: Buffer): { readonly code: string; readonly detail: string } | undefined {
  const parsed = problemSchema.pick({ code: true, detail: true }).safeParse(jsonOf(bytes));
  return parsed.success ? { code: parsed.data.code, detail: parsed.data.detail.slice(0, 1_000) } : undefined;
}

export function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** True when the connection was refused by us, because the certificate at its other end is not the host's. */
export function isStranger(error: unknown): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof SkepError) return cause.code === "cert_mismatch" || cause.code === "wrong_role";
    if (cause instanceof AggregateError && cause.errors.some(isStranger)) return true;
  }
  return false;
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
