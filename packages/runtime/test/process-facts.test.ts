import { spawn } from "node:child_process";
import { once } from "node:events";
import { hostBootId, isSameProcess, parseStat, processStartTime } from "@skep/runtime";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";

test("a process has one start time for life, and none afterwards", async () => {
  const child = spawn("sleep", ["60"]);
  const startTime = processStartTime(child.pid!);
  expect(startTime).toMatch(/./);
  expect(processStartTime(child.pid!)).toBe(startTime);
  expect(isSameProcess(child.pid!, startTime!)).toBe(true);
  expect(isSameProcess(child.pid!, `${startTime}1`)).toBe(false);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(processStartTime(child.pid!)).toBeNull();
});

test.skipIf(process.platform !== "linux")("a dead process that was not collected is dead", async () => {
  // A parent that never waits: its child becomes a zombie.
  const parent = spawn("perl", ["-e", '$p = fork; exit 0 unless $p; $| = 1; print "$p\\n"; sleep 60'], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  await eventually(() => processStartTime(Number(line.toString())) === null, { what: "the zombie counts as dead" });
  parent.kill("SIGKILL");
});

test("names with brackets and spaces do not shift the fields", () => {
  const after = Array.from({ length: 49 }, (_, i) => String(i + 4));
  expect(parseStat(`12 (a) b (c)) S ${after.join(" ")}`)).toBe("22");
  expect(parseStat(`12 (x) Z ${after.join(" ")}`)).toBeNull();
});

test.each([0, -1, 1.5, Number.NaN, 2 ** 31])("%d is no process", (pid) => expect(processStartTime(pid)).toBeNull());

test("the boot has a name that does not change", () => {
  expect(hostBootId()).toMatch(/./);
  expect(hostBootId()).toBe(hostBootId());
});
