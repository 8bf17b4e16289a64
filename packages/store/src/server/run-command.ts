/** Runs a short-lived program to its end: argv only, no shell, a bare environment so that PGDATA or PGPORT of the caller's shell cannot leak in. */
import { execFile } from "node:child_process";

export interface Finished {
  /** null: it could not be started at all. */
  readonly code: number | null;
  readonly output: string;
}

export interface Credentials {
  readonly uid: number;
  readonly gid: number;
}

export const BARE_ENV = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C", TZ: "UTC" };

/** Never rejects. `output` is stdout and stderr together, for an error's detail. */
export function runCommand(argv: readonly string[], as: Credentials | undefined, timeoutMs = 120_000): Promise<Finished> {
  const [command = "", ...args] = argv;
  return new Promise((resolve) => {
    const options = { env: BARE_ENV, cwd: "/", timeout: timeoutMs, maxBuffer: 4 << 20, ...as };
    const child = execFile(command, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : null, output: `${stdout}${stderr}`.trim() });
    });
    child.stdin?.end();
  });
}
