/** The agent's process: reads its settings, builds the real parts, starts, and minds its signals. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { PRODUCTION_POLICY, SkepError, type Logger } from "@skep/core";
import { closeOnParentExit, createLogger, hostBootId, lockStateDir, onShutdownSignals, openTracing, systemClock, systemRng } from "@skep/runtime";
import { readConfig, type AgentConfig } from "./config.ts";
import { readResources } from "./reporter/resources.ts";
import { createAgent } from "./create-agent.ts";
import { createDockerDriver, createNoopDriver, createProcessDriver, defaultRunnerPath } from "./drivers/index.ts";
import { runEnrol } from "./enrol-command.ts";
import { realPath } from "./real-path.ts";
import { openRebootMark } from "./boot/reboot-mark.ts";
import { createFileJournal } from "./journal/file-journal.ts";
import { AGENT_VERSION } from "./version.ts";

const USAGE = "usage: skep-agent [--json] [--print-config] | skep-agent enrol <bundle-file | - | pasted bundle> [--json]";

/** For the last traces. Longer: a collector that hangs holds every stop up. */
const TRACE_FLUSH_LIMIT_MS = 2_000;
/** While it boots a stop is over within a second, its last beat included. */
const BOOTING_TRACE_FLUSH_LIMIT_MS = 200;

/** Resolves with the exit code; undefined = it runs until it is told to stop. */
export async function main(argv: readonly string[]): Promise<number | undefined> {
  const words = argv.filter((word) => !word.startsWith("--"));
  const flags = new Set(argv.filter((word) => word.startsWith("--")));
  const unknown = [...flags].filter((name) => !["--json", "--print-config"].includes(name));
  if (unknown.length > 0 || (words[0] !== undefined && words[0] !== "enrol") || words.length > 2) {
    process.stderr.write(`${USAGE}\n`);
    return 2;
  }
  try {
    const config = readConfig();
    if (flags.has("--print-config")) return print(config);
    if (words[0] === "enrol") return await enrol(words[1], config, flags.has("--json"));
    await run(config, flags.has("--json"));
    return undefined;
  } catch (error) {
    process.stderr.write(`skep-agent: ${error instanceof SkepError ? error.detail : error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

function print(value: unknown): number {
  process.stdout.write(`${JSON.stringify(value)}\n`);
  return 0;
}

async function enrol(source: string | undefined, config: AgentConfig, json: boolean): Promise<number> {
  const enrolled = await runEnrol(source, config);
  if (json) return print(enrolled);
  process.stdout.write(`${enrolled.name} is enrolled; its certificate is in ${enrolled.agent_dir}, good until ${enrolled.not_after}.\nNext: skep agent\n`);
  return 0;
}

async function run(first: AgentConfig, json: boolean): Promise<void> {
  let config = first;
  const logger = createLogger({ level: config.logLevel, name: "skep-agent", destination: "stderr" });
  const clock = systemClock();
  const rng = systemRng();
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  const lock = lockStateDir(config.stateDir);
  const bootId = config.hostBootId ?? hostBootId();
  const journal = createFileJournal({ path: join(config.stateDir, "journal"), logger });
  const processes = createProcessDriver({ stateDir: join(config.stateDir, "workloads"), clock, rng, logger, runnerPath: defaultRunnerPath(), readHostBootId: () => bootId });
  const noop = join(config.stateDir, "noop");
  mkdirSync(noop, { recursive: true, mode: 0o700 });
  let hostId = (): string | undefined => undefined;
  const containers = createDockerDriver({
    stateDir: join(config.stateDir, "docker"), clock, rng, logger, readHostBootId: () => bootId,
    owner: () => hostId(), dockerHost: config.docker.host, credential: (name) => config.credential(name),
  });
  const tracing = await openTracing(config.traces, { clock, rng, logger, version: AGENT_VERSION });
  const agent = createAgent({
    agentDir: config.agentDir, journal, drivers: [processes, containers, createNoopDriver({ stateDir: noop, clock, rng })], clock, rng, logger, tracer: tracing.tracer,
    policy: PRODUCTION_POLICY, hostBootId: bootId, listen: { host: config.listen, port: config.port },
    localPort: config.localPort, agentUrl: config.agentUrl, resources: () => readResources(config.stateDir), failpoint: failpointOf(config),
    boot: config.boot, rebootMark: openRebootMark(join(config.stateDir, "host-boot-id"), bootId), allowed: () => config.allow, realpath: realPath, ownsProcess: true,
  });
  hostId = () => agent.hostId();

  const leave = async (workloads: boolean, why: string): Promise<void> => {
    logger.info({ why, workloads }, "stopping");
    const booting = agent.executor.phase() === "booting";
    await agent.stop({ workloads });
    processes.close();
    containers.close();
    await journal.close();
    await tracing.close(booting ? BOOTING_TRACE_FLUSH_LIMIT_MS : TRACE_FLUSH_LIMIT_MS);
    lock.release();
    process.exit(0);
  };
  onShutdownSignals((signal) => void leave(config.stopWorkloadsOnExit, signal));
  // Nobody is left to ask for it: workloads stay, and the next start adopts them.
  if (config.supervised) closeOnParentExit(() => void leave(false, "the supervisor is gone"));
  process.on("SIGHUP", () => {
    void agent.reloadIdentity();
    const next = reread(config, logger);
    if (JSON.stringify(next.boot) !== JSON.stringify(config.boot)) agent.reconfigure(next.boot);
    config = next;
  });

  try {
    await agent.start();
  } catch (error) {
    lock.release();
    throw error;
  }
  const facts = await agent.whenReady;
  if (json) print({ ...facts, pid: process.pid });
  else logger.info(facts, "ready");
}

/** What the file says now; a faulty one changes nothing. The environment of a process does not change, so only the file counts. */
function reread(config: AgentConfig, logger: Logger): AgentConfig {
  try {
    const next = readConfig();
    if (next.docker.host !== config.docker.host) logger.warn({ present: config.docker.host, next: next.docker.host }, "docker.host counts from the next start");
    logger.info({ file: next.file }, "the configuration was read again");
    return next;
  } catch (err) {
    logger.error({ err }, "the configuration was not taken: the one before still holds");
    return config;
  }
}

function failpointOf({ failpoint }: AgentConfig): ((name: string) => void) | undefined {
  if (failpoint === undefined) return undefined;
  return (name) => {
    if (name === failpoint) process.kill(process.pid, "SIGKILL");
  };
}
