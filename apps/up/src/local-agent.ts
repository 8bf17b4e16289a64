/**
 * One local agent: enrolled like any other host, by a one-time token and a request signed by a key that its own
 * process makes, and then supervised. Its bundle goes through a pipe and never lies on a disk.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { createHostReply } from "@skep/protocol";
import { loadIdentity, saveIdentity } from "@skep/pki";
import type { Clock, Logger } from "@skep/core";
import { ApiRefusal } from "./api.ts";
import type { Api } from "./api.ts";
import { ChildFailure, createChild } from "./child.ts";
import type { Child } from "./child.ts";
import { parseAgentReady } from "./facts.ts";
import type { AgentReady, HostFacts, MasterReady } from "./facts.ts";
import { rotateLog, tailOf } from "./files.ts";
import type { Layout } from "./layout.ts";
import { isEnrolled, matchDatabase } from "./match-database.ts";

const READY_TIMEOUT_MS = 30_000;
const ENROL_TIMEOUT_MS = 30_000;
/** A workload may take its default 10 s to stop; then its agent has to say so. */
const STOP_TIMEOUT_MS = 13_000;

export interface LocalAgentDeps {
  readonly layout: Layout;
  readonly program: string;
  readonly inheritedEnv: Readonly<Record<string, string>>;
  readonly logLevel: string;
  readonly restart: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onChange: () => void;
  /** To a person. */
  readonly say: (line: string) => void;
}

export interface LocalAgent {
  readonly child: Child<AgentReady>;
  /** Enrols where there is no identity yet, then starts. Resolves when its process is ready. */
  start(api: Api, master: MasterReady): Promise<void>;
  /** undefined until it was ready once. */
  facts(): HostFacts | undefined;
}

export function createLocalAgent(name: string, deps: LocalAgentDeps): LocalAgent {
  const { layout, program } = deps;
  const identityDir = layout.identity(name);
  const baseEnv = { ...deps.inheritedEnv, SKEP_AGENT_DIR: identityDir, SKEP_STATE_DIR: layout.agentState(name), SKEP_LOG_LEVEL: deps.logLevel };
  const child = createChild<AgentReady>({
    name,
    program,
    args: () => ["--json"],
    env: () => ({
      ...baseEnv,
      SKEP_AGENT_LISTEN: "127.0.0.1",
      SKEP_AGENT_PORT: "0",
      SKEP_LOCAL_PORT: "0",
      SKEP_SUPERVISED: "1",
      SKEP_STOP_WORKLOADS_ON_EXIT: "true",
    }),
    logPath: layout.log(name),
    parseReady: parseAgentReady,
    readyTimeoutMs: READY_TIMEOUT_MS,
    stopTimeoutMs: STOP_TIMEOUT_MS,
    restart: deps.restart,
    clock: deps.clock,
    logger: deps.logger,
    onChange: deps.onChange,
  });

  const start = async (api: Api, master: MasterReady): Promise<void> => {
    rotateLog(layout.log(name));
    await matchDatabase(api, name, deps);
    mkdirSync(layout.agentState(name), { recursive: true, mode: 0o700 });
    if (!isEnrolled(layout, name)) {
      const bundle = { ...(await requestBundle(api, name)), enrol_urls: [master.enrolUrl], master_urls: [master.swarmUrl] };
      await redeem({ name, program, env: baseEnv, bundle: JSON.stringify(bundle), logPath: layout.log(name), clock: deps.clock });
    } else await followMaster(identityDir, master);
    await child.start();
  };

  const facts = (): HostFacts | undefined => {
    const ready = child.ready();
    if (ready === undefined) return undefined;
    const path = (file: string): string => join(identityDir, "current", file);
    return { id: ready.hostId, name, agent_url: ready.agentUrl, cert_path: path("cert.pem"), key_path: path("key.pem"), pid: child.pid() ?? null };
  };
  return { child, start, facts };
}

/** The host may exist from a start that was cut short between creating and enrolling it: then it gets a new bundle. */
async function requestBundle(api: Api, name: string): Promise<object> {
  const body = { name, address: "127.0.0.1", agent_port: 0, labels: { "skep-up": "local" } };
  const reply = await api.post("/v1/hosts", body).catch((error: unknown) => {
    if (error instanceof ApiRefusal && (error.code === "host_exists" || error.code === "secret_shown_once")) return api.post(`/v1/hosts/${name}/bundle`, {});
    throw error;
  });
  return createHostReply.shape.bundle.parse((Object(reply) as { bundle?: unknown }).bundle);
}

/** The master may listen elsewhere than it did when this agent was enrolled. */
async function followMaster(identityDir: string, master: MasterReady): Promise<void> {
  const identity = await loadIdentity(identityDir);
  if (identity === undefined || (identity.masterUrls[0] === master.swarmUrl && identity.masterUrls.length === 1)) return;
  await saveIdentity(identityDir, { ...identity, masterUrls: [master.swarmUrl], enrolUrls: [master.enrolUrl] });
}

interface Redemption {
  readonly name: string;
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  readonly bundle: string;
  readonly logPath: string;
  readonly clock: Clock;
}

async function redeem({ name, program, env, bundle, logPath, clock }: Redemption): Promise<void> {
  const log = openSync(logPath, "a", 0o600);
  const child = spawn(process.execPath, [program, "enrol", "-"], { cwd: "/", stdio: ["pipe", log, log], env });
  closeSync(log);
  child.stdin!.on("error", () => undefined);
  child.stdin!.end(bundle);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`could not be started: ${error.message}`));
    child.once("exit", (code, signal) => resolve(signal === null ? `exited with code ${code}` : `was killed by ${signal}`));
  });
  const timer = new AbortController();
  const late = clock.sleep(ENROL_TIMEOUT_MS, timer.signal).then(() => `did not end within ${ENROL_TIMEOUT_MS / 1_000} s`);
  const how = await Promise.race([ended, late]).finally(() => timer.abort());
  child.kill("SIGKILL");
  if (how !== "exited with code 0") throw new ChildFailure(`the enrolment of ${name} ${how}\n${tailOf(logPath)}`);
}
