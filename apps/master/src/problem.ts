/**
 * Errors become HTTP in this one place (RFC 9457). Invariants: a stable code of the registry on every refusal; a fault
 * of ours says nothing but an `error_id`, under which the log has the rest; no stack, no value of a request, no secret.
 */
import { randomUUID } from "node:crypto";
import { ERRORS, SkepError, type ErrorCode, type FieldError, type Logger } from "@skep/core";
import type { Problem } from "@skep/protocol";
import type { FastifyReply } from "fastify";
import type { z } from "zod";

export const PROBLEM_CONTENT_TYPE = "application/problem+json";

export interface ProblemReply {
  readonly status: number;
  readonly body: Problem;
  /** For the Retry-After header: set where waiting helps. */
  readonly retryAfterS: number | undefined;
  /** True when the fault is ours: the error belongs into the log, beside `body.error_id`. */
  readonly internal: boolean;
}

const DEFAULT_RETRY_AFTER_MS = 1_000;
/** A hostile body can be wrong in a million places; nobody reads more than these. */
const MAX_FIELD_ERRORS = 50;

export function toProblem(error: unknown, requestId: string): ProblemReply {
  const known = error instanceof SkepError ? error : fromFramework(error);
  const code: ErrorCode = known?.code ?? "internal";
  const { status, retryable, title, fix } = ERRORS[code];
  const internal = code === "internal" || code === "schema_too_new";
  const body: Problem = {
    type: `urn:skep:error:${code}`,
    title,
    status,
    detail: internal ? title : (known?.detail ?? title),
    code,
    request_id: requestId,
    ...(internal ? { error_id: randomUUID() } : {}),
    retryable,
    fix,
    ...(known?.retryAfterMs === undefined ? {} : { retry_after_ms: Math.ceil(known.retryAfterMs) }),
    errors: internal ? [] : [...(known?.errors ?? [])].slice(0, MAX_FIELD_ERRORS),
  };
  const waits = status === 429 || status === 503 || known?.retryAfterMs !== undefined;
  return { status, body, internal, retryAfterS: waits ? Math.max(1, Math.ceil((known?.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS) / 1000)) : undefined };
}

/** Answers a request with its problem, and logs what only we may see. */
export function sendProblem(reply: FastifyReply, error: unknown, requestId: string, logger: Logger): FastifyReply {
  const { status, body, retryAfterS, internal } = toProblem(error, requestId);
  if (internal) logger.error({ err: error, error_id: body.error_id, request_id: requestId }, "a request failed on our side");
  if (retryAfterS !== undefined) void reply.header("retry-after", String(retryAfterS));
  return reply.code(status).header("content-type", PROBLEM_CONTENT_TYPE).serializer(JSON.stringify).send(body);
}

/** The code under which an error is answered. */
export const codeOf = (error: unknown): ErrorCode => (error instanceof SkepError ? error : fromFramework(error))?.code ?? "internal";

/** What fastify itself refuses, in our vocabulary. `undefined` = not an error of the request: ours. */
function fromFramework(error: unknown): SkepError | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown };
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new SkepError("payload_too_large");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
    case "FST_ERR_CTP_INVALID_TYPE":
      return new SkepError("unsupported_media_type");
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
    case "FST_ERR_CTP_INVALID_JSON_BODY":
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return new SkepError("malformed_json");
    case "FST_ERR_NOT_FOUND":
    case "FST_ERR_MAX_PARAM_LENGTH":
    case "FST_ERR_BAD_URL":
      return new SkepError("route_not_found");
    case "FST_ERR_REQUEST_TIMEOUT":
    case "FST_ERR_HANDLER_TIMEOUT":
      return new SkepError("overloaded");
  }
  if (error instanceof SyntaxError && statusCode === 400) return new SkepError("malformed_json");
  return typeof statusCode === "number" && statusCode >= 400 && statusCode < 500 ? new SkepError("invalid_request", "The request could not be read.") : undefined;
}

/** Every wrong field by JSON pointer. Never repeats a value: it may be a secret. */
export function fieldErrorsOf(error: Pick<z.core.$ZodError, "issues">): FieldError[] {
  const errors = error.issues.flatMap((issue): FieldError[] => {
    const pointer = pointerOf(issue.path);
    if (issue.code === "unrecognized_keys") return issue.keys.map((key) => ({ pointer: `${pointer}/${escaped(key)}`, message: "unknown field" }));
    return [{ pointer, message: issue.message }];
  });
  return errors.slice(0, MAX_FIELD_ERRORS);
}

/** A failed validation as a refusal. `where`: "body", "query". */
export const invalidRequest = (error: Pick<z.core.$ZodError, "issues">, where: string): SkepError =>
  new SkepError("invalid_request", `The ${where} is not valid.`, { errors: fieldErrorsOf(error) });

const escaped = (key: string): string => key.slice(0, 128).replaceAll("~", "~0").replaceAll("/", "~1");
const pointerOf = (path: readonly PropertyKey[]): string => path.map((part) => `/${escaped(String(part))}`).join("");
