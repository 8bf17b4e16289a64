/**
 * HTTP to the engine over its socket. Invariants: no call is without a deadline (streams: without data for that long);
 * a call that ends early takes its socket with it, so a hung engine holds a bounded number of them and nobody else's
 * work; what was not answered is RUNTIME_UNAVAILABLE, never a guess.
 */
import type { Duplex } from "node:stream";
import { DriverError } from "@skep/core";
import type { AbortSignalLike, Clock } from "@skep/core";
import { Pool } from "undici";
import { EngineAway, EngineRefusal } from "./engine-error.ts";

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly body?: object | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly signal?: AbortSignalLike | undefined;
  /** Whole call; for streams: longest silence. */
  readonly deadlineMs?: number | undefined;
}

export interface EngineStream extends AsyncIterable<Uint8Array> {
  /** Drops the connection. Idempotent. */
  end(): void;
}

export interface Transport {
  /** The answer's JSON; undefined when it has no body. Throws EngineRefusal for 4xx and 5xx. */
  json<T>(method: Method, path: string, options?: CallOptions): Promise<T>;
  stream(method: Method, path: string, options?: CallOptions): Promise<EngineStream>;
  /** A connection of its own in both directions: how `exec` takes stdin. */
  hijack(path: string, options?: CallOptions): Promise<Duplex>;
  /** Whether the last answer was one. False before the first. */
  answered(): boolean;
  close(): void;
}
type Method = "GET" | "POST" | "DELETE";

/** Too small: a look at many containers takes long; too large: that many sockets wait for a hung engine. */
const CONNECTIONS = 8;
/** An answer this large is no answer of an engine's; reading on would fill our memory. */
const MAX_BODY_BYTES = 64 * 1_048_576;

