/**
 * The operator API as the supervisor and the demo use it: plain HTTP on loopback, one request at a time. A POST carries an
 * Idempotency-Key that stays the same over its retries, so that an answer lost with a killed master is asked for again.
 */
import { randomUUID } from "node:crypto";
import { request } from "node:http";
import type { Clock } from "@skep/core";

const REQUEST_TIMEOUT_MS = 10_000;
const RETRY_PAUSE_MS = 200;

export interface ApiReply {
  readonly status: number;
  readonly body: unknown;
}

/** The API's own words of refusal. */
export class ApiRefusal extends Error {
  override readonly name = "ApiRefusal";
  readonly status: number;
  readonly code: string;
  constructor(what: string, status: number, body: unknown) {
    const said = (member: string): string => ((value) => (typeof value === "string" ? value : ""))((Object(body) as Record<string, unknown>)[member]);
    super(`${what}: ${status} ${said("code")} ${said("detail")} ${said("fix")}`.trimEnd());
    this.status = status;
    this.code = said("code");
  }
}

export interface Api {
  get(path: string): Promise<unknown>;
  post(path: string, body: unknown): Promise<unknown>;
  /** One attempt, whatever the answer. Rejects only when there is none. */
  once(method: string, path: string, body?: unknown, key?: string): Promise<ApiReply>;
}

export interface ApiOptions {
  /** Functions, because a restarted master is asked for its address again. */
  readonly url: () => string;
  readonly token: () => string;
  readonly clock: Clock;
  /** How long a master that is not there, or cannot answer yet, is asked again. */
  readonly patienceMs: number;
}

export function createApi(options: ApiOptions): Api {
  const { clock } = options;
  const once: Api["once"] = (method, path, body, key) => send({ url: `${options.url()}${path}`, method, token: options.token(), body, key });

  const attempt = async (method: string, path: string, body?: unknown): Promise<ApiReply> => {
    const key = method === "GET" ? undefined : randomUUID();
    const deadlineMs = clock.mono() + options.patienceMs;
    for (;;) {
      const reply = await once(method, path, body, key).catch((error: unknown) => error as Error);
      if (!(reply instanceof Error) && !isPassing(reply)) return reply;
      if (clock.mono() > deadlineMs) {
        if (reply instanceof Error) throw new Error(`${method} ${path}: the master does not answer (${reply.message})`, { cause: reply });
        return reply;
      }
      await clock.sleep(RETRY_PAUSE_MS);
    }
  };
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const reply = await attempt(method, path, body);
    if (reply.status < 300) return reply.body;
    throw new ApiRefusal(`${method} ${path}`, reply.status, reply.body);
  };
  return { get: (path) => call("GET", path), post: (path, body) => call("POST", path, body), once };
}

/** Worth asking again, with the same key. */
const isPassing = ({ status, body }: ApiReply): boolean => status === 503 || status === 429 || (Object(body) as { code?: unknown }).code === "request_in_progress";

interface Outgoing {
  readonly url: string;
  readonly method: string;
  readonly token: string;
  readonly body: unknown;
  readonly key: string | undefined;
}

function send({ url, method, token, body, key }: Outgoing): Promise<ApiReply> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers: Record<string, string> = { authorization: `Bearer ${token}`, accept: "application/json" };
  if (text !== undefined) headers["content-type"] = "application/json";
  if (key !== undefined) headers["idempotency-key"] = key;
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers, agent: false, timeout: REQUEST_TIMEOUT_MS }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.once("error", reject);
      incoming.once("end", () => {
        const reply = Buffer.concat(chunks).toString("utf8");
        try {
          resolve({ status: incoming.statusCode ?? 0, body: reply === "" ? null : JSON.parse(reply) });
        } catch {
          reject(new Error(`the answer is not JSON: ${reply.slice(0, 100)}`));
        }
      });
    });
    outgoing.once("timeout", () => outgoing.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS} ms`)));
    outgoing.once("error", reject);
    outgoing.end(text);
  });
}
