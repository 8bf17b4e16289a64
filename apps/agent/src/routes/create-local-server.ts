/** The loopback listener: alive, and ready. Plain HTTP, no secrets, no commands. */
import { AGENT_LOCAL_ROUTES } from "@skep/protocol";
import fastify from "fastify";

export interface LocalServer {
  listen(port: number): Promise<number>;
  close(): Promise<void>;
}

export function createLocalServer({ health, ready }: { health: () => object; ready: () => boolean }): LocalServer {
  const app = fastify({ logger: false, forceCloseConnections: true, bodyLimit: 1_024, requestTimeout: 5_000 });
  app.server.maxConnections = 32;
  const answers = {
    localHealth: () => ({ status: 200, body: health() }),
    localReady: () => ({ status: ready() ? 200 : 503, body: { ready: ready(), ...health() } }),
  };
  for (const route of AGENT_LOCAL_ROUTES) {
    app.route({ method: route.method, url: route.path, handler: async (_request, reply) => {
      const { status, body } = answers[route.id]();
      return reply.code(status).send(body);
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
