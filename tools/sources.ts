/** The repository's own source files, as the checks see them. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

export interface Source {
  /** Path from the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

const SKIPPED = new Set(["node_modules", "dist", ".git", ".skep", "coverage"]);

export function listFiles(folder: string, wanted: (name: string) => boolean): string[] {
  return readdirSync(folder).flatMap((name) => {
    if (SKIPPED.has(name)) return [];
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return listFiles(path, wanted);
    return wanted(name) ? [path] : [];
  });
}

export function readSources(): Source[] {
  return ["packages", "apps"]
    .flatMap((top) => listFiles(join(ROOT, top), (name) => name.endsWith(".ts")))
    .map((path) => ({ path: relative(ROOT, path).replaceAll("\\", "/"), text: readFileSync(path, "utf8") }));
}

export const isTest = (path: string): boolean => /\.test\.ts$|\/test\/|\/test-programs\//.test(path);

/** Comments and string contents blanked out, so that a ban never fires on prose. In tests, templates too: they hold other programs. */
export function codeOnly(text: string, test = false): string {
  return (test ? text.replaceAll(/`(?:[^`\\]|\\.)*`/g, "``") : text)
    .replaceAll(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, " "))
    .replaceAll(/(^|[^:"'`\\])\/\/[^\n]*/g, "$1")
    .replaceAll(/"(?:[^"\\\n]|\\.)*"/g, '""')
    .replaceAll(/'(?:[^'\\\n]|\\.)*'/g, "''");
}
