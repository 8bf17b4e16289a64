/**
 * A real fleet for tests: master and agents are child processes of the build, on loopback, over real TLS and a real
 * PostgreSQL; they are killed by pid. Ports are the kernel's choice at the first start and kept over restarts, the
 * way a real master comes back under its old address.
 */
import { appendFileSync, cpSync, mkdirSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { saveIdentity, loadIdentity, type AgentIdentity } from "@skep/pki";
import { systemClock } from "@skep/runtime";
import { eventually, requireBuilt, startProgram, type Program } from "@skep/testkit";
import { createApi, type Api } from "./api.ts";

const APPS = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const BIN = { master: join(APPS, "master/bin/skep-master.js"), agent: join(APPS, "agent/bin/skep-agent.js") };

export interface MasterReady {
  readonly api_url: string;
  readonly swarm_url: string;
  readonly enrol_url: string;
  readonly ca_path: string;
  readonly ca_sha256: string;
  readonly pid: number;
}

/** One process that can be started, killed at any instant and started again, keeping its place. */
export interface Member {
  readonly name: string;
  start(env?: Readonly<Record<string, string>>): Promise<void>;
  /** SIGKILL, and waits until it is reaped. Does nothing when it is not running. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  running(): boolean;
  program(): Program | undefined;
  /** Everything it has written to stderr, over all its lives. */
  logs(): string;
}

export interface Agent extends Member {
  readonly hostId: string;
  readonly dir: string;
  readonly identityDir: string;
  readonly stateDir: string;
  agentUrl(): string;
}

export interface Fleet {
  readonly dir: string;
  readonly databaseUrl: string;
  readonly master: Member & { ready(): MasterReady };
  readonly api: Api;
  /** Creates the host, enrols it and starts its agent; resolves once the master calls it active. */
  addAgent(name: string, wish?: AgentWish): Promise<Agent>;
  /** Creates and enrols a host whose agent nobody starts: the test speaks for it. */
  addBareHost(name: string): Promise<BareHost>;
  addMaster(): Promise<Member & { ready(): MasterReady; api: Api }>;
  /** On failure: the last lines of everybody. */
  tails(): string;
  stop(): Promise<void>;
}

export interface AgentWish {
  /** The pasted one-liner (default), the file, or a bundle that carries its key and must rotate it at first contact. */
  readonly bundle?: "paste" | "file" | "with_key";
  /** Where the agent keeps its state; default below the fleet's folder. */
  readonly stateDir?: string;
  /** At every start, beside what one start asks for. */
  readonly env?: Readonly<Record<string, string>>;
  /** What the agent is started under, to be somewhere else than the test. */
  readonly under?: readonly string[];
}

export interface BareHost {
  readonly hostId: string;
  readonly identity: AgentIdentity;
}

export interface FleetOptions {
  readonly dir: string;
  readonly databaseUrl: string;
  readonly intervalMs?: number;
  readonly masterEnv?: Readonly<Record<string, string>>;
}

export async function startFleet(options: FleetOptions): Promise<Fleet> {
  for (const app of ["master", "agent"]) requireBuilt(join(APPS, app));
  const members: Member[] = [];
  const masterAt = (stateDir: string): Member & { ready(): MasterReady } => {
    let ready: MasterReady | undefined;
    const member = createMember(`master ${stateDir}`, join(stateDir, "..", `${stateDir.split("/").pop()}.log`), (env) =>
      startProgram([BIN.master, "--json"], {
        env: {
          DATABASE_URL: options.databaseUrl, SKEP_STATE_DIR: stateDir, SKEP_ALLOW_LOOPBACK_AGENTS: "true", SKEP_ADVERTISE: "127.0.0.1", SKEP_SWARM_LISTEN: "127.0.0.1",
          SKEP_HEARTBEAT_INTERVAL_MS: String(options.intervalMs ?? 500), SKEP_ALLOW_FAILPOINTS: "1",
          SKEP_API_PORT: portOf(ready?.api_url), SKEP_SWARM_PORT: portOf(ready?.swarm_url), SKEP_ENROL_PORT: portOf(ready?.enrol_url),
          ...options.masterEnv, ...env,
        },
      }), (line) => {
      ready = JSON.parse(line) as MasterReady;
    });
    members.push(member);
    return Object.assign(member, { ready: () => ready ?? fail(`${member.name} was never ready`) });
  };

  mkdirSync(options.dir, { recursive: true });
  const master = masterAt(join(options.dir, "master"));
  await master.start();
  const token = readFileSync(join(options.dir, "master", "admin.token"), "utf8").trim();
  const api = createApi(master.ready().api_url, token);

  const createHost = async (name: string, mode: "csr" | "with_key", agentPort: number): Promise<{ hostId: string; bundle: unknown }> => {
    const created = await api.post("/v1/hosts", { name, address: "127.0.0.1", agent_port: agentPort, mode });
    if (created.status !== 201) throw new Error(`host ${name}: ${created.status} ${JSON.stringify(created.body)}`);
    return { hostId: created.body.host.id as string, bundle: created.body.bundle };
  };

  const addAgent = async (name: string, wish: AgentWish = {}): Promise<Agent> => {
    const dir = join(options.dir, name);
    const identityDir = join(dir, "identity");
    const stateDir = wish.stateDir ?? join(dir, "state");
    mkdirSync(stateDir, { recursive: true });
    const { hostId, bundle } = await createHost(name, wish.bundle === "with_key" ? "with_key" : "csr", 0);
    await enrol(identityDir, stateDir, bundle, wish.bundle === "file" ? join(dir, `${name}.skep`) : undefined);
    let url: string | undefined;
    let localUrl: string | undefined;
    const member = createMember(name, join(dir, "agent.log"), (env) =>
      startProgram([BIN.agent, "--json"], {
        env: {
          SKEP_AGENT_DIR: identityDir, SKEP_STATE_DIR: stateDir, SKEP_AGENT_LISTEN: "127.0.0.1", SKEP_AGENT_PORT: portOf(url), SKEP_LOCAL_PORT: portOf(localUrl),
          SKEP_ALLOW_FAILPOINTS: "1", ...wish.env, ...env,
        },
        ...(wish.under === undefined ? {} : { under: wish.under }),
      }), (line) => {
      // Both are kept: one that took a new port at each start could take the port of another that is down just then.
      ({ agent_url: url, local_url: localUrl } = JSON.parse(line) as { agent_url: string; local_url: string });
    });
    members.push(member);
    const agent = Object.assign(member, { hostId, dir, identityDir, stateDir, agentUrl: () => url ?? fail(`${name} was never ready`) });
    await agent.start();
    await eventually(async () => (await api.get(`/v1/hosts/${name}`)).status === "active", { what: `${name} is active`, timeoutMs: 60_000 });
    return agent;
  };

  return {
    dir: options.dir, databaseUrl: options.databaseUrl, master, api, addAgent,
    addBareHost: async (name) => {
      const identityDir = join(options.dir, name, "identity");
      // Port 1: nobody listens there, so whatever the master sends finds nobody.
      const { hostId, bundle } = await createHost(name, "csr", 1);
      await enrol(identityDir, join(options.dir, name, "state"), bundle);
      const identity = await loadIdentity(identityDir);
      return { hostId, identity: identity ?? fail(`${name} has no identity`) };
    },
    addMaster: async () => {
      // A second master of the same fleet shares the CA: copied the way an operator would.
      const stateDir = join(options.dir, `master-${members.length}`);
      cpSync(join(options.dir, "master", "ca"), join(stateDir, "ca"), { recursive: true });
      const second = masterAt(stateDir);
      await second.start();
      return Object.assign(second, { api: createApi(second.ready().api_url, token) });
    },
    tails: () => members.map((member) => `── ${member.name}\n${member.logs().split("\n").slice(-25).join("\n")}`).join("\n"),
    stop: async () => {
      for (const member of [...members].reverse()) await member.kill("SIGKILL");
      killRunners(options.dir);
    },
  };
}

/** Redeems a bundle with the agent's own command: pasted, or from `file` when one is named. */
export async function enrol(identityDir: string, stateDir: string, bundle: unknown, file?: string): Promise<void> {
  const text = JSON.stringify(bundle);
  if (file !== undefined) writeFileSync(file, text, { mode: 0o600 });
  const program = startProgram([BIN.agent, "enrol", file ?? Buffer.from(text).toString("base64url")], { env: { SKEP_AGENT_DIR: identityDir, SKEP_STATE_DIR: stateDir } });
  const { code } = await program.exited;
  if (code !== 0) throw new Error(`enrolment failed (${code}): ${program.stdout()} ${program.stderr()}`);
}

/** Points an agent's identity at other masters. */
export async function setMasters(identityDir: string, masterUrls: readonly string[]): Promise<void> {
  const identity = await loadIdentity(identityDir);
  if (identity === undefined) throw new Error(`no identity in ${identityDir}`);
  await saveIdentity(identityDir, { ...identity, masterUrls: [...masterUrls] });
}

function createMember(name: string, logPath: string, spawn: (env: Readonly<Record<string, string>>) => Program, onReady: (line: string) => void): Member {
  let current: Program | undefined;
  let alive = false;
  let earlier = "";
  return {
    name,
    running: () => alive,
    program: () => current,
    logs: () => earlier + (current?.stderr() ?? ""),
    async start(env = {}) {
      if (alive) throw new Error(`${name} is running already`);
      if (current !== undefined) {
        earlier += current.stderr();
        appendFileSync(logPath, current.stderr());
      }
      const started = spawn(env);
      current = started;
      alive = true;
      void started.exited.then(() => {
        if (current === started) alive = false;
      });
      const [line] = await started.output(/^\{.*\}$/m, 120_000);
      onReady(line);
    },
    async kill(signal = "SIGKILL") {
      if (current === undefined || !alive) return;
      current.kill(signal);
      await current.exited;
      alive = false;
    },
  };
}

/**
 * Ends the runners and the workloads that belong to a fleet's folder. Again until none is left: a runner may restart what
 * was killed under it, and what was killed is there until it has had its turn to end.
 */
export function killRunners(dir: string): void {
  const clock = systemClock();
  const startMs = clock.mono();
  for (let pids = processesMentioning(dir); pids.length > 0; pids = processesMentioning(dir)) {
    if (clock.mono() - startMs > 60_000) throw new Error(`processes of ${dir} do not end: ${pids.join(", ")}`);
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended between the look and the kill.
      }
    }
  }
}

/** Pids of processes that carry the folder in their working directory, command line or environment: runners (whose environment is empty) and their workloads. */
export function processesMentioning(dir: string): number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    if (pid === process.pid) return false;
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(dir) || readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(dir) || readFileSync(`/proc/${pid}/environ`, "utf8").includes(dir);
    } catch {
      return false;
    }
  });
}

const portOf = (url: string | undefined): string => (url === undefined ? "0" : new URL(url).port);
const fail = (text: string): never => {
  throw new Error(text);
};
