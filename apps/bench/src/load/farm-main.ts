/** A process full of agents' listeners, each with its own certificate and port, that accept every job at once and say that they are well. */
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { agentTls } from "@skep/pki";
import { serveCommands } from "../stage/worker.ts";
import type { AgentCredentials } from "./connection.ts";

export interface FarmCommand {
  readonly caPem: string;
  readonly agents: readonly AgentCredentials[];
  /** Every so many-th, from the first on, takes a question and never answers it. */
  readonly hangOneIn?: number;
}

serveCommands({
  /** The ports, in the agents' order. */
  async listen({ caPem, agents, hangOneIn }: FarmCommand) {
    const ports: number[] = [];
    for (const [index, agent] of agents.entries()) ports.push(await listen(agent, caPem, hangOneIn !== undefined && index % hangOneIn === 0));
    return ports;
  },
});

function listen(agent: AgentCredentials, caPem: string, hangs: boolean): Promise<number> {
  let opSeq = 0;
  const health = JSON.stringify({ status: "ok", phase: "ready", version: "0.1.0", boot_id: agent.hostId });
  const server = createServer({ ...agentTls({ caPem, certPem: agent.certPem, keyPem: agent.keyPem }), keepAliveTimeout: 600_000, noDelay: true }, (request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => (text += chunk));
    request.on("end", () => {
      if (hangs) return undefined;
      if (request.url === "/health") return response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(health) }).end(health);
      if (request.method !== "POST") return response.writeHead(404).end();
      const job = JSON.parse(text) as { readonly job_id: string };
      const body = JSON.stringify({ status: "accepted", job_id: job.job_id, duplicate: false, op_seq: ++opSeq, boot_id: agent.hostId, job_status: "accepted" });
      return response.writeHead(202, { "content-type": "application/json", "content-length": Buffer.byteLength(body) }).end(body);
    });
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)));
}
