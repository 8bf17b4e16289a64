/**
 * A real Docker Engine of the tests' own: started by hand, with its own data, socket, addresses and mount namespace,
 * beside whatever engine the machine may run. It writes no firewall rules (two engines would undo each other's); its
 * published ports go through docker-proxy. Its faults are real: SIGSTOP, SIGKILL, a full disk.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../eventually.ts";
import { claimAddresses } from "./address-slice.ts";
import { createEngineKit } from "./engine-kit.ts";
import type { EngineKit } from "./engine-kit.ts";
import { callEngine } from "./engine-api.ts";
import { allowForwarding, clearEngineDir, forgetDeadContainerd, makeEngineDir, sweepEngines } from "./engine-dirs.ts";
import { ENGINE_PATH, findEngine } from "./find-engine.ts";

export interface EngineOptions {
  /** Containers go on while the daemon is away, as many hosts are set up. Default false: its restart ends them. */
  readonly liveRestore?: boolean;
  /** Where images and containers go. Default: below the engine's own directory. */
  readonly dataRoot?: string;
  /** More flags of dockerd. */
  readonly flags?: readonly string[];
}

export interface Engine extends EngineKit {
  /** dockerd's process id; another one after `restart`. */
  readonly pid: number;
  /** SIGSTOP: every call hangs, connections are still accepted by the kernel. */
  pause(): void;
  resume(): void;
  /** SIGKILL, daemon only: containers go on without it. */
  kill(): Promise<void>;
  /** SIGTERM, as an orderly stop of the service. */
  terminate(): Promise<void>;
  /** Starts the daemon again after `kill` or `terminate` (or ends it first); resolves when it answers. */
  restart(): Promise<void>;
  /** Ends the daemon and everything it started, and removes its files. Idempotent. */
  stop(): Promise<void>;
  /** What dockerd printed. */
  output(): string;
}

/** Looks until every thread of a stopped daemon stands still, a second or more in all; only a bound for failure. */
const STOP_LOOKS = 20_000;
/** Longest a daemon may take to answer on a busy machine; only a bound for failure. */
const START_LIMIT_MS = 180_000;

export async function startEngine(options: EngineOptions = {}): Promise<Engine> {
  const tools = findEngine();
  if ("missing" in tools) throw new Error(`no engine can be started: ${tools.missing}`);
  await sweepEngines();
  const addresses = claimAddresses();
  const dir = makeEngineDir(addresses.cidr);
  allowForwarding(addresses.cidr, true);
  const socketPath = join(dir, "docker.sock");
  const kit = createEngineKit(socketPath, tools.busybox);
  let daemon = launch(dir, addresses.cidr, options);
  let stopped: Promise<void> | undefined;

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (hasEnded(daemon)) return;
    const ended = new Promise<void>((resolve) => daemon.once("exit", () => resolve()));
    daemon.kill(signal);
    if (signal !== "SIGKILL") daemon.kill("SIGCONT");
    await ended;
  };
  const stop = async (): Promise<void> => {
    try {
      daemon.kill("SIGCONT");
      // Containers first: a daemon that is told to stop waits for each of them, one stop timeout long.
      if (!hasEnded(daemon)) await kit.removeEverything().catch(() => undefined);
      await end("SIGKILL");
    } finally {
      await clearEngineDir(dir);
      addresses.release();
    }
  };
  const engine: Engine = {
    ...kit,
    get pid() {
      return daemon.pid!;
    },
    pause: () => {
      daemon.kill("SIGSTOP");
      // A thread stops when it next gets a core; until the last of them has, the daemon may still answer.
      for (let looks = 0; looks < STOP_LOOKS && !isStopped(daemon.pid!); looks++);
    },
    resume: () => void daemon.kill("SIGCONT"),
    kill: () => end("SIGKILL"),
    terminate: () => end("SIGTERM"),
    async restart() {
      await end("SIGTERM");
      await forgetDeadContainerd(dir);
      daemon = launch(dir, addresses.cidr, options);
      await answering(socketPath, daemon, dir);
    },
    stop: () => (stopped ??= stop()),
    output: () => outputOf(dir),
  };
  try {
    await answering(socketPath, daemon, dir);
  } catch (error) {
    await engine.stop();
    throw error;
  }
  return engine;
}

function launch(dir: string, cidr: string, options: EngineOptions): ChildProcess {
  const dataRoot = options.dataRoot ?? join(dir, "data");
  mkdirSync(dataRoot, { recursive: true });
  const log = openSync(join(dir, "dockerd.log"), "a");
  // A mount namespace of its own: what it mounts goes away with its last process, whatever happens to the test.
  const argv = [
    "--mount", "--propagation", "slave", "--", "dockerd",
    "--data-root", dataRoot, "--exec-root", join(dir, "exec"), "--pidfile", join(dir, "pid"), "--host", `unix://${join(dir, "docker.sock")}`,
    "--bridge=none", "--iptables=false", "--ip-masq=false", "--ip-forward=false", "--default-address-pool", `base=${cidr},size=27`,
    "--storage-driver=overlay2", "--log-level=warn", "--shutdown-timeout=5", ...(options.liveRestore === true ? ["--live-restore"] : []), ...(options.flags ?? []),
  ];
  try {
    return spawn("unshare", argv, { stdio: ["ignore", log, log], env: { PATH: ENGINE_PATH, HOME: dir }, cwd: dir });
  } finally {
    closeSync(log);
  }
}

async function answering(socketPath: string, daemon: ChildProcess, dir: string): Promise<void> {
  await eventually(async () => {
    if (hasEnded(daemon)) return "ended";
    return (await callEngine(socketPath, "GET", "/_ping", { timeoutMs: 5_000 })).status === 200 ? "answers" : undefined;
  }, { what: "the test engine answering", timeoutMs: START_LIMIT_MS });
  if (hasEnded(daemon)) throw new Error(`dockerd ended at its start:\n${outputOf(dir)}`);
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;

function outputOf(dir: string): string {
  try {
    return readFileSync(join(dir, "dockerd.log"), "utf8");
  } catch {
    return "";
  }
}

/** Every thread of it: one that still runs still answers. */
function isStopped(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((task) => /\) [Tt] /.test(readFileSync(`/proc/${pid}/task/${task}/stat`, "utf8")));
  } catch {
    return false;
  }
}
