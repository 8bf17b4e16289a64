/** The process driver's verbs on real processes. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { eventually, tempDir } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { createWorld, componentDir, FOREVER, labelsFor, living, never, node, observed, readRun, specFor, startAndWait, startsOf, textOf } from "./world.ts";

/** A whole line, or not yet. */
const lineOf = (text: string): string | undefined => (text.endsWith("\n") ? text : undefined);

describe("start, observe, stop, remove", () => {
  test("a component runs under its labels until it is stopped, and is forgotten when removed", async () => {
    const { driver, stateDir } = createWorld();
    const labels = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER));
    const seen = await observed(driver, labels);
    expect(seen).toMatchObject({ labels, state: "running", restarts: 0 });
    expect(living(labels).map(({ pid }) => pid)).toEqual([seen.pid]);
    expect(startsOf(stateDir, labels)).toMatchObject([{ job: labels.jobId, count: 1, pid: seen.pid }]);
    await driver.stop(labels, 60_000);
    expect(living(labels)).toEqual([]);
    expect(await observed(driver, labels)).toMatchObject({ state: "stopped", signal: "SIGTERM" });
    await driver.remove(labels);
    expect(await driver.observe()).toEqual([]);
    await driver.stop(labels, 1_000); // nothing there: nothing to do
  });

  test("the same labels start once; others must stop it first; a new start follows a stop", async () => {
    const { driver, stateDir } = createWorld();
    const labels = labelsFor();
    const spec = specFor(FOREVER);
    await Promise.all([driver.start(labels, spec, never), driver.start(labels, spec, never)]);
    await driver.start(labels, spec, never);
    expect(startsOf(stateDir, labels)).toHaveLength(1);
    const next = { ...labels, jobId: labelsFor().jobId, generation: 2 };
    await expect(driver.start(next, spec, never)).rejects.toMatchObject({ code: "already_running" });
    await expect(driver.remove(labels)).rejects.toMatchObject({ code: "already_running" });
    await driver.stop(labels, 5_000);
    await driver.start(next, spec, never);
    expect(startsOf(stateDir, labels).map(({ job }) => job)).toEqual([labels.jobId, next.jobId]);
    expect(living(labels)).toHaveLength(1);
  });
});

test("the environment is the spec's, the ports, the labels and three inherited variables; nothing of the agent's", async () => {
  const { driver } = createWorld({ inheritedEnv: { PATH: process.env["PATH"] ?? "", HOME: "/h", LANG: "C" } });
  const labels = labelsFor();
  const spec = specFor(node("console.log(JSON.stringify(process.env))"), { env: { A: "1", SKEP_JOB: "forged" }, ports: [{ name: "admin-api", protocol: "tcp" }] });
  await startAndWait(driver, labels, spec);
  const text = await eventually(async () => lineOf(await textOf(driver, labels)), { what: "output" });
  const env = JSON.parse(text) as Record<string, string>;
  const { ports } = await observed(driver, labels);
  expect(env).toEqual({
    PATH: process.env["PATH"], HOME: "/h", LANG: "C", A: "1", PORT: String(ports["admin-api"]), PORT_ADMIN_API: String(ports["admin-api"]),
    SKEP_PLACEMENT: labels.placementId, SKEP_DEPLOYMENT: "shop", SKEP_COMPONENT: "web", SKEP_JOB: labels.jobId, SKEP_GENERATION: "1", SKEP_EPOCH: "1",
  });
});

test("a state directory of 200 characters with spaces and unicode works, sockets and all, and is private", async () => {
  const stateDir = join(tempDir("a b"), `ünï cødé 'quoted' ${"x".repeat(200)}`);
  const { driver } = createWorld({ stateDir });
  const labels = labelsFor();
  await startAndWait(driver, labels, specFor(FOREVER));
  expect(await observed(driver, labels)).toMatchObject({ state: "running" });
  const dir = componentDir(stateDir, labels);
  const socket = join(dir, `run-${readRun(stateDir, labels).runId}.sock`);
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  await driver.stop(labels, 5_000);
});

test("shell metacharacters are inert in every string", async () => {
  const { driver, stateDir } = createWorld();
  const evil = "$(touch C);`touch C`|touch C\n&& touch C > C";
  const labels = labelsFor();
  const working = join(stateDir, "work $(touch C)");
  const spec = specFor(node("console.log(JSON.stringify([process.argv.slice(1), process.env.EVIL, process.cwd()]))", evil), { env: { EVIL: evil }, working_dir: working });
  await startAndWait(driver, labels, spec);
  const text = await eventually(async () => lineOf(await textOf(driver, labels)), { what: "output" });
  expect(JSON.parse(text)).toEqual([[evil], evil, working]);
  expect(() => readFileSync(join(working, "C"))).toThrow("ENOENT");
  // Control: the same text does make the file when a shell reads it.
  await startAndWait(driver, labelsFor(), specFor(["/bin/sh", "-c", "touch C"], { working_dir: working }));
  await eventually(() => statSync(join(working, "C"), { throwIfNoEntry: false }), { what: "the shell's file" });
});
