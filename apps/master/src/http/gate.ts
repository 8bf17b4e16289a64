/**
 * What every request passes before its body is read: limits, Host, who asks and whether they may. Default-deny: a
 * route without a row in the table is a public page by name or does not exist. Denials are audited, so that probing
 * is seen, and at a bounded rate, so that probing cannot fill the disk.
 */
import { isIP } from "node:net";
import { SkepError, traceFacts, uuidv7, type Span } from "@skep/core";
import type { Route } from "@skep/protocol";
import { specHash } from "@skep/runtime";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { OperatorContext } from "../ports.ts";
import { createAuthenticator, roleAllows, type Authenticator, type Principal } from "./authenticate.ts";
import { createRateLimiter } from "./rate-limit.ts";
import { checkContentType } from "./read-body.ts";
import { rememberTokens } from "./remembered-tokens.ts";
import { createRequestTraces } from "./request-traces.ts";
import type { Requests } from "./routing.ts";
import type { OperatorDeps, OperatorLimits } from "./settings.ts";

const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,128}$/;
const DOCS_CSP = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; base-uri 'self'";
const API_CSP = "default-src 'none'; frame-ancestors 'none'";
/** How many denials of one principal are written down per minute. */
const AUDITED_DENIALS = { perMinute: 10, burst: 10 };
const PUBLIC_PAGES_PER_MINUTE = { perMinute: 600, burst: 200 };

/** The caller's X-Request-Id where it is harmless in a log line, else one of ours. */
export const requestIdOf = (given: string | string[] | undefined, deps: Pick<OperatorDeps, "clock" | "rng">): string =>
  typeof given === "string" && REQUEST_ID.test(given) ? given : uuidv7(deps.clock.now(), deps.rng);

interface RequestState {
  principal?: Principal;
  leave?: () => void;
  span?: Span;
}

export interface Gate extends Requests {
  /** Whether it was let in as somebody's. */
  admitted(request: FastifyRequest): boolean;
  /** A stream is no longer a request being worked on; it has limits of its own. */
  leave(request: FastifyRequest): void;
}

