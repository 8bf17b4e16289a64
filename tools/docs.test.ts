/** Code and docs agree, both ways. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ERROR_CODES } from "@skep/core";
import { expect, test } from "vitest";
import { PAGES } from "./gen-docs.mjs";
import { listFiles, readSources, ROOT } from "./sources.ts";

test.each(Object.entries(PAGES))("docs/%s is what the code says (npm run gen)", (name, page) => {
  expect(readFileSync(join(ROOT, "docs", name), "utf8")).toBe(page());
});

test("every error code is uttered somewhere, and no other is", () => {
  const texts = readSources().filter((source) => source.path !== "packages/core/src/errors.ts").map((source) => source.text).join("\n");
  expect(ERROR_CODES.filter((code) => !texts.includes(`"${code}"`))).toEqual([]);
});

test("links between pages lead somewhere", () => {
  const pages = [join(ROOT, "README.md"), ...listFiles(join(ROOT, "docs"), (name) => name.endsWith(".md"))];
  const broken = pages.flatMap((page) =>
    [...readFileSync(page, "utf8").matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
      .map((match) => join(page, "..", match[1]!))
      .filter((target) => !existsSync(target))
      .map((target) => `${page} → ${target}`));
  expect(broken).toEqual([]);
});
