/**
 * The one way a route comes to exist. Invariants: every route is a row of OPERATOR_ROUTES and every row has a handler,
 * or the listener does not start; access is attached from the table and nowhere else; what validates is what is
 * documented, and replies pass their schema before they leave.
 */
import type { SkepError } from "@skep/core";
import { EXEC_CONTENT_TYPE, OPERATOR_ROUTES, problemSchema, type Access, type OperatorRouteId, type Route } from "@skep/protocol";
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from "fastify";
import { z } from "zod";
import { invalidRequest, PROBLEM_CONTENT_TYPE } from "../problem.ts";
import type { OperatorContext } from "../ports.ts";
import type { Principal } from "./authenticate.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The row of the route table; absent on the pages of PUBLIC_PAGES. */
    readonly route?: Route;
    readonly limit?: "creation";
    /** A token that the ledger vouched for a short while ago will do while the database is away (remembered-tokens.ts). */
    readonly worksWithoutLedger?: boolean;
  }
}

/** Pages that plugins serve, without a row in the table. The route matrix knows them by this list. */
export const PUBLIC_PAGES = ["/openapi.json", "/docs", "/docs/", "/docs/static/*", "/docs/static/index.html", "/docs/static/swagger-initializer.js", "/docs/json", "/docs/yaml", "/docs/*"] as const;

/** The handler took the response over: a stream. */
export const STREAMED = Symbol("streamed");

export interface RouteInput<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly context: OperatorContext;
  /** Throws on public routes, which have none. */
  readonly principal: () => Principal;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

export interface Answer<T> {
  readonly status: number;
  readonly body: T;
  /** The stored answer of an earlier identical request. */
  readonly replayed?: boolean;
  readonly location?: string;
}

type Replies = Readonly<Record<number, z.ZodType>>;

interface Shape<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends Replies> {
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly replies: R;
  readonly limit?: "creation";
  /** Also answers as text/event-stream; or always so, or always with one JSON document per line. */
  readonly streams?: boolean | "events" | "ndjson";
  /** Not JSON but text, of this content type; `replies` are then strings, and refusals problems as everywhere. */
  readonly text?: string;
  readonly worksWithoutLedger?: boolean;
  /** Where the request may be larger than elsewhere. */
  readonly bodyBytes?: number;
  handle(input: RouteInput<z.output<P>, z.output<Q>, z.output<B>>): Promise<Answer<z.input<R[keyof R]>> | typeof STREAMED>;
}

/** A route whose types were checked where it was defined. */
export interface RouteDefinition extends Omit<Shape<z.ZodType, z.ZodType, z.ZodType, Replies>, "handle"> {
  readonly id: OperatorRouteId;
  handle(input: RouteInput<never, never, never>): Promise<Answer<unknown> | typeof STREAMED>;
}

const nothing = z.strictObject({});

/** Ties a handler to its row of the table; the schemas decide the handler's types. */
export function defineRoute<R extends Replies, P extends z.ZodType = typeof nothing, Q extends z.ZodType = typeof nothing, B extends z.ZodType = z.ZodUndefined>(
  id: OperatorRouteId,
  shape: Shape<P, Q, B, R>,
): RouteDefinition {
  return { id, ...shape } as unknown as RouteDefinition;
}

export interface Requests {
  /** Who asks, for the handler. Set by the gate before any body is read. */
  principalOf(request: FastifyRequest): Principal;
  contextOf(request: FastifyRequest, route: Route): OperatorContext;
}

