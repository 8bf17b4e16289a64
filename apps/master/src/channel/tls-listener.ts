/**
 * What the agent channel and the enrolment door have in common: Fastify over TLS with every stage of a request bounded
 * (faults F23), one content type, one place for errors. Invariants: no peer can crash the process, hold a socket for
 * longer than its stage allows, or get an answer that is not ours.
 */
import { randomBytes } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Server, ServerOptions } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { TlsOptions } from "node:tls";
import { SkepError, type Clock, type Logger } from "@skep/core";
import type { Route } from "@skep/protocol";
import fastify, { type FastifyInstance } from "fastify";
import { PROBLEM_CONTENT_TYPE, sendProblem, toProblem } from "../problem.ts";
import { gateHandshakes, type GateLimits, type HandshakeGate } from "./handshake-gate.ts";

export interface ListenerLimits {
  readonly handshakeTimeoutMs: number;
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to its last. */
  readonly requestTimeoutMs: number;
  /** Silence between requests. Below three intervals every beat would be a handshake (performance, traps). */
  readonly keepAliveTimeoutMs: number;
  /** Silence within a request or an answer: a peer that does not read. */
  readonly socketTimeoutMs: number;
  /** How often the above are looked at. */
  readonly checkIntervalMs: number;
  readonly bodyLimitBytes: number;
  readonly maxConnections: number;
  readonly gate: GateLimits;
}

export interface TlsListener {
  readonly app: FastifyInstance;
  readonly server: Server;
  readonly gate: HandshakeGate;
  /** Returns the port in use. Throws SkepError naming the address when it cannot be had. */
  listen(host: string, port: number): Promise<number>;
  /** New connections use these from now on; those that are open go on. */
  setTls(tls: TlsOptions): void;
  close(): Promise<void>;
}

/** Byte-exact, so that no two parsers can disagree on what a body is (faults S19). */
const JSON_TYPES = new Set(["application/json", "application/json; charset=utf-8"]);

export function createTlsListener(deps: { readonly tls: TlsOptions; readonly limits: ListenerLimits; readonly clock: Clock; readonly logger: Logger; readonly routes: readonly Route[] }): TlsListener {
  const { limits, logger } = deps;
  const https: ServerOptions = {
    ...deps.tls,
    handshakeTimeout: limits.handshakeTimeoutMs,
    headersTimeout: limits.headersTimeoutMs,
    connectionsCheckingInterval: limits.checkIntervalMs,
    maxHeaderSize: 16_384,
    noDelay: true,
  };
  const prefix = randomBytes(4).toString("hex");
  let requests = 0;
  const app = fastify({
    https,
    bodyLimit: limits.bodyLimitBytes,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionTimeout: limits.socketTimeoutMs,
    forceCloseConnections: true,
    return503OnClosing: false,
    trustProxy: false,
    genReqId: () => `${prefix}-${(requests++).toString(36)}`,
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => void sendProblem(reply as never, error, request.id, logger),
    routerOptions: { maxParamLength: 100 },
  }) as unknown as FastifyInstance;
  const server = app.server as unknown as Server;
  const gate = gateHandshakes(server, deps.clock, limits.gate);
  server.maxConnections = limits.maxConnections;
  server.on("tlsClientError", (error) => logger.debug({ err: error }, "a TLS handshake failed"));

  const parseJson = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, parseJson);
  // Every route of these listeners takes a JSON body. Asked after onRequest, so that a stranger is told that first.
  app.addHook("preParsing", (request, _reply, _payload, done) => {
    done(JSON_TYPES.has(request.headers["content-type"] ?? "") || request.is404 ? null : new SkepError("unsupported_media_type"));
  });
  app.addHook("onRoute", (route) => {
    if (!deps.routes.some((known) => known.method === route.method && known.path === route.url)) {
      throw new Error(`${String(route.method)} ${route.url} is not in the protocol's route table`);
    }
  });
  app.setErrorHandler((error, request, reply) => sendProblem(reply, error, request.id, logger));
  app.setNotFoundHandler((request, reply) => sendProblem(reply, new SkepError("route_not_found"), request.id, logger));

  return {
    app,
    server,
    gate,
    async listen(host, port) {
      try {
        // Of "localhost" Fastify makes a server per address, of which only one would be paced and renewed.
        await app.listen({ host: host === "localhost" ? "127.0.0.1" : host, port });
      } catch (cause) {
        const { code } = cause as NodeJS.ErrnoException;
        throw new SkepError("already_running", `cannot listen on ${host}:${port} (${code ?? "unknown error"}): choose another port, or stop what uses it`, { cause });
      }
      return (server.address() as AddressInfo).port;
    },
    setTls: (tls) => server.setSecureContext(tls),
    async close() {
      gate.close();
      await app.close();
    },
  };
}

/** What Node could not read as HTTP, or waited for in vain: one plain answer, then the end of the connection. */
function answerBrokenRequest(this: unknown, error: Error & { code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const code = error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? "request_timeout" : error.code === "HPE_HEADER_OVERFLOW" ? "payload_too_large" : "malformed_json";
  const { status, body } = toProblem(new SkepError(code, code === "malformed_json" ? "what arrived is not an HTTP request" : undefined), "unread");
  const text = JSON.stringify(body);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\nconnection: close\r\ncontent-type: ${PROBLEM_CONTENT_TYPE}\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  // A peer that does not read the answer does not keep the socket either.
  socket.destroySoon();
}
