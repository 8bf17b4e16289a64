/** The tour is a check, and so it has a case that it rejects. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { processStartTime, systemClock } from "@skep/runtime";
import { eventually, requireBuilt, startProgram } from "@skep/testkit";
import { beforeAll, expect, test } from "vitest";
import { awaitSight, DemoFailure, expectThat } from "../src/demo/check.ts";
import type { UpFacts } from "../src/facts.ts";
import { layoutOf } from "../src/layout.ts";
import { findProcessesIn } from "../src/leftovers.ts";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const STEPS = ["start", "enrol", "deploy", "health", "mutate", "dry-run", "kill -9 agent", "kill -9 master", "recovery", "teardown", "stop"];

beforeAll(() => requireBuilt(PACKAGE));

const stateDirOf = (stdout: string): string => /state in (.+)\n/.exec(stdout)![1]!;

test("ends by itself with 0, every step proved in its order, and takes its state along", { timeout: 240_000 }, async () => {
  const demo = startProgram([join(PACKAGE, "bin/skep-demo.js")]);
  expect(await demo.exited, demo.stderr()).toEqual({ code: 0, signal: null });
  expect([...demo.stdout().matchAll(/^✓ (.+?) {2,}/gm)].map((match) => match[1])).toEqual(STEPS);
  expect(demo.stdout()).toContain("Heartbeat interval 1000 ms");
  expect(existsSync(stateDirOf(demo.stdout()))).toBe(false);
});

test("fails clearly when its fleet does: the step, what was expected, what was seen, the logs; nothing runs on", { timeout: 240_000 }, async () => {
  const demo = startProgram([join(PACKAGE, "bin/skep-demo.js")]);
  await demo.output(/✓ deploy/, 120_000);
  const stateDir = stateDirOf(demo.stdout());
  const facts = JSON.parse(readFileSync(layoutOf(stateDir).facts, "utf8")) as UpFacts;
  process.kill(facts.up_pid, "SIGKILL");
  expect((await demo.exited).code).toBe(1);
  // At once, and not when the step's own patience is over.
  expect(demo.stderr()).toMatch(/✗ .+ failed\n {2}expected {2}skep up to run on\n {2}saw {7}it was killed by SIGKILL\n/);
  expect(demo.stderr()).toContain(`--- the end of ${layoutOf(stateDir).log("master")}`);
  expect(demo.stdout()).not.toContain("Every claim was proved");
  await eventually(() => facts.hosts.every((host) => processStartTime(host.pid!) === null) && findProcessesIn(layoutOf(stateDir)).length === 0, { what: "nothing to be left", timeoutMs: 60_000 });
  rmSync(stateDir, { recursive: true, force: true });
});

test("a sight that does not come says what was seen instead; a doubt is not waited for", async () => {
  const clock = systemClock();
  await expect(awaitSight(clock, { expected: "a swallow", timeoutMs: 1, look: (saw) => saw("a sparrow") })).rejects.toThrow("expected a swallow within 0.001 s; saw a sparrow");
  let looks = 0;
  const look = (): undefined => {
    expectThat(++looks > 1, "two", looks);
  };
  await expect(awaitSight(clock, { expected: "anything", timeoutMs: 60_000, look })).rejects.toBeInstanceOf(DemoFailure);
  expect(looks).toBe(1);
});