export function createGate(app: FastifyInstance, deps: OperatorDeps, limits: OperatorLimits, authenticator: Authenticator): Gate {
  const { clock } = deps;
  const states = new WeakMap<FastifyRequest, RequestState>();
  const forgiving = createAuthenticator(rememberTokens(deps.store, clock), deps.identity.now);
  const perToken = createRateLimiter(clock, { perMinute: limits.requestsPerMinute, burst: limits.requestsPerMinute });
  const creations = createRateLimiter(clock, { perMinute: limits.hostCreationsPerMinute, burst: limits.hostCreationsPerMinute });
  const failures = createRateLimiter(clock, { perMinute: limits.unauthenticatedPerMinute, burst: limits.unauthenticatedPerMinute });
  const pages = createRateLimiter(clock, PUBLIC_PAGES_PER_MINUTE);
  const denials = createRateLimiter(clock, AUDITED_DENIALS);
  const trace = createRequestTraces(deps);
  let inFlight = 0;

  const enter = (reply: FastifyReply, state: RequestState): void => {
    if (inFlight >= limits.inFlight) throw new SkepError("overloaded", `${inFlight} requests are being worked on.`, { retryAfterMs: 1_000 });
    inFlight += 1;
    state.leave = () => {
      delete state.leave;
      inFlight -= 1;
    };
    // A caller that hangs up ends no response; its closing is then the only sign.
    reply.raw.once("close", () => state.leave?.());
  };

  const audit = async (request: FastifyRequest, actor: string, key: string, code: string): Promise<void> => {
    if (!denials.allows(key)) return;
    const subject = `route:${request.routeOptions.config.route?.id ?? "none"}`;
    try {
      await deps.store.transaction((tx) => tx.appendAudit({ actor, action: "api.denied", subject, outcome: "denied", requestId: request.id, detail: { code, ip: request.ip } }));
    } catch (err) {
      // The denial stands whether or not it can be written down.
      deps.logger.error({ err, request_id: request.id, actor, ...traceFacts(request.traceparent) }, "a denial could not be audited");
    }
  };

  const admit = async (request: FastifyRequest, route: Route, state: RequestState): Promise<void> => {
    if (route.access.kind === "public") return;
    if (route.access.kind !== "role") throw new SkepError("route_not_found");
    let principal: Principal;
    try {
      principal = await (request.routeOptions.config.worksWithoutLedger === true ? forgiving : authenticator).authenticate(request.headers.authorization);
    } catch (error) {
      if (!(error instanceof SkepError) || error.code !== "unauthenticated") throw error;
      // Only failures count against an address: neighbours with good tokens are not locked out by one that guesses.
      failures.take(request.ip);
      if (request.headers.authorization !== undefined) await audit(request, "anonymous", `ip:${request.ip}`, error.code);
      throw error;
    }
    state.principal = principal;
    perToken.take(principal.tokenId);
    if (!roleAllows(principal.role, route.access.role)) {
      await audit(request, principal.actor, principal.actor, "forbidden");
      throw new SkepError("forbidden", `${route.id} needs the role ${route.access.role}; this token is a ${principal.role}.`);
    }
    if (request.routeOptions.config.limit === "creation") creations.take(principal.tokenId);
  };

  app.decorateRequest("traceparent", undefined);
  app.addHook("onRequest", async (request, reply) => {
    const state: RequestState = {};
    states.set(request, state);
    state.span = trace(request, request.routeOptions.config.route);
    request.traceparent = state.span.traceparent;
    // A caller that hangs up ends no response; the span of what it began ends with its connection.
    reply.raw.once("close", () => endSpan(reply, state));
    void reply.headers({
      "x-request-id": request.id,
      traceparent: state.span.traceparent,
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      "referrer-policy": "no-referrer",
      "cache-control": "no-store",
      "cross-origin-resource-policy": "same-origin",
      "content-security-policy": request.url.startsWith("/docs") ? DOCS_CSP : API_CSP,
    });
    if (deps.tls === undefined) checkHostHeader(request, deps.allowedHosts ?? []);
    if (/%00/.test(request.url)) throw new SkepError("invalid_request", "The URL holds a NUL character.");
    const route = request.routeOptions.config.route;
    if (request.is404) {
      pages.take(request.ip);
      throw new SkepError("route_not_found", `No route answers ${request.method} here.`);
    }
    if (route === undefined) return pages.take(request.ip);
    // Probes of the process must be answered most of all when it is busy.
    if (route.access.kind !== "public") enter(reply, state);
    await admit(request, route, state);
    checkContentType(request);
  });
  app.addHook("onResponse", async (request, reply) => {
    const state = states.get(request);
    state?.leave?.();
    if (state !== undefined) endSpan(reply, state);
  });

  return {
    admitted: (request) => states.get(request)?.principal !== undefined,
    leave: (request) => states.get(request)?.leave?.(),
    principalOf: (request) => {
      const principal = states.get(request)?.principal;
      if (principal === undefined) throw new Error("a public route asked for its principal");
      return principal;
    },
    contextOf: (request, route) => {
      const principal = states.get(request)?.principal;
      return { actor: principal?.actor ?? "anonymous", requestId: request.id, traceparent: request.traceparent, idempotency: idempotencyOf(request, route, principal) };
    },
  };
}

function endSpan(reply: FastifyReply, { span, principal }: RequestState): void {
  if (principal === undefined) return;
  const { statusCode } = reply;
  span?.end({ error: statusCode >= 400 ? `http_${statusCode}` : undefined, attributes: { httpStatus: statusCode } });
}

function idempotencyOf(request: FastifyRequest, route: Route, principal: Principal | undefined): OperatorContext["idempotency"] {
  const key = request.headers["idempotency-key"];
  if (route.method === "GET" || key === undefined || principal === undefined) return undefined;
  if (typeof key !== "string" || !IDEMPOTENCY_KEY.test(key)) {
    throw new SkepError("invalid_request", "The Idempotency-Key is not valid.", { errors: [{ pointer: "/headers/idempotency-key", message: "must be 1–128 visible ASCII characters" }] });
  }
  // What was validated, not what was typed: a default that is spelt out is the same request.
  const bodyHash = specHash({ params: request.params ?? null, query: request.query ?? null, body: request.body ?? null });
  return { scope: `${principal.tokenId}:${route.method} ${route.path}`, key, bodyHash };
}

/**
 * A plain listener on loopback is reachable from any web page through a name that resolves to 127.0.0.1. The name
 * gives such a request away; tokens would stop it too, and this stops it first.
 */
function checkHostHeader(request: FastifyRequest, allowed: readonly string[]): void {
  const header = request.headers.host ?? "";
  const name = /^(\[[0-9a-f:.]+\]|[^:]*)(:\d{1,5})?$/i.exec(header)?.[1]?.toLowerCase() ?? "";
  const literal = name.startsWith("[") ? name.slice(1, -1) : name;
  if (literal === "localhost" || literal.endsWith(".localhost") || isIP(literal) !== 0 || allowed.includes(name)) return;
  throw new SkepError("invalid_request", "The Host header names another machine than this listener's.", { errors: [{ pointer: "/headers/host", message: "use localhost or an address" }] });
}
