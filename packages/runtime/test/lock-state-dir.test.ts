import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hostBootId, LOCK_FILE, lockStateDir, processStartTime, sha256Hex } from "@skep/runtime";
import { tempDir } from "@skep/testkit";
import { expect, test } from "vitest";

const holder = (pid: number, startTime: string, boot = hostBootId()): string => JSON.stringify({ pid, startTime, hostBootId: boot, nonce: "x" });

test("a concurrent start is refused with the pid, and free again after release", () => {
  const dir = join(tempDir("state dir"), "new");
  const lock = lockStateDir(dir);
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  expect(() => lockStateDir(dir)).toThrow(expect.objectContaining({ code: "already_running", detail: expect.stringContaining(`process ${process.pid} `) as string }));
  lock.release();
  lock.release();
  lockStateDir(dir).release();
  expect(readdirSync(dir)).toEqual([]);
});

test("a living process of another name is respected", async () => {
  const dir = tempDir();
  const child = spawn("sleep", ["60"]);
  writeFileSync(join(dir, LOCK_FILE), holder(child.pid!, processStartTime(child.pid!)!));
  expect(() => lockStateDir(dir)).toThrow(`process ${child.pid} `);
  child.kill("SIGKILL");
  await once(child, "exit");
  lockStateDir(dir).release();
});

test.each([
  ["a reused pid", holder(process.pid, "1")],
  ["an earlier boot", holder(process.pid, processStartTime(process.pid)!, "another-boot")],
  ["a file cut short", '{"pid": 12'],
  ["an empty file", ""],
  ["another program's file", `${process.pid}\n`],
])("a stale lock is taken over: %s", (_, content) => {
  const dir = tempDir();
  writeFileSync(join(dir, LOCK_FILE), content);
  const lock = lockStateDir(dir);
  expect(JSON.parse(readFileSync(join(dir, LOCK_FILE), "utf8"))).toMatchObject({ pid: process.pid });
  expect(() => lockStateDir(dir)).toThrow("already runs");
  lock.release();
  expect(readdirSync(dir)).toEqual([]);
});

test("a taker that died half-way does not block the next", () => {
  const dir = tempDir();
  const stale = holder(process.pid, "1");
  writeFileSync(join(dir, LOCK_FILE), stale);
  writeFileSync(join(dir, `${LOCK_FILE}.claim-${sha256Hex(stale).slice(0, 16)}`), holder(process.pid, "2"));
  lockStateDir(dir).release();
  expect(readdirSync(dir)).toEqual([]);
});

test("release leaves a lock that is no longer ours alone", () => {
  const dir = tempDir();
  const lock = lockStateDir(dir);
  writeFileSync(join(dir, LOCK_FILE), "somebody else");
  lock.release();
  expect(readFileSync(join(dir, LOCK_FILE), "utf8")).toBe("somebody else");
});
