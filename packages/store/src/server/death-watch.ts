/**
 * The server dies with its supervisor, `kill -9` included. The kernel does it where `setpriv` can ask for it;
 * elsewhere a tiny process waits for the end of a pipe that only the supervisor holds open.
 *
 * The kernel's way is tied to the thread that spawned: call it from the main thread. Both ways send SIGINT, a fast
 * shutdown, so that the next start needs no recovery.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { BARE_ENV, runCommand } from "./run-command.ts";

export type DeathWatchMode = "kernel" | "watchdog";

/** Comes after a user namespace's prefix: entering one clears the request. */
export const KERNEL_PREFIX = ["setpriv", "--pdeathsig", "INT", "--"];

export async function findDeathWatch(): Promise<DeathWatchMode> {
  return (await runCommand([...KERNEL_PREFIX, "true"], undefined, 10_000)).code === 0 ? "kernel" : "watchdog";
}

const WATCHDOG = `
process.stdin.on("error", () => {}).on("close", () => { try { process.kill(Number(process.argv[1]), "SIGINT"); } catch {} process.exit(0); }).resume();
`;

/** Ends itself after its one signal; the caller kills it when the server is gone, before the pid can be another's. */
export function startWatchdog(pid: number): ChildProcess {
  const child = spawn(process.execPath, ["-e", WATCHDOG, String(pid)], { stdio: ["pipe", "ignore", "ignore"], detached: true, env: BARE_ENV, cwd: "/" });
  child.on("error", () => undefined);
  child.unref();
  return child;
}
