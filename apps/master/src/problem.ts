/**
 * Errors become HTTP in this one place (RFC 9457). Invariants: a stable code of the registry on every refusal; a fault
 * of ours says nothing but an `error_id`, under which the log has the rest; no stack, no value of a request, no secret.
 */
import { ERRORS, SkepError, type ErrorCode, type FieldError } from "@skep/core";
import type { Problem } from "@skep/protocol";
import type { z } from "zod";

export const PROBLEM_TYPE = "application/problem+json";

export interface ProblemReply {
  readonly status: number;
  /** Content type, and Retry-After where waiting helps. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Problem;
  /** True when the fault is ours: log the error beside `body.error_id`. */
  readonly ours: boolean;
}

const DEFAULT_RETRY_AFTER_MS = 1_000;
/** A hostile body can be wrong in a million places; nobody reads more than these. */
const MAX_FIELD_ERRORS = 50;

export function toProblem(error: unknown, requestId: string, newErrorId: () => string): ProblemReply {
  const known = error instanceof SkepError ? error : fromFramework(error);
  const code: ErrorCode = known?.code ?? "internal";
  const { status, retryable, title, fix } = ERRORS[code];
  const ours = code === "internal" || code === "schema_too_new";
  const body: Problem = {
    type: `urn:skep:error:${code}`,
    title,
    status,
    detail: ours ? title : (known?.detail ?? title),
    code,
    request_id: requestId,
    ...(ours ? { error_id: newErrorId() } : {}),
    retryable,
    fix,
    errors: ours ? [] : [...(known?.errors ?? [])].slice(0, MAX_FIELD_ERRORS),
  };
  const wait = status === 429 || status === 503 || known?.retryAfterMs !== undefined;
  const retryAfterS = Math.max(1, Math.ceil((known?.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS) / 1000));
  return { status, body, ours, headers: { "content-type": PROBLEM_TYPE, ...(wait ? { "retry-after": String(retryAfterS) } : {}) } };
}

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

/** A failed validation as a refusal that names every wrong field by JSON pointer. Never repeats a value. */
export function invalidRequest(error: z.core.$ZodError, where: string): SkepError {
  const errors = error.issues.flatMap((issue): FieldError[] => {
    const pointer = pointerOf(issue.path);
    if (issue.code === "unrecognized_keys") return issue.keys.map((key) => ({ pointer: `${pointer}/${escaped(key)}`, message: "unknown field" }));
    return [{ pointer, message: issue.message }];
  });
  return new SkepError("invalid_request", `The ${where} is not valid.`, { errors: errors.slice(0, MAX_FIELD_ERRORS) });
}

const escaped = (key: string): string => key.slice(0, 128).replaceAll("~", "~0").replaceAll("/", "~1");
const pointerOf = (path: readonly PropertyKey[]): string => path.map((part) => `/${escaped(String(part))}`).join("");
