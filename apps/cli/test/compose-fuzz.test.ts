/** No file breaks the conversion, every refusal says where, and nothing that a file says is ever executed (faults F40). */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { seedFromEnv, tempDir } from "@skep/testkit";
import fc from "fast-check";
import { stringify } from "yaml";
import { expect, test } from "vitest";
import { KEYS } from "../src/compose/keys.ts";
import { convert } from "./compose-convert.ts";

const seed = seedFromEnv();
const SAMPLE = readFileSync(join(import.meta.dirname, "../../../samples/compose.yaml"), "utf8");
const KEY_NAMES = [...new Set(Object.values(KEYS).flatMap((table) => Object.keys(table)))];
const NASTY = ["", " ", "$", "${", "${A", "$(id)", "${A:-${B}}", "'", "\"", "\\", "a:b:c:d", "/", "../..", "~", "80-", "-1", "1e999", "__proto__", "constructor", "valueOf", "\u0000", "\u2028", "😀", "a".repeat(5_000), "yes", "null", "0x10", "[::1]:80:80", "[", "service:x"];

async function judge(text: string): Promise<void> {
  const [first, second] = [await convert(text), await convert(text)];
  expect(second).toEqual(first.kind === "refused" ? first : { ...first, locate: expect.any(Function) as unknown });
  if (first.kind === "converted") return;
  expect(first.faults.length).toBeGreaterThan(0);
  for (const fault of first.faults) {
    expect(fault.at).toMatch(/^compose\.yaml:[1-9]\d*:[1-9]\d*$/);
    expect(Number(fault.at.split(":")[1])).toBeLessThanOrEqual(text.split("\n").length);
    expect(fault.message).not.toBe("");
  }
}

const leaf = fc.oneof(fc.constantFrom(...NASTY), fc.string(), fc.integer(), fc.double(), fc.boolean(), fc.constant(null));
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof({ maxDepth: 5, withCrossShrink: true }, leaf, fc.array(tie("value"), { maxLength: 4 }), fc.dictionary(fc.oneof(fc.constantFrom(...KEY_NAMES), fc.constantFrom("__proto__", "valueOf", "toString", "constructor", "<<", "web", "A")), tie("value"), { maxKeys: 5 })),
}));
const service = fc.dictionary(fc.constantFrom(...Object.keys(KEYS.service)), value, { maxKeys: 5 });
const composeFile = fc.record({ services: fc.dictionary(fc.constantFrom("web", "db", "My_X", "__proto__", "-", "toString"), service.map((keys) => ({ image: "nginx", ...keys })), { minKeys: 1, maxKeys: 3 }), networks: value, volumes: value, name: value }, { requiredKeys: ["services"] });

test("values of every kind under every key", async () => {
  await fc.assert(fc.asyncProperty(composeFile, (file) => judge(stringify(file, { aliasDuplicateObjects: false }))), { seed, numRuns: 400 });
});

test("text of any kind", async () => {
  await fc.assert(fc.asyncProperty(fc.string({ unit: fc.constantFrom(..."services:\n  web image-[]{}&*<!'\"|>%@`#,?$ \t".split(""), "services:\n", "  image: a\n") }), judge), { seed, numRuns: 400 });
});

test("the sample, with something cut out of it and something put in", async () => {
  const edit = fc.tuple(fc.nat(SAMPLE.length), fc.nat(40), fc.oneof(fc.constantFrom(...NASTY), fc.string({ maxLength: 5 })));
  await fc.assert(fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => judge(edits.reduce((text, [at, cut, put]) => text.slice(0, at) + put + text.slice(at + cut), SAMPLE))), { seed, numRuns: 300 });
});

test("shell metacharacters stay what they are, in every field that takes text", async () => {
  const canary = join(tempDir("canary"), "touched");
  const field = fc.constantFrom("command", "entrypoint", "user", "working_dir", "label", "env", "test", "image", "mount", "host");
  const payload = fc.constantFrom("$(touch C)", "`touch C`", "; touch C", "&& touch C", "| touch C", "> C", "\n touch C", "'; touch C; '", "\"; touch C; \"").map((text) => text.replaceAll("C", canary));
  await fc.assert(fc.asyncProperty(field, payload, fc.boolean(), async (name, text, asList) => {
    const dollars = text.replaceAll("$", "$$$$");
    const argument = asList ? [dollars] : JSON.stringify(dollars).replaceAll("`", "\\`");
    const fields: Record<string, object> = {
      command: { command: argument }, entrypoint: { entrypoint: argument }, user: { user: dollars }, working_dir: { working_dir: `/${dollars}` }, label: { labels: { a: dollars } }, env: { environment: { A: dollars } }, test: { healthcheck: { test: ["CMD", dollars] } },
      image: { image: dollars }, mount: { volumes: [{ type: "bind", source: `/${dollars}`, target: "/x" }] }, host: { hostname: dollars },
    };
    const result = await convert(stringify({ services: { web: { image: "nginx", ...fields[name] } } }));
    // Taken to the letter, or refused by line; a string of a command is one word only where its quotes say so.
    if (result.kind === "converted" && (asList || !["command", "entrypoint"].includes(name))) expect(JSON.stringify(result.spec)).toContain(JSON.stringify(text).slice(1, -1));
    if (result.kind === "refused") expect(result.faults.every(({ at }) => /:\d+:\d+$/.test(at))).toBe(true);
  }), { seed, numRuns: 200 });
  expect(existsSync(canary)).toBe(false);
});

test("the conversion has nothing that could start a program", () => {
  const folder = join(import.meta.dirname, "../src/compose");
  const sources = readdirSync(folder).filter((name) => name.endsWith(".ts")).map((name) => readFileSync(join(folder, name), "utf8"));
  expect(sources.length).toBeGreaterThan(20);
  expect(sources.filter((text) => /child_process|worker_threads|node:vm|\beval\b|new Function/.test(text))).toEqual([]);
});
