/** A probe's command beside a process: in its directory, with its environment, in a group of its own that ends with the probe. */
import { spawn } from "node:child_process";
import type { AbortSignalLike } from "@skep/core";

export interface CommandSurroundings {
  readonly workingDir: string;
  readonly env: Readonly<Record<string, string>>;
}

export function runProbeCommand(command: readonly string[], { workingDir, env }: CommandSurroundings, stop: AbortSignalLike): Promise<string | undefined> {
  const [program = "", ...args] = command;
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: workingDir, env: { ...env }, stdio: "ignore", shell: false, detached: true });
    const kill = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        // gone between the look and the signal
      }
    };
    const finish = (problem: string | undefined): void => {
      stop.removeEventListener("abort", kill);
      resolve(problem);
    };
    child.on("error", (error) => finish(`probe command: ${error.message}`));
    child.on("exit", (code, signal) => finish(code === 0 ? undefined : `probe command ${signal === null ? `exited with code ${code ?? "unknown"}` : `was killed by ${signal}`}`));
    stop.addEventListener("abort", kill, { once: true });
    if (stop.aborted) kill();
  });
}
