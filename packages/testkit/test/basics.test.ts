import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually, requireBuilt, seedFromEnv, startProgram, sweepTempDirs, tempDir } from "@skep/testkit";
import { afterEach, describe, expect, test } from "vitest";

describe("eventually", () => {
  test("returns what was seen, zero and empty text included", async () => {
    let looks = 0;
    expect(await eventually(() => (++looks < 3 ? undefined : { looks }), { what: "three looks" })).toEqual({ looks: 3 });
    expect(await eventually(async () => 0, { what: "a number" })).toBe(0);
    expect(await eventually(() => "", { what: "a text" })).toBe("");
  });

  test("a timeout names what was awaited, what was seen and what was thrown", async () => {
    const look = (status: (text: string) => void): boolean => {
      status("row is pending");
      throw new Error("no such row");
    };
    const failure = eventually(look, { what: "the row ends", timeoutMs: 20 });
    await expect(failure).rejects.toThrow("not within 20 ms: the row ends (last seen: row is pending; it threw: no such row)");
  });
});

describe("seedFromEnv", () => {
  afterEach(() => void delete process.env["SKEP_SEED"]);
  test("replays the given seed, refuses a mistyped one, and makes a fresh one otherwise", () => {
    process.env["SKEP_SEED"] = "42";
    expect(seedFromEnv()).toBe(42);
    for (const text of ["4x2", "-1", "1.5", "4294967296"]) {
      process.env["SKEP_SEED"] = text;
      expect(() => seedFromEnv()).toThrow("SKEP_SEED");
    }
    delete process.env["SKEP_SEED"];
    expect(new Set([seedFromEnv(), seedFromEnv(), seedFromEnv()]).size).toBeGreaterThan(1);
  });
});

test("scratch directories are separate, and a dead process's are swept while a living one's stay", () => {
  const [a, b] = [tempDir(), tempDir("with space")];
  expect(a).not.toBe(b);
  const dead = join(tmpdir(), "skep-test-999999999");
  mkdirSync(join(dead, "x"), { recursive: true });
  sweepTempDirs();
  expect([existsSync(dead), existsSync(a), existsSync(dirname(b))]).toEqual([false, true, true]);
});

describe("programs", () => {
  const program = fileURLToPath(new URL("programs/echo.js", import.meta.url));

  test("their output is awaited, their end is known", async () => {
    const echo = startProgram([program]);
    echo.child.stdin.end("hello 17\n");
    expect((await echo.output(/hello (\d+)/))[1]).toBe("17");
    expect(await echo.exited).toEqual({ code: 3, signal: null });
    await expect(echo.output(/never/)).rejects.toThrow("without printing /never/");
  });

  test("one that is older than its source is refused", () => {
    const dir = tempDir("package");
    mkdirSync(join(dir, "src"));
    mkdirSync(join(dir, "dist"));
    writeFileSync(join(dir, "src/a.ts"), "");
    expect(() => requireBuilt(dir)).toThrow("newer than its build");
    writeFileSync(join(dir, "dist/a.js"), "");
    writeFileSync(join(dir, "dist/.tsbuildinfo"), "");
    requireBuilt(dir);
  });
});
