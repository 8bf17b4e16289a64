/** Errors become HTTP in this one place (RFC 9457): a stable code on every refusal, no stack, no value of the request. */
import { ERRORS, SkepError, traceFacts, type Logger } from "@skep/core";
import type { Problem } from "@skep/protocol";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";

export const invalidBody = (error: Pick<z.core.$ZodError, "issues">): SkepError =>
  new SkepError("invalid_request", "The body is not valid.", {
    errors: error.issues.slice(0, 50).map((issue) => ({ pointer: issue.path.map((part) => `/${String(part).slice(0, 128)}`).join(""), message: issue.message.slice(0, 300) })),
  });

export function sendProblem(request: FastifyRequest, reply: FastifyReply, error: unknown, errorId: string, logger: Logger): FastifyReply {
  const known = error instanceof SkepError ? error : fromFramework(error);
  const code = known?.code ?? "internal";
  const { status, title, retryable, fix } = ERRORS[code];
  if (known === undefined) logger.error({ err: error, error_id: errorId, request_id: request.id, ...traceFacts(request.headers["traceparent"]) }, "a request failed on our side");
  const problem: Problem = {
    type: `urn:skep:error:${code}`, title, status, detail: known?.detail ?? title, code, request_id: request.id,
    ...(known === undefined ? { error_id: errorId } : {}), retryable, fix, errors: [...(known?.errors ?? [])],
  };
  if (known?.retryAfterMs !== undefined) void reply.header("retry-after", String(Math.ceil(known.retryAfterMs / 1_000)));
  return reply.code(status).header("content-type", "application/problem+json").serializer(JSON.stringify).send(problem);
}

/** What fastify itself refuses, in our vocabulary. undefined = ours. */
function fromFramework(error: unknown): SkepError | undefined {
  const { code, statusCode } = Object(error) as { code?: unknown; statusCode?: unknown };
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") return new SkepError("payload_too_large", "The body may have at most 1 MiB.");
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") return new SkepError("unsupported_media_type");
  if (code === "FST_ERR_NOT_FOUND" || code === "FST_ERR_BAD_URL") return new SkepError("route_not_found");
  if (code === "FST_ERR_HANDLER_TIMEOUT") return new SkepError("request_timeout");
  if (typeof code === "string" && code.startsWith("FST_ERR_CTP_")) return new SkepError("malformed_json");
  if (error instanceof SyntaxError && statusCode === 400) return new SkepError("malformed_json");
  return typeof statusCode === "number" && statusCode >= 400 && statusCode < 500 ? new SkepError("invalid_request", "The request could not be read.") : undefined;
}
