import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually, tempDir } from "@skep/testkit";
import { createLogger, processStartTime, systemClock } from "@skep/runtime";
import { afterEach, expect, test } from "vitest";
import { createChild } from "../src/child.ts";
import type { Child } from "../src/child.ts";

const PROGRAM = fileURLToPath(new URL("programs/child.js", import.meta.url));
const made: Child<{ pid: number }>[] = [];
afterEach(() => {
  for (const child of made.splice(0)) child.killNow();
});

function child(mode: string, over: { restart?: boolean; readyTimeoutMs?: number; stopTimeoutMs?: number; changes?: () => void } = {}): Child<{ pid: number }> {
  const one = createChild<{ pid: number }>({
    name: "it", program: PROGRAM, args: () => [mode], env: () => ({}), logPath: join(tempDir("child"), "it.log"),
    parseReady: (line) => line as { pid: number }, readyTimeoutMs: over.readyTimeoutMs ?? 20_000, stopTimeoutMs: over.stopTimeoutMs ?? 20_000,
    restart: over.restart ?? true, clock: systemClock(), logger: createLogger({ name: "test", level: "silent" }), onChange: over.changes ?? (() => undefined),
  });
  made.push(one);
  return one;
}

test("a child that dies is started again, and is known by its new pid", async () => {
  const one = child("good");
  const first = await one.start();
  expect(one.pid()).toBe(first.pid);
  process.kill(first.pid, "SIGKILL");
  const second = await eventually(() => (one.ready()!.pid === first.pid ? undefined : one.ready()!.pid), { what: "another ready line" });
  expect(one.pid()).toBe(second);
  expect(await one.stop("pipe")).toBe(true);
  expect(processStartTime(second)).toBeNull();
  expect(one.pid()).toBeUndefined();
});

test("control: without restart it stays dead, and nobody claims a pid for it", async () => {
  const one = child("good", { restart: false });
  const { pid } = await one.start();
  process.kill(pid, "SIGKILL");
  await eventually(() => one.pid() === undefined, { what: "the end to be noticed" });
  expect(one.ready()!.pid).toBe(pid);
});

test.each([
  ["dies", /it exited with code 3 before it was ready\nthe disk is on fire/],
  ["babbles", /it announced itself with "hello"/],
])("a child that %s fails the start with what it said", async (mode, message) => {
  await expect(child(mode).start()).rejects.toThrow(message);
});

test("a child that says nothing fails the start, and is still stopped", async () => {
  const one = child("silent", { readyTimeoutMs: 200 });
  await expect(one.start()).rejects.toThrow("did not become ready within 0.2 s");
  const pid = one.pid()!;
  await one.stop("term");
  expect(processStartTime(pid)).toBeNull();
});

test("one that ignores SIGTERM is killed", async () => {
  const one = child("stubborn", { stopTimeoutMs: 100 });
  const { pid } = await one.start();
  expect(await one.stop("term")).toBe(false);
  expect(processStartTime(pid)).toBeNull();
});

test("a child writes its log without us: the file is its own", async () => {
  const dir = tempDir("child-log");
  const one = createChild<{ pid: number }>({
    name: "it", program: PROGRAM, args: () => ["dies"], env: () => ({}), logPath: join(dir, "it.log"), parseReady: (line) => line as { pid: number },
    readyTimeoutMs: 20_000, stopTimeoutMs: 1_000, restart: false, clock: systemClock(), logger: createLogger({ name: "test", level: "silent" }), onChange: () => undefined,
  });
  await expect(one.start()).rejects.toThrow();
  expect(readFileSync(join(dir, "it.log"), "utf8")).toBe("the disk is on fire\n");
});
