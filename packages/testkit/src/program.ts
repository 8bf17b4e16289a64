/**
 * Real processes under test. Each is killed, by its pid, when the test process ends, so that a failing test leaves
 * nothing behind. They run the build (`dist/`), which must therefore not be older than its sources.
 */
import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "./eventually.ts";

export interface ProgramExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Program {
  readonly pid: number;
  readonly child: ChildProcessWithoutNullStreams;
  readonly exited: Promise<ProgramExit>;
  stdout(): string;
  stderr(): string;
  /** Waits until stdout matches; fails with both outputs when the program ends first or time runs out. */
  output(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  kill(signal?: NodeJS.Signals): void;
}

export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** To run as another user, when the test is root. */
  readonly uid?: number;
  readonly gid?: number;
  /** What starts it and becomes it: `["ip", "netns", "exec", NAME]`. */
  readonly under?: readonly string[];
}

const running = new Set<ChildProcessWithoutNullStreams>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Runs `node <argv>` with pipes for stdin, stdout and stderr. */
export function startProgram(argv: readonly string[], options: ProgramOptions = {}): Program {
  const { env = {}, under = [], ...spawnOptions } = options;
  const [command = process.execPath, ...words] = [...under, process.execPath, ...argv];
  const child = spawn(command, words, { ...spawnOptions, env: { PATH: process.env["PATH"] ?? "", ...env }, stdio: "pipe" });
  if (child.pid === undefined) throw new Error(`node could not be started for ${argv.join(" ")}`);
  running.add(child);
  const texts = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (texts.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (texts.stderr += chunk.toString()));
  // Writing to a program that has ended is the test's business, not a crash of the test process.
  child.stdin.on("error", () => undefined);
  let exit: ProgramExit | undefined;
  const exited = new Promise<ProgramExit>((resolve) => {
    child.once("close", (code, signal) => {
      running.delete(child);
      resolve((exit = { code, signal }));
    });
  });
  const output = async (pattern: RegExp, timeoutMs = 60_000): Promise<RegExpExecArray> => {
    const found = await eventually(() => pattern.exec(texts.stdout) ?? (exit === undefined ? undefined : "ended"), {
      what: `${argv.join(" ")} printing ${pattern}`,
      timeoutMs,
    });
    if (found === "ended") throw new Error(`${argv.join(" ")} ended (${JSON.stringify(exit)}) without printing ${pattern}\n${texts.stdout}\n${texts.stderr}`);
    return found as RegExpExecArray;
  };
  return { pid: child.pid, child, exited, output, stdout: () => texts.stdout, stderr: () => texts.stderr, kill: (signal = "SIGTERM") => void child.kill(signal) };
}

/** Fails when `subtree` of a package's sources is newer than its build: a stale build would be tested unnoticed. */
export function requireBuilt(packageDir: string, subtree = ""): void {
  const info = join(packageDir, "dist/.tsbuildinfo");
  const builtMs = existsSync(info) ? statSync(info).mtimeMs : 0;
  for (const name of readdirSync(join(packageDir, "src", subtree), { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts") || name.endsWith(".test.ts")) continue;
    const source = join(packageDir, "src", subtree, name);
    const built = join(packageDir, "dist", subtree, name.replace(/\.ts$/, ".js"));
    if (!existsSync(built) || statSync(source).mtimeMs > Math.max(builtMs, statSync(built).mtimeMs)) {
      throw new Error(`${source} is newer than its build: run "npx tsc -b ${packageDir}" first`);
    }
  }
}
