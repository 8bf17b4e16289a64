/** The loopback listener: alive, ready, and in numbers. Plain HTTP, no secrets, no commands. */
import { AGENT_LOCAL_ROUTES, METRICS_CONTENT_TYPE } from "@skep/protocol";
import fastify from "fastify";

export interface LocalServer {
  listen(port: number): Promise<number>;
  close(): Promise<void>;
}

export interface LocalServerDeps {
  readonly health: () => object;
  readonly ready: () => boolean;
  readonly metrics: () => Promise<string>;
}

export function createLocalServer({ health, ready, metrics }: LocalServerDeps): LocalServer {
  const app = fastify({ logger: false, forceCloseConnections: true, bodyLimit: 1_024, requestTimeout: 5_000 });
  app.server.maxConnections = 32;
  const answers = {
    localHealth: async () => ({ status: 200, body: health() }),
    localMetrics: async () => ({ status: 200, body: await metrics(), type: METRICS_CONTENT_TYPE }),
    localReady: async () => ({ status: ready() ? 200 : 503, body: { ready: ready(), ...health() } }),
  };
  for (const route of AGENT_LOCAL_ROUTES) {
    app.route({ method: route.method, url: route.path, handler: async (_request, reply) => {
      const { status, body, type } = { type: "application/json; charset=utf-8", ...(await answers[route.id]()) };
      return reply.code(status).type(type).send(body);
    } });
  }
  return {
    listen: async (port) => {
      await app.listen({ host: "127.0.0.1", port });
      const address = app.server.address();
      return typeof address === "object" && address !== null ? address.port : port;
    },
    close: () => app.close(),
  };
}
