/**
 * The operator API. Invariants: default-deny (see routing.ts, gate.ts); every refusal is a problem with a code; nothing
 * is held open for a peer that is slow to speak or slow to listen; closing ends streams first and then waits for
 * requests.
 */
import { createServer as createHttpServer, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { SkepError, traceFacts } from "@skep/core";
import fastify, { type FastifyInstance } from "fastify";
import { serializerCompiler } from "fastify-type-provider-zod";
import { sendProblem, toProblem, PROBLEM_CONTENT_TYPE } from "../problem.ts";
import { createAuthenticator } from "./authenticate.ts";
import { checkBind } from "./bind-guard.ts";
import { createGate, requestIdOf } from "./gate.ts";
import { useOpenApi } from "./openapi.ts";
import { useJsonBodies } from "./read-body.ts";
import { refuseStrayRoutes, registerRoutes, validatorCompiler } from "./routing.ts";
import { deploymentRoutes } from "./routes/deployments.ts";
import { eventRoutes } from "./routes/events.ts";
import { alertRoutes } from "./routes/alerts.ts";
import { auditRoutes } from "./routes/audit.ts";
import { execRoutes } from "./routes/exec.ts";
import { explainRoutes } from "./routes/explain.ts";
import { healthRoutes } from "./routes/health.ts";
import { hostRoutes } from "./routes/hosts.ts";
import { driftRoutes } from "./routes/drift.ts";
import { lifecycleRoutes } from "./routes/lifecycle.ts";
import { logRoutes } from "./routes/logs.ts";
import { metricRoutes } from "./routes/metrics.ts";
import { prometheusTargetRoutes } from "./routes/prometheus-targets.ts";
import { moveRoutes } from "./routes/moves.ts";
import { rolloutRoutes } from "./routes/rollouts.ts";
import { serviceRoutes } from "./routes/services.ts";
import { systemRoutes } from "./routes/system.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import { webhookRoutes } from "./routes/webhooks.ts";
import { DEFAULT_OPERATOR_LIMITS, type OperatorDeps } from "./settings.ts";
import { createStreams, type Streams } from "./streams.ts";

/** Slower than this is an attack or a broken link; both are cut (faults F23). */
const HEADERS_MS = 5_000;
const REQUEST_MS = 10_000;
const HANDSHAKE_MS = 5_000;
const KEEP_ALIVE_MS = 40_000;
const MAX_CONNECTIONS = 2_000;

export interface OperatorListener {
  readonly app: FastifyInstance;
  /** Port 0 = any free one. Returns the URL. Throws `bind_refused` for a routable address without TLS. */
  listen(address: { readonly host: string; readonly port: number }): Promise<string>;
  /** Ends streams, lets requests finish, stops listening. */
  close(): Promise<void>;
  /** How many streams are open. */
  readonly streams: () => number;
}

export async function createOperatorListener(deps: OperatorDeps): Promise<OperatorListener> {
  const limits = { ...DEFAULT_OPERATOR_LIMITS, ...deps.limits };
  const logger = deps.logger.child({ part: "operator-api" });
  const app = fastify({
    logger: false,
    bodyLimit: limits.bodyBytes,
    exposeHeadRoutes: false,
    requestIdHeader: false,
    // The body of that 503 would not be a problem; what arrives while closing is answered like anything else.
    return503OnClosing: false,
    genReqId: (request) => requestIdOf(request.headers["x-request-id"], deps),
    routerOptions: { maxParamLength: 200, ignoreTrailingSlash: false },
    serverFactory: (handler) => {
      const options = { headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, keepAliveTimeout: KEEP_ALIVE_MS, connectionsCheckingInterval: 1_000, maxHeaderSize: 16_384 };
      const server =
        deps.tls === undefined
          ? createHttpServer(options, handler)
          : createHttpsServer({ ...options, key: deps.tls.key, cert: deps.tls.cert, minVersion: "TLSv1.2", handshakeTimeout: HANDSHAKE_MS }, handler);
      server.maxConnections = MAX_CONNECTIONS;
      server.on("tlsClientError", (_error, socket) => void socket.destroy());
      return server;
    },
    frameworkErrors: (error, request, reply) => void sendProblem(reply, error, request.id, logger),
    clientErrorHandler: (error, socket) => answerBrokenRequest(error as NodeJS.ErrnoException, socket),
  });
  const authenticator = createAuthenticator(deps.store, deps.identity.now);

  app.setValidatorCompiler(validatorCompiler as never);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((error, request, reply) => {
    if (error instanceof SkepError && error.code === "unauthenticated") void reply.header("www-authenticate", 'Bearer realm="skep"');
    return sendProblem(reply, error, request.id, logger.child(traceFacts(request.traceparent)));
  });
  app.setNotFoundHandler((request, reply) => sendProblem(reply, new SkepError("route_not_found", `No route answers ${request.method} here.`), request.id, logger));
  useJsonBodies(app);
  refuseStrayRoutes(app);
  const gate = createGate(app, deps, limits, authenticator);
  app.addHook("onResponse", async (request, reply) => {
    const facts = { request_id: request.id, route: request.routeOptions.config.route?.id ?? "page", status: reply.statusCode, ms: Math.round(reply.elapsedTime), ...traceFacts(request.traceparent) };
    // What changed something is worth a line; what was only read, or refused at the door, is not.
    if (request.method !== "GET" && gate.admitted(request)) logger.info(facts, "request");
    else logger.debug(facts, "request");
  });

  const streams: Streams = createStreams({ clock: deps.clock, logger, limits, authenticator, onTaken: gate.leave });
  // Before the server stops accepting: an open stream would otherwise hold the close for ever.
  app.addHook("preClose", async () => streams.closeAll());

  await useOpenApi(app, deps.version);
  registerRoutes(
    app,
    [
      ...systemRoutes(deps),
      ...hostRoutes(deps),
      ...healthRoutes(deps),
      ...metricRoutes(deps),
      ...deploymentRoutes(deps),
      ...rolloutRoutes(deps),
      ...serviceRoutes(deps),
      ...prometheusTargetRoutes(deps),
      ...moveRoutes(deps),
      ...logRoutes(deps, () => streams),
      ...execRoutes(deps, () => streams),
      ...auditRoutes(deps),
      ...driftRoutes(deps),
      ...lifecycleRoutes(deps),
      ...eventRoutes(deps, () => streams),
      ...alertRoutes(deps),
      ...webhookRoutes(deps),
      ...explainRoutes(deps),
      ...tokenRoutes(deps, streams.closeOf),
    ],
    gate,
  );
  await app.ready();

  return {
    app,
    listen: async ({ host, port }) => {
      checkBind(host, deps.tls !== undefined);
      await app.listen({ host, port });
      const bound = app.server.address() as AddressInfo;
      const shown = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
      return `${deps.tls === undefined ? "http" : "https"}://${shown.includes(":") ? `[${shown}]` : shown}:${bound.port}`;
    },
    close: () => app.close(),
    streams: () => streams.open,
  };
}

/** What cannot even be parsed as HTTP still gets a problem, and never a stack. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) return void socket.destroy();
  const slow = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const large = error.code === "HPE_HEADER_OVERFLOW";
  const { status, body } = toProblem(new SkepError(slow ? "request_timeout" : large ? "payload_too_large" : "invalid_request", slow ? undefined : large ? "The headers are too large." : "That is not HTTP."), "none");
  const text = JSON.stringify(body);
  const reason: Pick<ServerResponse, "statusMessage"> = { statusMessage: slow ? "Request Timeout" : large ? "Content Too Large" : "Unprocessable Content" };
  socket.end(`HTTP/1.1 ${status} ${reason.statusMessage}\r\nContent-Type: ${PROBLEM_CONTENT_TYPE}\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`);
}
