/**
 * Everything that `skep up` starts, in order, and the same backwards: database, master, agents, sample.
 *
 * Invariants: what was begun is stopped, also by a stop in the middle of the start; up.json never names a process that
 * was not there when it was written; a second start finds the same hosts, certificates and data.
 */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { hostView } from "@skep/protocol";
import type { Clock, Logger } from "@skep/core";
import { createApi } from "./api.ts";
import type { Api } from "./api.ts";
import type { Child } from "./child.ts";
import type { UpConfig } from "./config.ts";
import { startOwnedDatabase, useOwnDatabase } from "./database.ts";
import type { Database } from "./database.ts";
import type { HostFacts, MasterReady, UpFacts } from "./facts.ts";
import { readJson, rotateLog, writeJson } from "./files.ts";
import { SAMPLE_FILE } from "./layout.ts";
import type { Layout, Programs } from "./layout.ts";
import { awaitPredecessors, endLeftovers, killLeftovers, recordChildren } from "./leftovers.ts";
import { createLocalAgent } from "./local-agent.ts";
import type { LocalAgent } from "./local-agent.ts";
import { createMasterProcess, portsOf } from "./master-process.ts";
import { isEnrolled } from "./match-database.ts";
import { findAdminToken, readAdminToken } from "./admin-token.ts";
import { choosePorts, PORT_NAMES } from "./ports.ts";
import type { Ports } from "./ports.ts";
import { deploySample, readSample } from "./sample.ts";
import type { SampleResult } from "./sample.ts";

const DEFAULT_AGENTS = 2;
/** The first beat follows the registration at once; minutes of silence here mean something is broken. */
const ACTIVE_TIMEOUT_MS = 20_000;
const SAMPLE_TIMEOUT_MS = 30_000;
const API_PATIENCE_MS = 20_000;
const POLL_MS = 50;

export interface StackDeps {
  readonly config: UpConfig;
  readonly layout: Layout;
  readonly programs: Programs;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Progress, for a person. */
  readonly say: (line: string) => void;
}

export interface Started {
  readonly facts: UpFacts;
  readonly database: string;
  readonly firstStart: boolean;
  /** undefined: not deployed by this start. */
  readonly sample: SampleResult | undefined;
}

export interface Stack {
  /** Rejects with why, after which `stop` must be called. */
  start(): Promise<Started>;
  /** Agents, with their workloads if so wished, then the master, then the database. The first call decides. */
  stop(options: { readonly workloads: boolean }): Promise<void>;
  /** SIGKILL to all of it, synchronously; the database sees us gone and ends itself. */
  killNow(): void;
}

