/**
 * Where everything of one `skep up` is. A moved or copied state directory keeps working: nothing here is absolute.
 *
 *     DIR/skep.pid  up.json  cli.json  tokens.json  ports.json  children.json  started.json  sample.json
 *     DIR/postgres/   the embedded database          DIR/master/   CA, admin.token
 *     DIR/agents/NAME/{identity,state}/              DIR/logs/     one file per process, the previous run's as NAME.log.1
 */
import { fileURLToPath } from "node:url";
import { join, resolve } from "node:path";

export interface Layout {
  readonly dir: string;
  readonly postgres: string;
  readonly master: string;
  readonly adminToken: string;
  /** The admin token of each database this directory was started with. 0600. */
  readonly tokens: string;
  readonly agents: string;
  readonly logs: string;
  /** What runs now, in the shape of the `--json` line. Holds the token: 0600. */
  readonly facts: string;
  /** For `skep --state-dir`. */
  readonly cliContext: string;
  readonly ports: string;
  /** Pids and start times of our children, so that the next start can tell what the last one left behind. */
  readonly children: string;
  /** Present once a start was complete. */
  readonly startedMark: string;
  /** Present once the sample was deployed: torn down by hand, it must not come back. */
  readonly sampleMark: string;
  identity(agent: string): string;
  agentState(agent: string): string;
  log(process: string): string;
}

export function layoutOf(stateDir: string): Layout {
  const dir = resolve(stateDir);
  const at = (...parts: string[]): string => join(dir, ...parts);
  return {
    dir,
    postgres: at("postgres", "data"),
    master: at("master"),
    adminToken: at("master", "admin.token"),
    tokens: at("tokens.json"),
    agents: at("agents"),
    logs: at("logs"),
    facts: at("up.json"),
    cliContext: at("cli.json"),
    ports: at("ports.json"),
    children: at("children.json"),
    startedMark: at("started.json"),
    sampleMark: at("sample.json"),
    identity: (agent) => at("agents", agent, "identity"),
    agentState: (agent) => at("agents", agent, "state"),
    log: (process) => at("logs", `${process}.log`),
  };
}

/** The other programs, found beside this package: in the workspace and below node_modules/@skep alike. */
const beside = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export interface Programs {
  readonly master: string;
  readonly agent: string;
}

export const PROGRAMS: Programs = { master: beside("master/bin/skep-master.js"), agent: beside("agent/bin/skep-agent.js") };
/** From the repository's root. */
export const SAMPLE_FILE = fileURLToPath(new URL("../../../samples/hello.json", import.meta.url));
