/** The master as our child: its settings, and the ports it keeps across restarts. */
import type { Clock, Logger } from "@skep/core";
import { createChild } from "./child.ts";
import type { Child } from "./child.ts";
import type { UpConfig } from "./config.ts";
import { parseMasterReady } from "./facts.ts";
import type { MasterReady } from "./facts.ts";
import type { Layout } from "./layout.ts";
import type { Ports } from "./ports.ts";

/** It migrates at its start, and waits 30 s for a database that is not there yet. */
const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 5_000;

export interface MasterProcessDeps {
  readonly config: UpConfig;
  readonly layout: Layout;
  readonly program: string;
  readonly databaseUrl: string;
  readonly ports: Ports;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onChange: () => void;
}

export function createMasterProcess(deps: MasterProcessDeps): Child<MasterReady> {
  const { config, layout } = deps;
  const child: Child<MasterReady> = createChild<MasterReady>({
    name: "master",
    program: deps.program,
    args: () => ["--json"],
    env: () => {
      const ready = child.ready();
      const ports = ready === undefined ? deps.ports : portsOf(ready);
      return {
        ...config.inheritedEnv,
        ...config.masterEnv,
        ...(config.heartbeatIntervalMs === undefined ? {} : { SKEP_HEARTBEAT_INTERVAL_MS: String(config.heartbeatIntervalMs) }),
        SKEP_STATE_DIR: layout.master,
        DATABASE_URL: deps.databaseUrl,
        SKEP_API_PORT: String(ports.api),
        SKEP_SWARM_PORT: String(ports.swarm),
        SKEP_ENROL_PORT: String(ports.enrol),
        SKEP_ALLOW_LOOPBACK_AGENTS: "true",
        SKEP_LOG_LEVEL: config.logLevel,
        SKEP_SUPERVISED: "1",
      };
    },
    logPath: layout.log("master"),
    parseReady: (line) => onThisMachine(parseMasterReady(line)),
    readyTimeoutMs: READY_TIMEOUT_MS,
    stopTimeoutMs: STOP_TIMEOUT_MS,
    restart: config.restart,
    clock: deps.clock,
    logger: deps.logger,
    onChange: deps.onChange,
  });
  return child;
}

export function portsOf(ready: MasterReady): Ports {
  const port = (url: string): number => Number(new URL(url).port);
  return { api: port(ready.apiUrl), swarm: port(ready.swarmUrl), enrol: port(ready.enrolUrl) };
}

/** The master names itself as remote hosts see it; whoever drives `up`, and its agents, are on this machine. */
function onThisMachine(ready: MasterReady): MasterReady {
  const local = (url: string): string => `${new URL(url).protocol}//127.0.0.1:${new URL(url).port}`;
  return { ...ready, apiUrl: local(ready.apiUrl), swarmUrl: local(ready.swarmUrl), enrolUrl: local(ready.enrolUrl) };
}
