/** What the environment says, read once. What it means beside flags and files is settings.ts's to decide. */
import { homedir } from "node:os";
import { join } from "node:path";

export interface Environment {
  readonly url: string | undefined;
  readonly token: string | undefined;
  readonly ca: string | undefined;
  /** Where `skep up` keeps the context. */
  readonly contextFile: string;
  readonly color: boolean;
  /** The terminal, if there is one, can be written to anywhere. */
  readonly screen: boolean;
  /** Set by a program that holds our stdin: the programs we start then watch the same stdin. */
  readonly supervised: boolean;
  /** For the programs we start. */
  readonly inherited: NodeJS.ProcessEnv;
}

/** Variables that are empty count as not set. */
export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  const set = (name: string): string | undefined => (env[name] === "" ? undefined : env[name]);
  return {
    url: set("SKEP_URL"),
    token: set("SKEP_TOKEN"),
    ca: set("SKEP_CA"),
    contextFile: join(set("XDG_CONFIG_HOME") ?? join(set("HOME") ?? homedir(), ".config"), "skep", "config.json"),
    color: set("NO_COLOR") === undefined && env["TERM"] !== "dumb",
    screen: env["TERM"] !== "dumb",
    supervised: env["SKEP_SUPERVISED"] === "1",
    inherited: env,
  };
}
