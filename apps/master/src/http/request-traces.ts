/**
 * The span of an operator's request. Every request has ids, for its answer and its log lines; recorded are those that
 * change something and those whose caller traces them. Invariants: nothing of a request that was not admitted is
 * recorded, so that a stranger cannot fill the collector; a dashboard that polls does not push deploys out of the queue.
 */
import { cleanTraceparent, type Rng, type Span, type Tracer } from "@skep/core";
import type { Route } from "@skep/protocol";
import { createIdTracer } from "@skep/runtime";
import type { FastifyRequest } from "fastify";

declare module "fastify" {
  interface FastifyRequest {
    /** Of its own span; undefined before the request was looked at. */
    traceparent?: string | undefined;
  }
}

export function createRequestTraces({ rng, tracer = createIdTracer(rng) }: { readonly rng: Rng; readonly tracer?: Tracer | undefined }): (request: FastifyRequest, route: Route | undefined) => Span {
  const ids = createIdTracer(rng);
  return (request, route) => {
    const parent = cleanTraceparent(request.headers["traceparent"]);
    if (route === undefined || (route.method === "GET" && parent === undefined)) return ids.startSpan("GET /", { parent });
    return tracer.startSpan(`${route.method} ${route.path as `/${string}`}`, { parent, kind: "server", attributes: { method: route.method, route: route.path } });
  };
}
