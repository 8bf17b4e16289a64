/**
 * Finding and reading the agent's configuration file: `SKEP_AGENT_CONFIG`, else one beside the identity, else
 * `/etc/skep/agent.*`. Invariants: every fault is said at once, with its key and, where the format's parser tells it, its
 * line; a file that is faulty is not used in part; two files in one folder are nobody's guess.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { SkepError } from "@skep/core";
import { parse as parseToml, TomlError } from "smol-toml";
import { isMap, isNode, isScalar, LineCounter, parseDocument, type Document } from "yaml";
import { fileSchema, NO_SETTINGS, sequenceProblems, settingsOf, type FileSettings, type RegistryConfig } from "./config-schema.ts";

export const SYSTEM_CONFIG_DIR = "/etc/skep";
const NAMES = ["agent.toml", "agent.yaml", "agent.yml", "agent.json"];
/** A configuration is written by hand; what is larger is another file. */
const MAX_BYTES = 1_048_576;

interface Fault {
  readonly pointer: string;
  readonly message: string;
}

export interface ConfigPlaces {
  readonly configured: string | undefined;
  readonly agentDir: string;
  readonly systemDir: string;
}

/** Undefined: there is none, which is fine unless one was named. */
export function findConfigFile({ configured, agentDir, systemDir }: ConfigPlaces): string | undefined {
  if (configured !== undefined) return configured;
  for (const dir of [agentDir, systemDir]) {
    const found = NAMES.map((name) => join(dir, name)).filter((path) => existsSync(path));
    if (found.length > 1) throw new SkepError("invalid_request", `There are several configuration files, and only one can count: ${found.join(" and ")}. Remove all but one.`);
    if (found[0] !== undefined) return found[0];
  }
  return undefined;
}

/** Throws `invalid_request` with every fault. */
export function readConfigFile(path: string | undefined): FileSettings {
  if (path === undefined) return NO_SETTINGS;
  const text = readText(path);
  const { value, lineOf } = parseAs(path, text);
  const parsed = fileSchema.safeParse(value ?? {});
  const faults: Fault[] = (parsed.error?.issues ?? []).flatMap((issue) => {
    // A key nobody knows is named by itself, so that its own line can be told.
    const paths = issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    return paths.map((at) => ({ pointer: pointerOf(at), message: `${where(at, lineOf(at))}: ${issue.code === "unrecognized_keys" ? "there is no such setting" : issue.message}` }));
  });
  faults.push(...sequenceProblems(value).map(({ path: at, message }) => ({ pointer: pointerOf(at), message: `${where(at, lineOf(at))}: ${message}` })));
  const settings = parsed.success ? settingsOf(parsed.data) : undefined;
  for (const [name, registry] of Object.entries(settings?.registries ?? {})) {
    const at = ["registries", name, "password_file"];
    const problem = passwordProblem(registry.passwordFile);
    if (problem !== undefined) faults.push({ pointer: pointerOf(at), message: `${where(at, lineOf(at))}: ${problem}` });
  }
  if (settings === undefined || faults.length > 0) throw refused(path, faults);
  return settings;
}

export interface RegistryCredential {
  readonly server: string;
  readonly username: string;
  readonly password: string;
}

/** Read anew each time: a rotated password counts at once, and none is kept where it could be printed. */
export function readCredential({ server, username, passwordFile }: RegistryConfig): RegistryCredential {
  const problem = passwordProblem(passwordFile);
  if (problem !== undefined) throw new SkepError("spec_refused", `the credential of ${server} cannot be used: ${problem}`);
  return { server, username, password: readFileSync(passwordFile, "utf8").replace(/\r?\n$/, "") };
}

function passwordProblem(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) return `there is no file ${path}`;
  if ((stat.mode & 0o077) !== 0) return `${path} can be read by others (mode ${(stat.mode & 0o777).toString(8).padStart(4, "0")}); chmod 600 it`;
  return undefined;
}

function readText(path: string): string {
  try {
    if (statSync(path).size > MAX_BYTES) throw new Error(`larger than ${MAX_BYTES} bytes`);
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new SkepError("invalid_request", `The configuration file ${path} cannot be read: ${(cause as Error).message}.`, { cause });
  }
}

type Path = readonly PropertyKey[];
interface Parsed {
  readonly value: unknown;
  readonly lineOf: (path: Path) => number | undefined;
}

function parseAs(path: string, text: string): Parsed {
  switch (extname(path)) {
    case ".toml":
      return parseTomlText(path, text);
    case ".json":
      return parseJsonText(path, text);
    case ".yaml":
    case ".yml":
      return parseYamlText(path, text);
    default:
      throw new SkepError("invalid_request", `The configuration file ${path} must end in .toml, .yaml, .yml or .json: that is how its format is known.`);
  }
}

function parseTomlText(path: string, text: string): Parsed {
  try {
    return { value: parseToml(text), lineOf: () => undefined };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw refused(path, [{ pointer: "", message: `line ${error.line}: ${error.message.split("\n")[0]?.replace(/^Invalid TOML document: /, "") ?? "it is not TOML"}` }]);
  }
}

function parseYamlText(path: string, text: string): Parsed {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) throw refused(path, document.errors.map((error) => ({ pointer: "", message: `line ${lines.linePos(error.pos[0]).line}: ${error.message}` })));
  return { value: document.toJS({ maxAliasCount: 100 }), lineOf: linesOf(document, lines) };
}

/** JSON's own parser says yes or no; the other one, of which JSON is a part, knows the lines. */
function parseJsonText(path: string, text: string): Parsed {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  try {
    return { value: JSON.parse(text) as unknown, lineOf: linesOf(document, lines) };
  } catch (error) {
    const offset = /at position (\d+)/.exec((error as Error).message)?.[1];
    const line = offset === undefined ? document.errors[0] && lines.linePos(document.errors[0].pos[0]).line : text.slice(0, Number(offset)).split("\n").length;
    throw refused(path, [{ pointer: "", message: `${line === undefined ? "" : `line ${line}: `}it is not JSON: ${(error as Error).message}` }]);
  }
}

/** The line of a key, or of the nearest thing around it that is there: a missing key has no line of its own. */
const linesOf = (document: Document, lines: LineCounter) => (path: Path): number | undefined => {
  for (let length = path.length; length > 0; length--) {
    const parent: unknown = document.getIn(path.slice(0, length - 1), true) ?? document.contents;
    const last = path[length - 1];
    const key = isMap(parent) ? parent.items.find((pair) => isScalar(pair.key) && pair.key.value === last)?.key : undefined;
    const node = key ?? document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return undefined;
};

const pointerOf = (path: Path): string => path.map((part) => `/${String(part)}`).join("");
const keyOf = (path: Path): string => path.map((part, index) => (typeof part === "number" ? `[${part}]` : `${index === 0 ? "" : "."}${String(part)}`)).join("");
const where = (path: Path, line: number | undefined): string => `${line === undefined ? "" : `line ${line}: `}${keyOf(path) || "the file"}`;

const refused = (path: string, faults: readonly Fault[]): SkepError =>
  new SkepError("invalid_request", `The configuration file ${path} cannot be used: ${faults.map((fault) => fault.message).join("; ")}.`, { errors: [...faults] });
