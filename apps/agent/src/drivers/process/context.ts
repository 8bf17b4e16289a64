/** What the driver's verbs share. */
import type { Clock, Logger, Rng } from "@skep/core";
import { hasEnded } from "../../runner/run-state.ts";
import type { LogLimits, RunState, RunTimings } from "../../runner/run-state.ts";
import type { KeyedLock } from "../../keyed-lock.ts";
import type { ComponentDir, ComponentDirs } from "../component-dirs.ts";
import type { InheritedEnv } from "../environment.ts";
import type { RunningExecs } from "./exec-command.ts";
import type { Links } from "./links.ts";
import type { Look } from "./look.ts";
import type { PortBook } from "./port-book.ts";

export interface ProcessContext {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly runnerPath: string;
  readonly hostBootId: string;
  readonly inheritedEnv: InheritedEnv;
  readonly logs: LogLimits;
  readonly timings: RunTimings;
  readonly launchTimeoutMs: number;
  readonly dirs: ComponentDirs;
  readonly links: Links;
  readonly ports: PortBook;
  readonly lock: KeyedLock;
  /** Tells the commands of this agent's workloads from those of another agent on the same machine. */
  readonly execOwner: string;
  readonly execs: RunningExecs;
  readonly look: (dir: ComponentDir) => Promise<Look>;
}

/** How long SIGKILL may take to show: a process in the kernel's uninterruptible sleep survives it. */
export const KILL_PATIENCE_MS = 10_000;

/** True while something of the component runs or may run. */
export function mayRun(look: Look): boolean {
  if (look.kind === "damaged") return look.processes.length > 0;
  if (look.kind === "supervised") return !hasEnded(look.state);
  return look.kind === "hung" || look.kind === "orphaned";
}

export const stateOf = (look: Look): RunState | undefined => (look.kind === "none" || look.kind === "damaged" ? undefined : look.state);
