/**
 * `skep up`, `skep master`, `skep agent`: programs of their own, started as children by the path of their bin and
 * never imported. Invariants: the child stops when we do, however we end (its stdin is a pipe of ours); a Ctrl-C that
 * a terminal sends to both of us is one Ctrl-C; its exit code is ours.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { CliError } from "./cli-error.ts";
import type { Environment } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

export interface Passthrough {
  readonly program: string;
  readonly args: readonly string[];
  /** Runs until it is stopped; the others read our stdin and end by themselves. */
  readonly serves: boolean;
}

/** Beside this package: in the workspace and below node_modules/@skep alike. */
const beside = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const PROGRAMS: Readonly<Record<string, string>> = { up: beside("up/bin/skep-up.js"), master: beside("master/bin/skep-master.js"), agent: beside("agent/bin/skep-agent.js") };

export const PASSTHROUGH_COMMANDS = [
  ["up", "a master, its database and local agents on this machine: skep up --help"],
  ["master", "a master: skep master --help"],
  ["agent", "this host's agent; `skep agent enrol <file | - | pasted bundle>` first"],
] as const;

/** Pure. undefined: the words are one of the CLI's own commands. */
export function decidePassthrough(argv: readonly string[]): Passthrough | undefined {
  const [command, ...rest] = argv;
  const program = command === undefined ? undefined : PROGRAMS[command];
  if (program === undefined || !Object.hasOwn(PROGRAMS, command!)) return undefined;
  const args = command === "agent" && rest[0] === "run" ? rest.slice(1) : rest;
  const serves = !args.some((word) => word === "--help" || word === "-h" || word === "--print-config") && !(command === "agent" && args[0] === "enrol");
  return { program, args, serves };
}

const FORWARDED = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** Resolves with the exit code that is to be ours. */
export async function runPassthrough({ program, args, serves }: Passthrough, env: Environment): Promise<number> {
  if (!existsSync(program)) throw new CliError({ code: "not_installed", detail: `${program} is not there.`, exit: EXIT.usage, fix: "This installation has the CLI only; install the whole of Skep." });
  // Somebody who holds our stdin for this very purpose holds the child's as well.
  const watched = serves && !env.supervised;
  const child = spawn(process.execPath, [program, ...args], { stdio: [watched ? "pipe" : "inherit", "inherit", "inherit"], env: watched ? { ...env.inherited, SKEP_SUPERVISED: "1" } : env.inherited });
  child.stdin?.on("error", () => undefined);
  const stop = forwardSignals(child);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
    });
  } finally {
    stop();
  }
}

/**
 * The first SIGINT goes on as SIGTERM: a terminal has sent the child its own SIGINT already, and two would mean
 * "at once". A second one does mean that.
 */
function forwardSignals(child: ChildProcess): () => void {
  let interrupts = 0;
  const forward = (signal: NodeJS.Signals): void => {
    if (signal === "SIGINT") interrupts += 1;
    child.kill(signal === "SIGINT" && interrupts === 1 ? "SIGTERM" : signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  return () => {
    for (const signal of FORWARDED) process.off(signal, forward);
  };
}
