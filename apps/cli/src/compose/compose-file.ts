/** Compose files at the edge of `skep deploy`: what is one, where its variables come from, and its refusal in words. */
import { readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { isMap, parseDocument } from "yaml";
import { CliError, usageError, type LocatedError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import type { SpecFile } from "../spec-file.ts";
import { readContained } from "./contained-file.ts";
import { convertCompose } from "./convert.ts";
import { parseDotenv } from "./dotenv.ts";
import type { Fault, Notes } from "./fault.ts";
import type { Lookup } from "./interpolate.ts";

export interface ComposeFlags {
  readonly name?: string;
  readonly profile?: readonly string[];
  readonly envFile?: readonly string[];
  readonly ignoreBuild?: boolean;
}
export interface ComposeFile extends SpecFile {
  readonly warnings: Notes["warnings"];
}

const COMPOSE_NAME = /^(?:docker-)?compose[^/]*\.ya?ml$/i;

/** A mapping with `services`; or a file of Compose's own name that is not one of ours. */
export function isCompose(text: string, path: string): boolean {
  const { contents } = parseDocument(text, { prettyErrors: false, logLevel: "silent" });
  if (isMap(contents) && contents.has("services")) return true;
  return COMPOSE_NAME.test(basename(path)) && !(isMap(contents) && contents.has("spec"));
}

/** `path`: as typed; "-" is stdin. Throws the refusal, with every fault in it. */
export async function readComposeFile(text: string, path: string, flags: ComposeFlags, environment: Readonly<Record<string, string | undefined>>): Promise<ComposeFile> {
  const name = path === "-" ? "stdin" : path;
  const folder = path === "-" ? undefined : resolve(dirname(path));
  const converted = await convertCompose(text, name, { name: flags.name, folder, lookup: createLookup(environment, readVariables(flags.envFile, folder, environment)), profiles: flags.profile ?? [], ignoreBuild: flags.ignoreBuild === true });
  if (converted.kind === "refused") throw composeError(name, converted.faults);
  return {
    name,
    value: { name: converted.name, spec: converted.spec },
    warnings: converted.warnings,
    // What is said of hosts stands nowhere in the file.
    locate: (pointer) => (!/^\/(?:spec|name)(?:\/|$)/.test(pointer) ? undefined : converted.locate(pointer.split("/").slice(1).map((part) => (/^\d+$/.test(part) ? Number(part) : part.replaceAll("~1", "/").replaceAll("~0", "~"))))),
  };
}

export interface ComposeError extends LocatedError {
  readonly code: string;
}

function composeError(name: string, faults: readonly Fault[]): CliError {
  const errors = faults.map(({ at, key, code, message }): ComposeError => ({ at, pointer: key, code, message }));
  const detail = `${name} cannot be deployed: ${errors.length === 1 ? "1 fault" : `${errors.length} faults`}.`;
  return new CliError({ code: "compose_refused", detail, exit: EXIT.usage, fix: "Correct it at the places named; docs/compose.md lists what Skep takes of Compose.", title: "The Compose file cannot be taken as it is", errors });
}

/** The environment wins over files, a later file over an earlier one. Skep's own credential is no variable. */
const createLookup = (environment: Readonly<Record<string, string | undefined>>, files: ReadonlyMap<string, string>): Lookup => (name) => (name === "SKEP_TOKEN" ? undefined : (ownValue(environment, name) ?? files.get(name)));
const ownValue = (environment: Readonly<Record<string, string | undefined>>, name: string): string | undefined => (Object.hasOwn(environment, name) ? environment[name] : undefined);

/** The files of --env-file, which may be anywhere; without one, the `.env` beside the Compose file, if there is one. */
function readVariables(files: readonly string[] | undefined, folder: string | undefined, environment: Readonly<Record<string, string | undefined>>): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const add = (text: string, name: string): void => {
    const parsed = parseDotenv(text, createLookup(environment, values));
    if (parsed.faults.length > 0) throw usageError(`${name} cannot be understood.`, "It has lines of NAME=value; correct it at the places named.", parsed.faults.map(({ line, message }) => ({ at: `${name}:${line}`, pointer: "", message })));
    for (const [key, value] of parsed.values) values.set(key, value);
  };
  if (files !== undefined) {
    for (const file of files) add(readNamed(file), file);
    return values;
  }
  if (folder === undefined) return values;
  const beside = readContained(folder, ".env");
  const path = join(folder, ".env");
  if (beside.kind === "outside") throw usageError(`${path} is a link that leads out of its folder.`, "Only files inside the Compose file's folder are read by themselves; name it with --env-file if you mean it.");
  if (beside.kind === "unreadable") throw usageError(`${path} cannot be read (${beside.because}).`);
  if (beside.kind === "text") add(beside.text, path);
  return values;
}

function readNamed(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw usageError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? "error"}).`, "--env-file names a file of NAME=value lines.");
  }
}
