/** Prometheus' own verdicts for tests. Where it is not installed the tests that need it are skipped, and say so. */
import { spawn } from "node:child_process";
import { findProgram } from "./engine/find-engine.ts";

export interface PrometheusTools {
  readonly prometheus: string;
  readonly promtool: string;
}

/** The programs, or why there are none; the reason is printed once per test process. */
export function findPrometheus(): PrometheusTools | { readonly missing: string } {
  const [prometheus, promtool] = [findProgram("prometheus"), findProgram("promtool")];
  if (prometheus !== undefined && promtool !== undefined) return { prometheus, promtool };
  const missing = "not installed: prometheus, promtool (Debian: prometheus)";
  if (!told) process.stderr.write(`\n!! SKIPPED: what needs Prometheus is not tested here: ${missing}\n`);
  told = true;
  return { missing };
}
let told = false;

export interface Verdict {
  readonly code: number | null;
  /** Both outputs, in the order they came. */
  readonly output: string;
}

/** Runs promtool to its end; `input` goes to its stdin. */
export async function promtool(argv: readonly string[], options: { readonly cwd?: string; readonly input?: string } = {}): Promise<Verdict> {
  const tools = findPrometheus();
  if ("missing" in tools) throw new Error(`promtool: ${tools.missing}`);
  const child = spawn(tools.promtool, [...argv], { ...(options.cwd === undefined ? {} : { cwd: options.cwd }), stdio: "pipe" });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { code, output };
}