export function registerRoutes(app: FastifyInstance, definitions: readonly RouteDefinition[], requests: Requests): void {
  const byId = new Map<string, RouteDefinition>(definitions.map((definition) => [definition.id, definition]));
  if (byId.size !== definitions.length) throw new Error("a route has two handlers");
  for (const route of OPERATOR_ROUTES) {
    const definition = byId.get(route.id);
    if (definition === undefined) throw new Error(`route ${route.id} of the table has no handler`);
    byId.delete(route.id);
    app.route({
      method: route.method,
      url: route.path,
      config: { route, ...(definition.limit === undefined ? {} : { limit: definition.limit }), ...(definition.worksWithoutLedger === true ? { worksWithoutLedger: true } : {}) },
      schema: schemaOf(route, definition),
      ...(definition.bodyBytes === undefined ? {} : { bodyLimit: definition.bodyBytes }),
      handler: async (request, reply) => {
        if (definition.body === undefined) refuseBody(request.body);
        const answer = await definition.handle({
          params: request.params as never,
          query: request.query as never,
          body: request.body as never,
          context: requests.contextOf(request, route),
          principal: () => requests.principalOf(request),
          request,
          reply,
        });
        if (answer === STREAMED) return reply;
        if (answer.replayed === true) void reply.header("idempotent-replayed", "true");
        if (answer.location !== undefined) void reply.header("location", answer.location);
        if (definition.text !== undefined) void reply.type(definition.text);
        return reply.code(answer.status).send(answer.body);
      },
    });
  }
  if (byId.size > 0) throw new Error(`not in OPERATOR_ROUTES: ${[...byId.keys()].join(", ")}`);
}

/** A field that would do nothing is a typo, also where there is nothing to say. An empty object is how some clients say nothing. */
function refuseBody(body: unknown): void {
  const parsed = nothing.optional().safeParse(body);
  if (!parsed.success) throw invalidRequest(parsed.error, "body");
}

/** Refuses, at start, every route that neither the table nor PUBLIC_PAGES knows. Call before anything is registered. */
export function refuseStrayRoutes(app: FastifyInstance): void {
  app.addHook("onRoute", ({ method, url, config }) => {
    const row = config?.route;
    const known = row === undefined ? method !== "POST" && (PUBLIC_PAGES as readonly string[]).includes(url) : row.method === method && row.path === url;
    if (!known) throw new Error(`the route ${String(method)} ${url} is in no table: add it to OPERATOR_ROUTES with its access`);
  });
}

function schemaOf(route: Route, definition: RouteDefinition): FastifySchema {
  const problem = { description: "A refusal or failure that explains itself", content: { [PROBLEM_CONTENT_TYPE]: { schema: problemSchema } } };
  const response: Record<string, unknown> = { "4xx": problem, "5xx": problem };
  for (const [status, schema] of Object.entries(definition.replies)) {
    if (definition.streams === "ndjson" || definition.streams === "events") {
      const type = definition.streams === "ndjson" ? EXEC_CONTENT_TYPE : "text/event-stream";
      response[status] = { description: route.summary, content: { [type]: { schema } } };
      continue;
    }
    if (definition.text !== undefined) {
      response[status] = { description: route.summary, content: { [mediaTypeOf(definition.text)]: { schema } } };
      continue;
    }
    response[status] = {
      description: definition.streams === true ? `${route.summary}. Or a stream of server-sent events` : route.summary,
      content: { "application/json": { schema }, ...(definition.streams === true ? { "text/event-stream": { schema: z.string() } } : {}) },
    };
  }
  return {
    params: definition.params ?? nothing,
    querystring: definition.query ?? nothing,
    ...(definition.body === undefined ? {} : { body: definition.body }),
    response,
    operationId: route.id,
    summary: route.summary,
    tags: [tagOf(route.path)],
    description: describeAccess(route.access),
    security: route.access.kind === "public" ? [] : [{ bearer: [] }],
  } as FastifySchema;
}

/** Without its parameters, as OpenAPI has it. */
const mediaTypeOf = (contentType: string): string => contentType.split(";")[0]!;
const tagOf = (path: string): string => (path.startsWith("/v1/") ? path.split("/")[2]! : "system");
const describeAccess = (access: Access): string => (access.kind === "role" ? `Needs a token of role ${access.role} or above.` : "Needs no token.");

/** Validates with the schema itself. A missing body arrives as null and is what it is: undefined. */
export function validatorCompiler({ schema, httpPart }: { schema: unknown; httpPart?: string | undefined }): (data: unknown) => { value: unknown } | { error: SkepError } {
  return (data) => {
    const parsed = (schema as z.ZodType).safeParse(httpPart === "body" && data === null ? undefined : data);
    return parsed.success ? { value: parsed.data } : { error: invalidRequest(parsed.error, httpPart === "querystring" ? "query" : (httpPart ?? "request")) };
  };
}
