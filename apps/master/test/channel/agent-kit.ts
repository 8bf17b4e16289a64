/** Agents that do what a test says, over real pinned TLS, and the master's client to call them with. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach } from "vitest";
import { uuidv7, type Clock, type HostRecord } from "@skep/core";
import { agentTls } from "@skep/pki";
import type { PendingJob } from "@skep/protocol";
import { createLogger } from "@skep/runtime";
import { tempAuthority, type IssuedIdentity } from "@skep/testkit";
import type { CallObserver } from "../../src/agents/circuits.ts";
import { createAgentClient, type PinnedAgentClient } from "../../src/agents/client.ts";
import { clock, rng } from "./rig.ts";

export const authority = tempAuthority();
export const stranger = tempAuthority();
const master = authority.master();
export const caPem = authority.authority.certPem;
export const me = authority.host("web-01");
export const JOB = uuidv7(clock.now(), rng);
export const job: PendingJob = { operation: "teardown", job_id: JOB, placement_id: uuidv7(clock.now(), rng), deployment: "web", epoch: 1, generation: 1, timeout_s: 60 };
export const accepted = { status: "accepted", job_id: JOB, duplicate: false, op_seq: 3, boot_id: "b", job_status: "accepted" };
export const problem = (code: string, status: number) => ({ type: "x", title: "x", status, detail: "why", code, request_id: "r", retryable: false, fix: "x", errors: [] });

export type Act = (request: IncomingMessage, response: ServerResponse) => void;
export const reply = (status: number, body: unknown, headers: Record<string, string> = {}): Act => (_request, response) => {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
};

export interface Agents {
  /** The fingerprints that are good for the host now; replace it to change them. */
  pins: Set<string>;
  readonly connections: () => number;
  agent(act: Act, identity?: IssuedIdentity, more?: Partial<HostRecord>): Promise<HostRecord>;
  /** Closed after the test. */
  newClient(more?: { clock?: Clock; allowLoopbackAgents?: boolean; observer?: CallObserver }): PinnedAgentClient;
}

/** Fresh for every test of the file. */
export function useAgents(): Agents {
  let servers: Server[] = [];
  let clients: PinnedAgentClient[] = [];
  let connections = 0;
  const agents: Agents = {
    pins: new Set([me.sha256]),
    connections: () => connections,
    newClient: (more = {}) => {
      const client = createAgentClient({
        identity: () => ({ caPem, certPem: master.certPem, keyPem: master.keyPem }), pinsOf: () => agents.pins, trustDomain: authority.authority.trustDomain, allowLoopbackAgents: true, clock,
        logger: createLogger({ level: "silent", name: "test" }), ...more,
      });
      clients.push(client);
      return client;
    },
    agent: async (act, identity = me, more = {}) => {
      const server = createServer({ ...agentTls({ caPem, certPem: identity.certPem, keyPem: identity.keyPem }), keepAliveTimeout: 60_000 }, (request, response) => {
        request.resume();
        request.on("end", () => act(request, response));
        request.on("error", () => undefined);
        response.on("error", () => undefined);
      });
      server.on("secureConnection", () => (connections += 1));
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return { id: me.hostId, name: "web-01", agentPort: 8444, breakerResets: 0, agentUrl: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, ...more } as HostRecord;
    },
  };
  beforeEach(() => {
    servers = [];
    clients = [];
    connections = 0;
    agents.pins = new Set([me.sha256]);
  });
  afterEach(async () => {
    for (const client of clients) await client.close();
    for (const server of servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });
  return agents;
}
