/**
 * Which master, with which token, and who said so. Precedence: flag, --state-dir, environment, context file, default.
 * Invariant: a token or CA that was written down together with a URL is lent to that URL only; a token must never be
 * sent to another master because the two came from different places.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "./cli-error.ts";
import type { Environment } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

export const DEFAULT_URL = "http://127.0.0.1:8080";

export interface Flags {
  readonly url?: string;
  readonly token?: string;
  readonly ca?: string;
  readonly stateDir?: string;
}

export interface Candidate {
  readonly source: string;
  readonly url?: string | undefined;
  readonly token?: string | undefined;
  readonly ca?: string | undefined;
}

export interface Setting {
  readonly value: string | undefined;
  readonly source: string;
}

export interface Settings {
  readonly url: Setting & { readonly value: string };
  readonly token: Setting;
  readonly ca: Setting;
  /** Tokens that were found and not used, each with its reason. */
  readonly withheld: readonly string[];
}

/** Pure. `candidates` in order of precedence; the last resort is the default URL with no token. */
export function decideSettings(candidates: readonly Candidate[]): Settings {
  const fromUrl = candidates.find((candidate) => candidate.url !== undefined);
  const url = { value: normalise(fromUrl?.url ?? DEFAULT_URL), source: fromUrl?.source ?? "default" };
  const lends = (candidate: Candidate): boolean => candidate.url === undefined || normalise(candidate.url) === url.value;
  const pick = (name: "token" | "ca"): Setting => {
    const found = candidates.find((candidate) => candidate[name] !== undefined && lends(candidate));
    return { value: found?.[name], source: found?.source ?? "default" };
  };
  const token = pick("token");
  const withheld = token.value !== undefined ? [] : candidates.flatMap((candidate) => (candidate.token === undefined ? [] : [`the token of ${candidate.source} belongs to ${normalise(candidate.url!)}`]));
  return { url, token, ca: pick("ca"), withheld };
}

export const normalise = (url: string): string => url.replace(/\/+$/, "");

/** Reads what the flags and the environment point at. Throws a usage error for files that cannot be understood. */
export function loadSettings(flags: Flags, env: Environment): Settings {
  const stateDir = flags.stateDir === undefined ? undefined : join(flags.stateDir, "cli.json");
  const found = stateDir === undefined ? undefined : readContext(stateDir);
  if (stateDir !== undefined && found === undefined) {
    throw configError(`--state-dir ${flags.stateDir}: there is no ${stateDir}.`, "Give the directory that `skep up` was started with, once it is up.");
  }
  const candidates: Candidate[] = [
    { source: "flag", url: flags.url, token: flags.token, ca: flags.ca },
    ...(found === undefined ? [] : [found]),
    { source: "environment", url: env.url, token: env.token, ca: env.ca },
    ...[readContext(env.contextFile)].filter((candidate) => candidate !== undefined),
  ];
  return decideSettings(candidates);
}

/** undefined: there is none. */
function readContext(path: string): Candidate | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw configError(`${path} cannot be read (${code ?? "error"}).`, "Check who owns it, or name the master with --url and SKEP_TOKEN.");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw configError(`${path} is not valid JSON.`, "Remove it; `skep up` writes it anew.");
  }
  const member = (name: string): string | undefined => {
    const found = (Object(value) as Record<string, unknown>)[name];
    return typeof found === "string" && found !== "" ? found : undefined;
  };
  const token = member("token");
  if (token !== undefined && (statSync(path).mode & 0o077) !== 0) {
    throw configError(`${path} holds a token, and others than its owner may read or write it.`, `chmod 600 ${path}`);
  }
  return { source: path, url: member("url"), token, ca: member("ca") };
}

const configError = (detail: string, fix: string): CliError => new CliError({ code: "config", detail, exit: EXIT.usage, fix, title: "The configuration cannot be used" });