export function createStack(deps: StackDeps): Stack {
  const { config, layout, clock, logger, say } = deps;
  let database: Database | undefined;
  let databaseStart: Promise<Database> | undefined;
  let master: Child<MasterReady> | undefined;
  let agents: readonly LocalAgent[] = [];
  let stopped: Promise<void> | undefined;
  let publishing: Promise<void> = Promise.resolve();

  const children = (): Child<unknown>[] => [...(master === undefined ? [] : [master]), ...agents.map(({ child }) => child)];
  const facts = (): UpFacts | undefined => {
    const ready = master?.ready();
    if (ready === undefined || database === undefined) return undefined;
    return {
      api_url: ready.apiUrl, swarm_url: ready.swarmUrl, enrol_url: ready.enrolUrl, token: readAdminToken(layout) ?? "",
      ca_path: ready.caPath, ca_sha256: ready.caSha256, pid: master?.pid() ?? null, up_pid: process.pid, database_url: database.url,
      hosts: agents.map((agent) => agent.facts()).filter((host): host is HostFacts => host !== undefined),
    };
  };
  const publish = (): void => {
    publishing = publishing.then(async () => {
      await recordChildren(layout, children().flatMap((child) => child.pid() ?? []));
      const now = facts();
      if (now !== undefined && stopped === undefined) await writeJson(layout.facts, now);
    }).catch((err: unknown) => logger.error({ err }, "up.json could not be written"));
  };
  const checkNotStopped = (): void => {
    if (stopped !== undefined) throw new Error("stopped while starting");
  };

  const startMaster = async (): Promise<MasterReady> => {
    databaseStart = config.databaseUrl === undefined ? startOwnedDatabase(layout.postgres, config.restart, { clock, logger }) : useOwnDatabase(config.databaseUrl);
    // Both at once: the database takes seconds, and the ports are only free once a previous master is gone.
    const [ready, ports] = await Promise.all([databaseStart, awaitPredecessors(layout, clock, logger).then(() => freePorts(config, layout, say))]);
    database = ready;
    checkNotStopped();
    logger.info({ database: database.label }, "the database is ready");
    say(`✓ data        ${layout.dir}  (${database.label})`);
    master = createMasterProcess({ config, layout, program: deps.programs.master, databaseUrl: database.url, ports, clock, logger, onChange: publish });
    const masterReady = await master.start();
    await writeJson(layout.ports, portsOf(masterReady));
    say(`✓ authority   sha256:${masterReady.caSha256.slice(0, 16)}…  ${masterReady.caPath}`);
    say(`✓ API         ${masterReady.apiUrl}    docs ${masterReady.apiUrl}/docs`);
    return masterReady;
  };

  const startAgents = async (api: Api, ready: MasterReady): Promise<void> => {
    const names = agentNames(config, layout);
    agents = names.map((name) => createLocalAgent(name, { layout, program: deps.programs.agent, inheritedEnv: config.inheritedEnv, logLevel: config.logLevel, restart: config.restart, clock, logger, onChange: publish, say }));
    await Promise.all(agents.map((agent) => agent.start(api, ready)));
    await Promise.all(names.map((name) => awaitActive(api, name, clock)));
    const idle = enrolledNames(layout).filter((name) => !names.includes(name));
    if (idle.length > 0) say(`! not started: ${idle.join(", ")} (enrolled before; give a larger --agents to have them back)`);
    if (names.length > 0) say(`✓ agents      ${ready.swarmUrl}    ${names.join(", ")}`);
  };

  const start = async (): Promise<Started> => {
    mkdirSync(layout.agents, { recursive: true, mode: 0o700 });
    rotateLog(layout.log("master"));
    const ready = await startMaster();
    checkNotStopped();
    const firstStart = readJson(layout.startedMark) === undefined;
    const token = await findAdminToken(layout, config.databaseUrl, ready.apiUrl, clock);
    const api = createApi({ url: () => master?.ready()?.apiUrl ?? ready.apiUrl, token: () => token, clock, patienceMs: API_PATIENCE_MS });
    await startAgents(api, ready);
    checkNotStopped();
    const sample = await sampleOnce(api);
    await writeJson(layout.startedMark, { at: clock.now() });
    publish();
    await publishing;
    return { facts: facts()!, database: database!.label, firstStart, sample };
  };

  const sampleOnce = async (api: Api): Promise<SampleResult | undefined> => {
    if (!config.sample || agents.length === 0 || readJson(layout.sampleMark) !== undefined) return undefined;
    const sample = await deploySample(api, readSample(SAMPLE_FILE, agents.length, process.execPath), clock, SAMPLE_TIMEOUT_MS);
    // One that does not run yet is tried again by the next start.
    if (sample.running) await writeJson(layout.sampleMark, { name: sample.name, at: clock.now() });
    return sample;
  };

  const end = async (workloads: boolean): Promise<void> => {
    await Promise.all(agents.map(({ child }) => child.stop(workloads ? "term" : "pipe")));
    const leftovers = workloads ? await endLeftovers(layout, clock) : 0;
    if (leftovers > 0) logger.warn({ leftovers }, "stopped workloads that no agent was left to stop");
    await master?.stop("term");
    await databaseStart?.then((started) => started.stop(), () => undefined);
    await publishing;
    // Of a stack that is gone there are no facts; the next start has nobody to wait for.
    for (const path of [layout.facts, layout.children]) rmSync(path, { force: true });
  };

  return {
    start,
    stop: ({ workloads }) => (stopped ??= end(workloads)),
    killNow: () => {
      for (const child of children()) child.killNow();
      killLeftovers(layout);
    },
  };
}

async function freePorts(config: UpConfig, layout: Layout, say: (line: string) => void): Promise<Ports> {
  const choices = await choosePorts(config.ports, Object(readJson(layout.ports)) as Partial<Ports>);
  for (const name of PORT_NAMES) if (choices[name].because !== undefined) say(`! ${choices[name].because}`);
  return { api: choices.api.port, swarm: choices.swarm.port, enrol: choices.enrol.port };
}

const enrolledNames = (layout: Layout): string[] => readdirSync(layout.agents).filter((name) => /^local-\d+$/.test(name) && isEnrolled(layout, name)).sort();

/** Those enrolled before, unless another number was asked for: a plain restart must not lose or gain a host. */
function agentNames(config: UpConfig, layout: Layout): string[] {
  const enrolled = enrolledNames(layout).length;
  const count = config.agents ?? (enrolled > 0 ? enrolled : DEFAULT_AGENTS);
  return Array.from({ length: count }, (_, index) => `local-${index + 1}`);
}

async function awaitActive(api: Api, name: string, clock: Clock): Promise<void> {
  const deadlineMs = clock.mono() + ACTIVE_TIMEOUT_MS;
  for (;;) {
    const host = hostView.parse(await api.get(`/v1/hosts/${name}`));
    if (host.status === "active") return;
    if (clock.mono() > deadlineMs) throw new Error(`host ${name} is ${host.status} and not active after ${ACTIVE_TIMEOUT_MS / 1_000} s${host.status_because === null ? "" : `: ${host.status_because}`}`);
    await clock.sleep(POLL_MS);
  }
}
