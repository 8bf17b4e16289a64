/** What `--json` prints and up.json holds, and what the children say of themselves when they are ready. */

export interface HostFacts {
  readonly id: string;
  readonly name: string;
  readonly agent_url: string;
  readonly cert_path: string;
  readonly key_path: string;
  /** Null while its process is dead. */
  readonly pid: number | null;
}

export interface UpFacts {
  readonly api_url: string;
  readonly swarm_url: string;
  readonly enrol_url: string;
  /** An admin's. */
  readonly token: string;
  readonly ca_path: string;
  readonly ca_sha256: string;
  /** The master's; null while its process is dead. */
  readonly pid: number | null;
  readonly up_pid: number;
  /** With its password. */
  readonly database_url: string;
  readonly hosts: readonly HostFacts[];
}

export interface MasterReady {
  readonly apiUrl: string;
  readonly swarmUrl: string;
  readonly enrolUrl: string;
  readonly caPath: string;
  readonly caSha256: string;
}

export interface AgentReady {
  readonly agentUrl: string;
  readonly hostId: string;
}

export function parseMasterReady(line: unknown): MasterReady {
  const read = reader(line);
  return { apiUrl: read("api_url"), swarmUrl: read("swarm_url"), enrolUrl: read("enrol_url"), caPath: read("ca_path"), caSha256: read("ca_sha256") };
}

export function parseAgentReady(line: unknown): AgentReady {
  const read = reader(line);
  return { agentUrl: read("agent_url"), hostId: read("host_id") };
}

const reader = (line: unknown) => (name: string): string => {
  const value = (Object(line) as Record<string, unknown>)[name];
  if (typeof value !== "string" || value === "") throw new Error(`its ready line has no ${name}`);
  return value;
};
