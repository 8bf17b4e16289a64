/**
 * The admin token that the supervisor works with and hands on. The master makes it on a database's first start and keeps it
 * in one file; with several databases in turn that file may hold another's, so each one's is remembered here.
 */
import { readFileSync } from "node:fs";
import { SkepError } from "@skep/core";
import type { Clock } from "@skep/core";
import { writePrivateFile } from "@skep/pki";
import { sha256Hex } from "@skep/runtime";
import { createApi } from "./api.ts";
import { readJson, writeJson } from "./files.ts";
import type { Layout } from "./layout.ts";

const PATIENCE_MS = 10_000;

/** undefined: there is none. */
export function readAdminToken(layout: Layout): string | undefined {
  try {
    return readFileSync(layout.adminToken, "utf8").trim();
  } catch {
    return undefined;
  }
}

/** A token that this master takes; its file holds it afterwards. Throws `unauthenticated` with what to do when none is known. */
export async function findAdminToken(layout: Layout, databaseUrl: string | undefined, apiUrl: string, clock: Clock): Promise<string> {
  const tokens = Object(readJson(layout.tokens)) as Record<string, string>;
  const database = databaseUrl === undefined ? "embedded" : databaseKey(databaseUrl);
  for (const token of new Set([readAdminToken(layout), tokens[database]])) {
    if (token === undefined || !(await isTaken(apiUrl, token, clock))) continue;
    if (readAdminToken(layout) !== token) await writePrivateFile(layout.adminToken, `${token}\n`);
    if (tokens[database] !== token) await writeJson(layout.tokens, { ...tokens, [database]: token });
    return token;
  }
  throw new SkepError("unauthenticated", `no admin token of this database is known here: its first master ran elsewhere. Put one into ${layout.adminToken} (mode 0600) and start again`);
}

/** Without the password, so that a changed one is no other database. */
function databaseKey(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return sha256Hex(`${hostname}:${port}${pathname}`).slice(0, 16);
}

async function isTaken(apiUrl: string, token: string, clock: Clock): Promise<boolean> {
  const api = createApi({ url: () => apiUrl, token: () => token, clock, patienceMs: PATIENCE_MS });
  return api.get("/v1/tokens").then(() => true, () => false);
}
