/**
 * The agent's one listener for its master: mutual TLS 1.3, and on every single request the question who is at the
 * other end of the very connection that carries it. Invariants: no route but those of the protocol's table, each with
 * its access rule; everything is bounded; a refusal is a problem document.
 */
import type { Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { MAX_HEARTBEAT_INTERVAL_MS, SkepError, uuidv7, type Clock, type Logger, type Rng } from "@skep/core";
import { agentTls, readPeer, type AgentIdentity } from "@skep/pki";
import { AGENT_ROUTES, EXEC_BODY_BYTES, type Route } from "@skep/protocol";
import fastify, { type FastifyInstance } from "fastify";
import type { Handlers } from "./handlers.ts";
import { sendProblem } from "./problem.ts";

export const BODY_LIMIT_BYTES = 1_048_576;
/** Only masters connect, each with a few connections; more is somebody else. */
const MAX_CONNECTIONS = 64;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** At least three of the longest intervals (rulings 15): shorter makes every command a handshake. */
const KEEP_ALIVE_MS = 3 * MAX_HEARTBEAT_INTERVAL_MS + 60_000;
/** Nesting beyond this is no command of ours. */
const MAX_JSON_DEPTH = 32;

export interface AgentServer {
  readonly app: FastifyInstance;
  listen(host: string, port: number): Promise<number>;
  /** The certificate changed: new connections get the new one; with another CA the open ones end too. */
  use(identity: AgentIdentity): void;
  close(): Promise<void>;
}

export interface ServerDeps {
  readonly identity: AgentIdentity;
  readonly handlers: Handlers;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
}

export function createAgentServer(deps: ServerDeps): AgentServer {
  const { handlers, clock, rng, logger } = deps;
  let identity = deps.identity;
  const newId = (): string => uuidv7(clock.now(), rng);
  const app: FastifyInstance = fastify({
    https: { ...tlsOf(identity), headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS, connectionsCheckingInterval: 1_000 },
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 100 },
    requestIdHeader: false,
    genReqId: (request) => {
      const given = request.headers["x-request-id"];
      return typeof given === "string" && /^[\w.:-]{1,64}$/.test(given) ? given : newId();
    },
  }) as unknown as FastifyInstance;

  const server = app.server as unknown as HttpsServer;
  server.maxConnections = MAX_CONNECTIONS;
  server.on("tlsClientError", (error) => logger.debug({ err: error }, "a connection was refused in its handshake"));
  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, error, newId(), logger));
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, new SkepError("route_not_found"), newId(), logger));
  app.addHook("onRequest", async (request, reply) => {
    void reply.header("x-request-id", request.id);
    requireMaster(request.raw.socket, identity.trustDomain, clock);
    requireJson(request.headers);
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, (_request, text, done) => {
    try {
      done(null, parseJson(String(text)));
    } catch (error) {
      done(error as Error);
    }
  });
  const expected = new Set<string>(AGENT_ROUTES.map((route) => `${route.method} ${route.path}`));
  app.addHook("onRoute", (route) => {
    for (const method of [route.method].flat()) {
      if (method !== "HEAD" && !expected.has(`${method} ${route.path}`)) throw new Error(`${method} ${route.path} is not in the agent's route table`);
    }
  });
  for (const route of AGENT_ROUTES as readonly (Route & { readonly id: keyof Handlers })[]) {
    app.route({
      method: route.method,
      url: route.path,
      exposeHeadRoute: false,
      // A command may come with all of its stdin.
      bodyLimit: route.id === "agentExec" ? EXEC_BODY_BYTES : BODY_LIMIT_BYTES,
      handler: async (request, reply) => {
        const answer = await handlers[route.id]({ body: request.body, traceparent: request.headers["traceparent"], params: request.params as Record<string, string>, query: request.query as Record<string, unknown> });
        return reply.code(answer.status).headers(answer.headers ?? {}).send(answer.body);
      },
    });
  }

  return {
    app,
    listen: async (host, port) => {
      await app.listen({ host, port });
      const address = server.address();
      return typeof address === "object" && address !== null ? address.port : port;
    },
    use: (next) => {
      const sameAuthority = next.caPem === identity.caPem && next.trustDomain === identity.trustDomain;
      identity = next;
      server.setSecureContext(tlsOf(next));
      if (!sameAuthority) server.closeAllConnections();
    },
    close: () => app.close(),
  };
}

const tlsOf = ({ caPem, certPem, keyPem }: AgentIdentity): ReturnType<typeof agentTls> => agentTls({ caPem, certPem, keyPem });

/** Asked per request: a connection stays open while its certificate runs out. Only a master commands an agent (defect 4-16). */
function requireMaster(socket: Socket, trustDomain: string, clock: Clock): void {
  const peer = socket instanceof TLSSocket ? readPeer(socket, trustDomain) : undefined;
  if (peer === undefined) throw new SkepError("cert_missing", "There is no verified client certificate on this connection.");
  if (peer.identity?.role !== "master") throw new SkepError("wrong_role", peer.identity === undefined ? "The certificate has no identity of this trust domain." : "A host's certificate cannot command an agent.");
  if (clock.now() >= peer.notAfter) throw new SkepError("cert_expired", "The master's certificate has expired.");
}

/** Byte for byte: anything looser has been a way round content-type rules before. */
function requireJson(headers: Readonly<Record<string, unknown>>): void {
  const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
  const type = headers["content-type"];
  if (!hasBody && type === undefined) return;
  if (type !== "application/json" && type !== "application/json; charset=utf-8") throw new SkepError("unsupported_media_type");
}

function parseJson(text: string): unknown {
  if (text === "") return undefined;
  if (depthOf(text) > MAX_JSON_DEPTH) throw new SkepError("malformed_json", `The body is nested deeper than ${MAX_JSON_DEPTH}.`);
  try {
    // A `__proto__` key would make an object lie about its fields; it is dropped like any unknown one.
    return JSON.parse(text, (key, value: unknown) => (key === "__proto__" ? undefined : value));
  } catch (cause) {
    throw new SkepError("malformed_json", undefined, { cause });
  }
}

function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (quoted) {
      if (char === "\\") at += 1;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === "{" || char === "[") deepest = Math.max(deepest, (depth += 1));
    else if (char === "}" || char === "]") depth -= 1;
  }
  return deepest;
}
