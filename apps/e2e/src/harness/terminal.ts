/**
 * A program on a real terminal: a pseudo-terminal of its own, made by `script` (util-linux), of a size that `stty` sets.
 * Afterwards the terminal's settings are compared with those of before, as the next prompt would find them.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "@skep/testkit";

export interface OnTerminal {
  /** Of the program itself. */
  pid(): Promise<number>;
  /** Everything that was written to the terminal. */
  written(): string;
  type(text: string): void;
  /** The program's exit code. */
  readonly exited: Promise<number | null>;
  /** The terminal's settings (`stty -g`) before and after. */
  settings(): { readonly before: string; readonly after: string };
}

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** `dir`: empty, for what is noted on the way. */
export function startOnTerminal(argv: readonly string[], options: { readonly dir: string; readonly env: Readonly<Record<string, string>>; readonly columns: number; readonly rows: number }): OnTerminal {
  const { dir, columns, rows } = options;
  const note = (name: string): string => join(dir, name);
  const program = `echo $$ > ${quoted(note("pid"))}; exec ${[process.execPath, ...argv].map(quoted).join(" ")}`;
  const shell = `stty cols ${columns} rows ${rows}; stty -g > ${quoted(note("before"))}; sh -c ${quoted(program)}; code=$?; stty -g > ${quoted(note("after"))}; exit $code`;
  const child = spawn("script", ["-qefc", shell, "/dev/null"], { env: { PATH: process.env["PATH"] ?? "", TERM: "xterm", SHELL: "/bin/sh", ...options.env }, stdio: "pipe" });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
  child.stdin.on("error", () => undefined);
  const atExit = (): void => void child.kill("SIGKILL");
  process.once("exit", atExit);
  const read = (name: string): string => readFileSync(note(name), "utf8").trim();
  return {
    pid: () => eventually(() => (existsSync(note("pid")) && read("pid") !== "" ? Number(read("pid")) : undefined), { what: "the program on the terminal", timeoutMs: 60_000 }),
    written: () => text,
    type: (keys) => void child.stdin.write(keys),
    exited: new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        process.off("exit", atExit);
        resolve(code);
      });
    }),
    settings: () => ({ before: read("before"), after: read("after") }),
  };
}
