/**
 * The operator API as its route table says it is, over real HTTP: routes, identity and request bodies are judged as
 * the protocol has them; the answers are the test's. What the CLI sends that the protocol does not know fails here.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { ERRORS, type ErrorCode } from "@skep/core";
import {
  OPERATOR_ROUTES, bundleRequest, checkRequest, createHostRequest, createTokenRequest, createWebhookRequest, updateWebhookRequest, deployRequest, execRequest, followLogsRequest, mutateRequest, redeployRequest, resolveLifecycleRequest, rollbackRequest, teardownRequest, updateHostRequest,
  type OperatorRouteId,
} from "@skep/protocol";
import type { z } from "zod";

export const TOKEN = "skp_00000000000000000000000000000001_secret";
/** The master's clock, so that ages are the same in every run. */
export const NOW = Date.UTC(2026, 10, 20, 20, 0, 0);
export const ago = (s: number): string => new Date(NOW - s * 1_000).toISOString();

export interface Seen {
  readonly id: OperatorRouteId;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly key: string | undefined;
  readonly lastEventId: string | undefined;
}
export interface Answer {
  readonly status?: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}
/** `hold` takes the response over; "drop" cuts the connection without an answer. */
export type Handler = (request: Seen, response: ServerResponse) => Answer | "drop" | "hold" | Promise<Answer | "drop" | "hold">;

const BODIES: Partial<Record<OperatorRouteId, z.ZodType>> = {
  createHost: createHostRequest, updateHost: updateHostRequest, createBundle: bundleRequest, checkHosts: checkRequest, createDeployment: deployRequest, mutateDeployment: mutateRequest,
  redeployDeployment: redeployRequest, rollbackDeployment: rollbackRequest, teardownDeployment: teardownRequest, resolveLifecycle: resolveLifecycleRequest, createToken: createTokenRequest, createWebhook: createWebhookRequest, updateWebhook: updateWebhookRequest, execDeployment: execRequest, followDeploymentLogs: followLogsRequest,
};

export const problem = (code: ErrorCode, detail: string = ERRORS[code].title, extra: object = {}): Answer => ({
  status: ERRORS[code].status,
  body: { type: `urn:skep:error:${code}`, title: ERRORS[code].title, status: ERRORS[code].status, detail, code, request_id: "req-1", retryable: ERRORS[code].retryable, fix: ERRORS[code].fix, errors: [], ...extra },
});

export interface FakeApi {
  readonly url: string;
  readonly seen: Seen[];
  on(id: OperatorRouteId, handler: Handler | Answer): void;
  /** Stops listening, and can be started again on the same port. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  close(): Promise<void>;
}

export async function startFakeApi(): Promise<FakeApi> {
  const handlers = new Map<OperatorRouteId, Handler>();
  const seen: Seen[] = [];
  const routes = OPERATOR_ROUTES.map((route) => ({ ...route, pattern: new RegExp(`^${route.path.replace(/:([a-z_]+)/g, "(?<$1>[^/]+)")}$`) }));

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", "http://x");
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const route = routes.find((candidate) => candidate.method === request.method && candidate.pattern.test(url.pathname));
    const reply = await judge();
    if (reply === "drop") return void request.socket.destroy();
    if (reply === "hold") return;
    response.writeHead(reply.status ?? 200, { "content-type": "application/json", date: new Date(NOW).toUTCString(), ...reply.headers });
    response.end(JSON.stringify(reply.body));

    async function judge(): Promise<Answer | "drop" | "hold"> {
      if (route === undefined) return problem("route_not_found", `${request.method} ${url.pathname}`);
      if (route.access.kind === "role" && request.headers.authorization !== `Bearer ${TOKEN}`) return problem("unauthenticated");
      const key = request.headers["idempotency-key"];
      if (route.method !== "GET" && typeof key !== "string") return problem("invalid_request", "the CLI must always send an Idempotency-Key");
      const body: unknown = text === "" ? undefined : JSON.parse(text);
      const schema = BODIES[route.id];
      if (schema !== undefined && !schema.safeParse(body).success) return problem("invalid_request", `the CLI sent a body that the protocol refuses: ${text}`);
      const given: Seen = {
        id: route.id, params: { ...route.pattern.exec(url.pathname)?.groups }, query: Object.fromEntries(url.searchParams), body,
        key: typeof key === "string" ? key : undefined, lastEventId: request.headers["last-event-id"] as string | undefined,
      };
      seen.push(given);
      return (await handlers.get(route.id)?.(given, response)) ?? problem("internal", `the test has no answer for ${route.id}`);
    }
  };
  let server: Server;
  let port = 0;
  const listen = async (): Promise<void> => {
    server = createServer((request, response) => void answer(request, response));
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    port = (server.address() as { port: number }).port;
  };
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  await listen();
  return { url: `http://127.0.0.1:${port}`, seen, on: (id, handler) => void handlers.set(id, typeof handler === "function" ? handler : () => handler), pause: stop, resume: listen, close: stop };
}
