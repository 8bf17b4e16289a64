import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LOCK_FILE, processStartTime } from "@skep/runtime";
import { eventually, requireBuilt, startProgram, tempDir } from "@skep/testkit";
import { beforeAll, expect, test } from "vitest";

const program = (name: string): string => fileURLToPath(new URL(`programs/${name}.js`, import.meta.url));
beforeAll(() => requireBuilt(fileURLToPath(new URL("..", import.meta.url))));

test("of many takers of one stale lock exactly one wins, and a killed holder's lock is free", async () => {
  const dir = tempDir();
  writeFileSync(join(dir, LOCK_FILE), JSON.stringify({ pid: process.pid, startTime: "1", hostBootId: "x", nonce: "y" }));
  const takers = Array.from({ length: 8 }, () => startProgram([program("lock"), dir]));
  const words = await Promise.all(takers.map(async (taker) => (await taker.output(/locked|refused \w+/))[0]));
  expect(words.filter((word) => word === "locked")).toHaveLength(1);
  expect(words.filter((word) => word === "refused already_running")).toHaveLength(7);

  const holder = takers[words.indexOf("locked")]!;
  holder.kill("SIGKILL");
  await holder.exited;
  const next = startProgram([program("lock"), dir]);
  await next.output(/locked/);
  next.child.stdin.end();
  expect(await next.exited).toEqual({ code: 0, signal: null });
});

test("a supervised child ends when its supervisor is killed with -9", async () => {
  const supervisor = startProgram([program("supervised")]);
  const childPid = Number((await supervisor.output(/child (\d+)/))[1]);
  expect(processStartTime(childPid)).not.toBeNull();
  supervisor.kill("SIGKILL");
  await eventually(() => processStartTime(childPid) === null, { what: "the child is gone" });
});

test("listening for the parent's end does not keep a process alive that has nothing else to do", async () => {
  const idle = startProgram([program("signals"), "idle"]);
  expect(await idle.exited).toEqual({ code: 0, signal: null });
});

test.each(["SIGINT", "SIGTERM"] as const)("%s calls the handler once; a repeated SIGTERM does not end it, a second SIGINT does", async (signal) => {
  const running = startProgram([program("signals")]);
  await running.output(/ready/);
  running.kill(signal);
  await running.output(new RegExp(`stopping ${signal}`));
  running.kill("SIGTERM");
  running.kill("SIGINT");
  expect(await running.exited).toEqual({ code: 130, signal: null });
  expect(running.stdout().match(/stopping/g)).toHaveLength(1);
});
