/** The CLI as an operator runs it: its own process against the fleet's API. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startProgram } from "@skep/testkit";
import type { Api } from "./api.ts";

const BIN = fileURLToPath(new URL("../../../cli/bin/skep.js", import.meta.url));

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function skep(api: Api, argv: readonly string[], options: { readonly cwd?: string; readonly home?: string } = {}): Promise<CliResult> {
  const home = options.home ?? join("/nonexistent", "home");
  const program = startProgram([BIN, ...argv], {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { SKEP_URL: api.url, SKEP_TOKEN: api.token, HOME: home, NO_COLOR: "1" },
  });
  const { code } = await program.exited;
  return { code, stdout: program.stdout(), stderr: program.stderr() };
}
