/** The migrations as files: what can be checked without a server. The rest is packages/store/test/migrations.test.ts. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MIGRATIONS_DIR, readJournal } from "@skep/store";
import { afterAll, expect, test } from "vitest";

const scratch = mkdtempSync(join(tmpdir(), "skep-migrations-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const filesOf = (dir: string): string[] => readdirSync(dir).filter((name) => /^\d+.*\.sql$/.test(name)).sort();

test("the journal names every file, in order, unchanged", () => {
  expect(readJournal().map((entry) => `${entry.tag}.sql`)).toEqual(filesOf(MIGRATIONS_DIR));
});

test.each([
  ["an edited file", (dir: string) => writeFileSync(join(dir, filesOf(dir)[0]!), "-- edited"), "never edited"],
  ["a gap", (dir: string) => changeJournal(dir, (entries) => entries.slice(1)), "count up"],
  ["an order that is not increasing", (dir: string) => changeJournal(dir, (entries) => entries.toReversed()), "count up"],
  ["a file that is gone", (dir: string) => rmSync(join(dir, filesOf(dir).at(-1)!)), "ENOENT"],
] as const)("%s is refused", (name, spoil, words) => {
  const dir = join(scratch, name.replaceAll(" ", "-"));
  cpSync(MIGRATIONS_DIR, dir, { recursive: true });
  expect(() => readJournal(dir)).not.toThrow();
  spoil(dir);
  expect(() => readJournal(dir)).toThrow(words);
});

test("the expected whole is committed and names every table of the migrations", () => {
  const made = filesOf(MIGRATIONS_DIR).flatMap((name) => [...readFileSync(join(MIGRATIONS_DIR, name), "utf8").matchAll(/^CREATE TABLE (\w+)/gm)].map((match) => match[1]!));
  const expected = [...readFileSync(join(MIGRATIONS_DIR, "schema.sql"), "utf8").matchAll(/^TABLE (\w+)/gm)].map((match) => match[1]!);
  expect(expected).toEqual(made.sort());
});

function changeJournal(dir: string, change: (entries: readonly object[]) => readonly object[]): void {
  const path = join(dir, "meta", "_journal.json");
  const { entries } = JSON.parse(readFileSync(path, "utf8")) as { entries: object[] };
  writeFileSync(path, JSON.stringify({ entries: change(entries) }));
}
