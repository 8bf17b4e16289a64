/**
 * Requests to the operator API. Every request that changes something carries one Idempotency-Key, the same over all
 * its attempts: an answer that was lost on the way is asked for again, and nothing is done twice.
 */
import { instant, uuidv7, type Clock, type Instant, type Rng } from "@skep/core";
import type { OperatorRouteId } from "@skep/protocol";
import { CliError, detachedError, refusalError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import { addressOf, type Target } from "./path.ts";
import { pointerOf, type Schema } from "./schema.ts";
import { connectionError, type Transport } from "./transport.ts";

const MAX_ATTEMPTS = 4;
const FIRST_PAUSE_MS = 250;
/** A master that asks for more patience than this gets its answer passed on instead. */
const MAX_PAUSE_MS = 10_000;
/** A dry run asks every host of the deployment before it answers. */
const DEFAULT_QUIET_MS = 60_000;

export interface Reply<T> {
  readonly status: number;
  readonly data: T;
  /** As the master sent it, for --json. */
  readonly raw: unknown;
  /** The master's own clock at the answer: ages are counted against it. */
  readonly at: Instant;
  /** How many attempts it took: after the first, a refusal may be the echo of our own success. */
  readonly attempts: number;
}

export interface Call extends Target {
  readonly body?: unknown;
}

export interface Api {
  readonly transport: Transport;
  /** Throws CliError: the API's refusal, or what kept it from answering. */
  call<T>(id: OperatorRouteId, schema: Schema<T>, call?: Call): Promise<Reply<T>>;
}

export interface ApiDeps {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Aborts when the person has had enough. */
  readonly signal: AbortSignal;
  /** Silence for this long is a broken connection. */
  readonly quietMs?: number;
}

type Attempt = { readonly kind: "reply"; readonly status: number; readonly raw: unknown; readonly at: Instant } | { readonly kind: "failed"; readonly error: CliError; readonly retry: boolean; readonly afterMs?: number };

export function createApi({ transport, clock, rng, signal, quietMs = DEFAULT_QUIET_MS }: ApiDeps): Api {
  const attempt = async (id: OperatorRouteId, { body, ...target }: Call, key: string | undefined): Promise<Attempt> => {
    const { method, path } = addressOf(id, target);
    try {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const { statusCode: status, headers, body: stream } = await transport.send({
        method, path, signal, quietMs, headers: key === undefined ? {} : { "idempotency-key": key }, ...(text === undefined ? {} : { body: text }),
      });
      const raw = parseJson(await stream.text());
      if (status >= 200 && status < 300) return { kind: "reply", status, raw, at: dateOf(headers["date"]) ?? clock.now() };
      const afterMs = retryAfterMs(headers["retry-after"]);
      const error = refusalError(status, raw, afterMs);
      // That nothing is healthy is an answer about now, and the caller's to wait for.
      const retry = (status === 503 && error.code !== "no_healthy_endpoint") || status === 502 || status === 504 || error.code === "request_in_progress";
      return { kind: "failed", error, retry, ...(afterMs === undefined ? {} : { afterMs }) };
    } catch (error) {
      if (signal.aborted) throw detachedError();
      if (error instanceof CliError) throw error;
      return { kind: "failed", ...connectionError(error, transport.url) };
    }
  };

  const call: Api["call"] = async (id, schema, options = {}) => {
    const { method } = addressOf(id, options);
    const key = method === "GET" ? undefined : uuidv7(clock.now(), rng);
    for (let attempts = 1; ; attempts++) {
      const result = await attempt(id, options, key);
      if (result.kind === "reply") {
        const parsed = schema.safeParse(result.raw);
        if (parsed.success) return { status: result.status, data: parsed.data, raw: result.raw, at: result.at, attempts };
        const errors = parsed.error.issues.slice(0, 10).map((issue) => ({ pointer: pointerOf(issue.path), message: issue.message }));
        throw new CliError({ code: "unexpected_reply", title: "The answer is not what this version expects", detail: `${transport.url} answered ${method} ${id} in a shape this skep does not know.`, exit: EXIT.unexpected, fix: "Compare the versions of both: skep version.", errors });
      }
      const pauseMs = result.afterMs ?? FIRST_PAUSE_MS * 2 ** (attempts - 1);
      if (!result.retry || attempts >= MAX_ATTEMPTS || pauseMs > MAX_PAUSE_MS) throw result.error;
      await clock.sleep(pauseMs, signal);
      if (signal.aborted) throw detachedError();
    }
  };
  return { transport, call };
}

/** Not JSON at all: a proxy's page, kept as undefined so that it is judged by its status. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function retryAfterMs(header: string | string[] | undefined): number | undefined {
  return typeof header === "string" && /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : undefined;
}

function dateOf(header: string | string[] | undefined): Instant | undefined {
  const ms = typeof header === "string" ? Date.parse(header) : Number.NaN;
  return Number.isNaN(ms) ? undefined : instant(ms);
}