/** `deadlineMs`: longest for an ordinary call. Too short: a busy engine seems away; too long: jobs notice late that it is. */
export function createTransport(socketPath: string, clock: Clock, deadlineMs: number, onAnswered: (answered: boolean) => void): Transport {
  const common = { socketPath, connectTimeout: deadlineMs, headersTimeout: 0, bodyTimeout: 0, pipelining: 1 };
  const calls = new Pool("http://localhost", { ...common, connections: CONNECTIONS });
  // One per follower; how many there are is bounded by what we follow: our containers, one event stream, commands.
  const streams = new Pool("http://localhost", common);
  let answered = false;
  const note = (now: boolean): void => {
    if (answered === now) return;
    answered = now;
    onAnswered(now);
  };

  const deadline = (options: CallOptions): Deadline => startDeadline(clock, options.deadlineMs ?? deadlineMs, options.signal);

  const explain = (error: unknown, method: string, path: string, limit: Deadline): unknown => {
    if (error instanceof EngineRefusal || error instanceof DriverError) return error;
    if (limit.why() === "aborted") return new DriverError("aborted", `${method} ${path} was called off`);
    note(false);
    const { code, message } = error as NodeJS.ErrnoException;
    const words = limit.why() === "late" ? `no answer within ${limit.ms} ms` : (code ?? message);
    return new EngineAway(`the container engine at ${socketPath} cannot be asked (${method} ${path}): ${words}`, ["ENOENT", "ECONNREFUSED", "EACCES"].includes(code ?? ""));
  };

  const send = async (pool: Pool, method: Method, path: string, options: CallOptions, limit: Deadline) => {
    const reply = await pool.request({
      path: path + queryOf(options.query), method, signal: limit.signal, ...bodyOf(options),
      headers: { host: "localhost", ...(options.body === undefined ? {} : { "content-type": "application/json" }), ...options.headers },
    });
    note(true);
    if (reply.statusCode < 400) return reply;
    const text = await readAll(reply.body);
    throw new EngineRefusal(reply.statusCode, messageOf(text) ?? `status ${reply.statusCode}`);
  };

  const json = async <T>(method: Method, path: string, options: CallOptions = {}): Promise<T> => {
    const limit = deadline(options);
    try {
      for (let tries = 0; ; tries++) {
        try {
          const reply = await send(calls, method, path, options, limit);
          const text = await readAll(reply.body);
          return (text.trim() === "" ? undefined : JSON.parse(text)) as T;
        } catch (error) {
          // The engine closed an idle connection just as we used it; only a question can be asked twice.
          if (method !== "GET" || tries > 0 || !["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
        }
      }
    } catch (error) {
      throw explain(error, method, path, limit);
    } finally {
      limit.done();
    }
  };

  const stream = async (method: Method, path: string, options: CallOptions = {}): Promise<EngineStream> => {
    const limit = deadline(options);
    try {
      const { body } = await send(streams, method, path, options, limit);
      const read = async function* (): AsyncGenerator<Uint8Array> {
        const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
        try {
          for (;;) {
            // Only waiting for the engine counts: a reader that is slow to take what came is not the engine's silence.
            limit.again();
            const next = await chunks.next();
            limit.pause();
            if (next.done === true) return;
            yield next.value;
          }
        } catch (error) {
          throw explain(error, method, path, limit);
        } finally {
          limit.done();
          body.on("error", () => {}).destroy();
        }
      };
      const iterator = read();
      limit.pause();
      return { [Symbol.asyncIterator]: () => iterator, end: () => limit.cut() };
    } catch (error) {
      limit.done();
      throw explain(error, method, path, limit);
    }
  };

  const hijack = async (path: string, options: CallOptions = {}): Promise<Duplex> => {
    const limit = deadline(options);
    const request = { path: path + queryOf(options.query), method: "POST" as const, protocol: "tcp", signal: limit.signal, ...bodyOf(options), headers: { host: "localhost", "content-type": "application/json" } };
    try {
      const { socket } = await streams.upgrade(request);
      note(true);
      return socket;
    } catch (error) {
      throw explain(error, "POST", path, limit);
    } finally {
      limit.done();
    }
  };

  const close = (): void => {
    for (const pool of [calls, streams]) void pool.destroy().catch(() => undefined);
  };
  return { json, stream, hijack, answered: () => answered, close };
}

/** For an agent whose settings name no engine that it would speak to: everything is refused with the same words. */
export function createNoTransport(why: DriverError): Transport {
  const refuse = (): Promise<never> => Promise.reject(why);
  return { json: refuse, stream: refuse, hijack: refuse, answered: () => false, close: () => {} };
}

interface Deadline {
  readonly ms: number;
  readonly signal: AbortSignal;
  why(): "late" | "aborted" | undefined;
  /** From now on, anew. */
  again(): void;
  pause(): void;
  /** As if the caller had aborted. */
  cut(): void;
  done(): void;
}

function startDeadline(clock: Clock, ms: number, caller: AbortSignalLike | undefined): Deadline {
  const ending = new AbortController();
  const over = new AbortController();
  let why: "late" | "aborted" | undefined;
  let sinceMs: number | undefined = clock.mono();
  const end = (because: "late" | "aborted"): void => {
    if (over.signal.aborted) return;
    why = because;
    over.abort();
    ending.abort();
  };
  const onCaller = (): void => end("aborted");
  const watch = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await clock.sleep(sinceMs === undefined ? ms : Math.max(1, sinceMs + ms - clock.mono()), over.signal);
      if (sinceMs !== undefined && clock.mono() - sinceMs >= ms) end("late");
    }
  };
  if (caller?.aborted === true) end("aborted");
  caller?.addEventListener("abort", onCaller, { once: true });
  void watch();
  return {
    ms, signal: ending.signal,
    why: () => why,
    again: () => void (sinceMs = clock.mono()),
    pause: () => void (sinceMs = undefined),
    cut: () => end("aborted"),
    done: () => {
      caller?.removeEventListener("abort", onCaller);
      over.abort();
    },
  };
}

const bodyOf = ({ body }: CallOptions): { body?: string } => (body === undefined ? {} : { body: JSON.stringify(body) });

function queryOf(query: CallOptions["query"]): string {
  const set = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  return set.length === 0 ? "" : `?${set.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&")}`;
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new Error(`the answer is larger than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Docker says `message`; Podman says `message` and `cause`; a proxy in between says anything. */
function messageOf(text: string): string | undefined {
  try {
    const { message, cause } = JSON.parse(text) as { message?: unknown; cause?: unknown };
    if (typeof message === "string") return message;
    return typeof cause === "string" ? cause : undefined;
  } catch {
    return text.trim() === "" ? undefined : text.trim();
  }
}
