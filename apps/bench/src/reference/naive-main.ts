/** The naive master: Fastify, zod, and for every beat a SELECT of the host and an UPDATE with its status, acknowledged after both. */
import type { AddressInfo } from "node:net";
import { masterSwarmTls, type Credentials } from "@skep/pki";
import { heartbeatRequest } from "@skep/protocol";
import fastify from "fastify";
import pg from "pg";
import { serveCommands } from "../stage/worker.ts";

export interface NaiveCommand {
  readonly credentials: Credentials;
  readonly databaseUrl: string;
  readonly hostIds: readonly string[];
}

const POOL_SIZE = 10;

serveCommands({
  async listen({ credentials, databaseUrl, hostIds }: NaiveCommand) {
    const pool = new pg.Pool({ connectionString: databaseUrl, max: POOL_SIZE });
    await pool.query("CREATE TABLE IF NOT EXISTS naive_hosts (id uuid PRIMARY KEY, status text NOT NULL, last_heartbeat timestamptz, seq bigint, snapshot jsonb)");
    await pool.query("INSERT INTO naive_hosts (id, status) SELECT unnest($1::uuid[]), 'active' ON CONFLICT DO NOTHING", [hostIds]);
    const app = fastify({ https: masterSwarmTls(credentials) as object, keepAliveTimeout: 600_000 });
    app.post("/swarm/heartbeat", async (request, reply) => {
      const beat = heartbeatRequest.parse(request.body);
      const { rows } = await pool.query("SELECT id, status FROM naive_hosts WHERE id = $1", [beat.host_uuid]);
      if (rows.length === 0) return reply.code(404).send();
      await pool.query("UPDATE naive_hosts SET last_heartbeat = now(), seq = $2, snapshot = $3 WHERE id = $1", [beat.host_uuid, beat.seq, JSON.stringify(beat.status)]);
      return reply.code(204).send();
    });
    await app.listen({ host: "127.0.0.1", port: 0 });
    return (app.server.address() as AddressInfo).port;
  },
});
