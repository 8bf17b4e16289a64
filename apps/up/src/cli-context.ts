/**
 * Tells the CLI where this master is: always in the state directory, and in the user's context file unless that
 * holds somebody else's context, which must not vanish because someone tried Skep out.
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { makePrivateDir } from "@skep/pki";
import type { UpFacts } from "./facts.ts";
import { readJson, writeJson } from "./files.ts";
import type { Layout } from "./layout.ts";

export type ContextOutcome = "saved" | "foreign" | "off";

export async function writeContexts(layout: Layout, contextFile: string | undefined, facts: UpFacts): Promise<ContextOutcome> {
  const context = { url: facts.api_url, token: facts.token, ca: facts.ca_path, state_dir: layout.dir };
  await writeJson(layout.cliContext, context);
  if (contextFile === undefined) return "off";
  if (existsSync(contextFile) && !isOurs(readJson(contextFile), layout.dir)) return "foreign";
  await makePrivateDir(dirname(contextFile));
  await writeJson(contextFile, context);
  return "saved";
}

const isOurs = (found: unknown, dir: string): boolean => {
  const stateDir = (Object(found) as { state_dir?: unknown }).state_dir;
  // One whose state directory was deleted leads nowhere.
  return typeof stateDir === "string" && (resolve(stateDir) === dir || !existsSync(stateDir));
};
