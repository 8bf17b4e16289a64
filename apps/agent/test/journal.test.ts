import { execFileSync } from "node:child_process";
import { appendFileSync, copyFileSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRng, below } from "@skep/core";
import { createLogger } from "@skep/runtime";
import { seedFromEnv, tempDir } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { JournalCorruptError, createFileJournal, parseJournal, type FileJournal } from "../src/journal/file-journal.ts";
import type { JournalRecord } from "../src/journal/records.ts";
import { deploy, specOf, target } from "./kit/executor-kit.ts";

const logger = createLogger({ level: "silent", name: "test" });
const open = (path: string): FileJournal => createFileJournal({ path, logger });
const record = (opSeq: number): JournalRecord => ({ kind: "accepted", opSeq, bootId: "boot", at: "2026-01-01T00:00:00.000Z", command: deploy(target(), opSeq, specOf("web")) });

async function filled(count: number, path = join(tempDir("journal"), "journal")): Promise<string> {
  const journal = open(path);
  await journal.load();
  for (let seq = 1; seq <= count; seq++) await journal.append([record(seq)], { sync: true });
  await journal.close();
  return path;
}

describe("the journal file", () => {
  test("gives back what was appended, in order, and concurrent appends lose nothing", async () => {
    const path = join(tempDir("with space ü"), "deep", "journal");
    const journal = open(path);
    expect(await journal.load()).toEqual([]);
    await Promise.all(Array.from({ length: 50 }, (_, index) => journal.append([record(index + 1)], { sync: index % 2 === 0 })));
    await journal.close();
    const again = open(path);
    expect((await again.load()).map((one) => (one as { opSeq: number }).opSeq)).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
    await again.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("a torn tail is cut off at any byte, and the journal goes on behind what is left", async () => {
    const seed = seedFromEnv();
    const rng = seededRng(seed);
    const path = await filled(3);
    const whole = readFileSync(path);
    const lastStart = whole.lastIndexOf("\n", whole.length - 2) + 1;
    for (let round = 0; round < 20; round++) {
      const torn = `${path}.${round}`;
      copyFileSync(path, torn);
      truncateSync(torn, lastStart + below(rng, whole.length - lastStart));
      const journal = open(torn);
      expect(await journal.load()).toHaveLength(2);
      await journal.append([record(9)], { sync: true });
      await journal.close();
      const again = open(torn);
      expect(await again.load()).toHaveLength(3);
      await again.close();
    }
  });

  test("damage in the middle is refused with a copy kept aside; nothing is cut", async () => {
    const seed = seedFromEnv();
    const rng = seededRng(seed);
    const path = await filled(3);
    const whole = readFileSync(path);
    const firstLine = whole.indexOf("\n");
    for (let round = 0; round < 20; round++) {
      const damaged = Buffer.from(whole);
      const at = below(rng, firstLine);
      damaged[at] = damaged[at]! ^ 1;
      writeFileSync(path, damaged);
      await expect(open(path).load()).rejects.toBeInstanceOf(JournalCorruptError);
      expect(readFileSync(path)).toEqual(damaged);
      expect(readFileSync(`${path}.corrupt`)).toEqual(damaged);
    }
    // Control: undamaged, the same bytes are read.
    expect(parseJournal(whole).records).toHaveLength(3);
  });

  test("compaction replaces the file whole, and a crash in the middle of it leaves the old one", async () => {
    const path = await filled(5);
    writeFileSync(`${path}.tmp`, "half a compac");
    const journal = open(path);
    expect(await journal.load()).toHaveLength(5);
    expect(existsSync(`${path}.tmp`)).toBe(false);
    await journal.replace([record(77)]);
    await journal.append([record(78)], { sync: true });
    await journal.close();
    const again = open(path);
    expect((await again.load()).map((one) => (one as { opSeq: number }).opSeq)).toEqual([77, 78]);
    await again.close();
  });

  test("garbage after the end is a torn tail too", async () => {
    const path = await filled(2);
    appendFileSync(path, Buffer.alloc(4096));
    const journal = open(path);
    expect(await journal.load()).toHaveLength(2);
    await journal.close();
  });
});

const canMount = ((): boolean => {
  try {
    const dir = tempDir("probe");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", dir], { stdio: "ignore" });
    execFileSync("umount", [dir]);
    return true;
  } catch {
    return false;
  }
})();
if (!canMount) console.warn("SKIPPED: the full-disk test needs root and tmpfs");

describe.skipIf(!canMount)("a full disk", () => {
  test("a write that does not fit is refused and leaves no half record; with room it goes on", async () => {
    const dir = tempDir("full");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", dir]);
    try {
      const path = join(dir, "journal");
      const journal = open(path);
      await journal.load();
      await journal.append([record(1)], { sync: true });
      writeFileSync(join(dir, "ballast"), Buffer.alloc(200_000));
      let accepted = 1;
      let failure: unknown;
      for (let seq = 2; seq < 2_000 && failure === undefined; seq++) {
        await journal.append([record(seq)], { sync: true }).then(() => (accepted = seq), (error: unknown) => (failure = error));
      }
      expect(failure).toMatchObject({ code: "ENOSPC" });
      writeFileSync(join(dir, "ballast"), "");
      await journal.append([record(9_999)], { sync: true });
      await journal.close();
      const again = open(path);
      const seqs = (await again.load()).map((one) => (one as { opSeq: number }).opSeq);
      expect(seqs).toEqual([...Array.from({ length: accepted }, (_, index) => index + 1), 9_999]);
      await again.close();
    } finally {
      execFileSync("umount", ["-l", dir]);
    }
  });
});
