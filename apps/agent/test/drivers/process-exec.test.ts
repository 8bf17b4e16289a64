/** Commands beside a component: how they end, what they say, and that nothing of them outlives its end. */
import type { ExecEnd, ExecOutput, WorkloadLabels } from "@skep/core";
import { sha256Hex } from "@skep/runtime";
import { eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import { scanExecs } from "../../src/runner/proc.ts";
import type { ProcessId } from "../../src/runner/run-state.ts";
import { FOREVER, createWorld, labelsFor, living, never, node, observed, readRun, specFor, startAndWait, type World } from "./world.ts";

/** The commands of this agent's that live: other tests run on this machine. */
const execsOf = ({ stateDir }: World): ProcessId[] => scanExecs(sha256Hex(stateDir).slice(0, 16));

interface Ran {
  readonly end: ExecEnd;
  readonly stdout: string;
  readonly stderr: string;
}

async function exec(world: World, labels: WorkloadLabels, command: readonly string[], options: { stdin?: string; signal?: AbortSignal; onOutput?: (text: string) => void } = {}): Promise<Ran> {
  const said = { stdout: "", stderr: "" };
  const output = async ({ stream, data }: ExecOutput): Promise<void> => {
    said[stream] += Buffer.from(data).toString("utf8");
    options.onOutput?.(said.stdout);
  };
  const request = { placementId: labels.placementId, component: labels.component, command, ...(options.stdin === undefined ? {} : { stdin: Buffer.from(options.stdin) }) };
  const end = await world.driver.exec!(request, output, options.signal ?? never);
  return { end, ...said };
}

async function running(patch: Parameters<typeof specFor>[1] = {}): Promise<{ world: World; labels: WorkloadLabels }> {
  const world = createWorld();
  const labels = labelsFor();
  await startAndWait(world.driver, labels, specFor(FOREVER, patch));
  return { world, labels };
}

test("exit codes, signals, and stdout and stderr apart", async () => {
  const { world, labels } = await running();
  expect(await exec(world, labels, node("process.stdout.write('out'); process.stderr.write('err'); process.exitCode = 7;"))).toEqual({ end: { exitCode: 7 }, stdout: "out", stderr: "err" });
  expect((await exec(world, labels, ["/bin/true"])).end).toEqual({ exitCode: 0 });
  expect((await exec(world, labels, node("process.kill(process.pid, 'SIGSEGV'); setInterval(() => {}, 1000)"))).end).toEqual({ exitCode: undefined, signal: "SIGSEGV" });
});

test("it has the component's environment, labels and working directory, and reads what it is given", async () => {
  const { world, labels } = await running({ env: { GREETING: "hello", SKEP_EXEC: "not mine" }, ports: [{ name: "http", protocol: "tcp" }] });
  const script = "const e = process.env; console.log(JSON.stringify([e.GREETING, e.SKEP_PLACEMENT, e.PORT, process.cwd()]));";
  const [greeting, placement, port, cwd] = JSON.parse((await exec(world, labels, node(script))).stdout) as string[];
  expect([greeting, placement, Number(port)]).toEqual(["hello", labels.placementId, readRun(world.stateDir, labels).ports["http"]]);
  expect(cwd!.endsWith(`${labels.placementId}/web/work`)).toBe(true);
  expect((await exec(world, labels, ["cat"], { stdin: "ünï\n" })).stdout).toBe("ünï\n");
  // Without stdin there is nothing to read, rather than something to wait for.
  expect((await exec(world, labels, ["cat"])).stdout).toBe("");
  // A component cannot hide from the look by calling itself a command.
  expect(living(labels)).toHaveLength(1);
});

test("no shell sees the argv", async () => {
  const { world, labels } = await running();
  expect((await exec(world, labels, ["echo", "$HOME", "; id", "`id`"])).stdout).toBe("$HOME ; id `id`\n");
});

test("much output arrives whole, and waits for whoever takes it", async () => {
  const { world, labels } = await running();
  let taken = 0;
  let handing = 0;
  let most = 0;
  const end = await world.driver.exec!({ placementId: labels.placementId, component: "web", command: node("for (let i = 0; i < 64; i++) process.stdout.write('x'.repeat(65536))") }, async ({ data }) => {
    handing += 1;
    most = Math.max(most, handing);
    await new Promise<void>((resolve) => setImmediate(resolve));
    taken += data.length;
    handing -= 1;
  }, never);
  expect([end.exitCode, taken, most]).toEqual([0, 64 * 65_536, 1]);
});

test("an abort kills it with its grandchildren, also those that left its group", async () => {
  const { world, labels } = await running();
  const stop = new AbortController();
  const script = `
    const { spawn } = require("node:child_process");
    const forever = ["-e", "setInterval(() => {}, 1000)"];
    const pids = [spawn(process.execPath, forever), spawn(process.execPath, forever, { detached: true, stdio: "inherit" })].map((child) => child.pid);
    console.log(JSON.stringify([process.pid, ...pids]));
    setInterval(() => {}, 1000);`;
  const { end, stdout } = await exec(world, labels, node(script), { signal: stop.signal, onOutput: (text) => text.includes("\n") && stop.abort() });
  expect(end).toEqual({ exitCode: undefined, signal: "SIGKILL" });
  const pids = JSON.parse(stdout) as number[];
  expect(pids).toHaveLength(3);
  expect(execsOf(world)).toEqual([]);
  expect((await observed(world.driver, labels)).state).toBe("running");
});

test("what it leaves in the background ends with it, and does not hold up its end", async () => {
  const { world, labels } = await running();
  const script = `console.log(require("node:child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" }).pid); process.exit(3)`;
  expect((await exec(world, labels, node(script))).end.exitCode).toBe(3);
  expect(execsOf(world)).toEqual([]);
});

test("where it does not run, and what cannot be run, is said and runs nothing", async () => {
  const world = createWorld();
  const labels = labelsFor();
  await expect(exec(world, labels, ["/bin/true"])).rejects.toMatchObject({ code: "component_not_running" });
  await startAndWait(world.driver, labels, specFor(FOREVER));
  await expect(exec(world, labels, ["no-such-program"])).rejects.toMatchObject({ code: "program_not_found" });
  await expect(exec(world, labels, ["/etc/passwd"])).rejects.toMatchObject({ code: "not_executable" });
  await world.driver.stop(labels, 1_000);
  await expect(exec(world, labels, ["/bin/true"])).rejects.toMatchObject({ code: "component_not_running" });
});

test("stopping the component ends its commands", async () => {
  const { world, labels } = await running();
  const ran = exec(world, labels, node("console.log('on'); setInterval(() => {}, 1000)"), { onOutput: () => void world.driver.stop(labels, 1_000) });
  await expect(ran).rejects.toMatchObject({ code: "component_not_running", message: expect.stringContaining("was stopped while the command ran") as string });
});

test("a command is never taken for its component", async () => {
  const { world, labels } = await running({ restart: { policy: "never" } });
  const stop = new AbortController();
  const ran = exec(world, labels, FOREVER, { signal: stop.signal });
  await eventually(() => execsOf(world).length > 0, { what: "the command runs" });
  const run = readRun(world.stateDir, labels);
  process.kill(run.runner.pid, "SIGKILL");
  process.kill(-run.child!.pid, "SIGKILL");
  await eventually(async () => (await observed(world.driver, labels)).state === "failed", { what: "the component is seen to be gone while the command lives" });
  stop.abort();
  await ran;
});

test("the first look of the next agent ends what a killed one's commands left behind; those of another agent stay", async () => {
  const { world, labels } = await running();
  const other = await running();
  const stop = new AbortController();
  const ran = exec(world, labels, FOREVER);
  const theirs = exec(other.world, other.labels, FOREVER, { signal: stop.signal });
  await eventually(() => execsOf(world).length === 1 && execsOf(other.world).length === 1, { what: "both commands run" });
  // The killed agent is the first driver, whose promise the look resolves by ending its process.
  await world.again().observe();
  expect((await ran).end.signal).toBe("SIGKILL");
  expect(execsOf(other.world)).toHaveLength(1);
  stop.abort();
  await theirs;
});

