/** Commands over the agent's own listener: who may, how many, how long, how much, and what happens when nobody listens. */
import { NO_ALLOWANCES, type ExecOutput } from "@skep/core";
import { EXEC_CONTENT_TYPE, MAX_OUTPUT_BYTES, execFrame, isOutput, type ExecEndFrame, type ExecFrame } from "@skep/protocol";
import { eventually } from "@skep/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Agent as HttpAgent } from "undici";
import { cleanup, masterClient, startAgent, startMaster } from "./kit/agent-kit.ts";
import { deploy, newId, specOf, target } from "./kit/executor-kit.ts";
import { masterLeaf } from "./kit/fake-master.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

type Script = (output: (chunk: ExecOutput) => Promise<void>, signal: AbortSignal, stdin: Uint8Array | undefined) => Promise<number>;

/** A driver whose commands are the test's. */
class CommandDriver extends ScriptedDriver {
  script: Script = async () => 0;
  aborted = 0;
  exec = async (request: { stdin?: Uint8Array | undefined }, output: (chunk: ExecOutput) => Promise<void>, signal: AbortSignal) => {
    signal.addEventListener("abort", () => (this.aborted += 1), { once: true });
    const exitCode = await this.script(output, signal, request.stdin);
    return signal.aborted ? { exitCode: undefined, signal: "SIGKILL" } : { exitCode };
  };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);
const untilAborted = (signal: AbortSignal): Promise<number> => new Promise((resolve) => signal.addEventListener("abort", () => resolve(0), { once: true }));

let driver: CommandDriver;
let allows: boolean;
let url: string;
let client: HttpAgent;
let placementId: string;

beforeEach(async () => {
  allows = true;
  driver = new CommandDriver();
  const master = await startMaster();
  const rig = await startAgent(master, { driver, allowed: () => ({ ...NO_ALLOWANCES, exec: allows }) });
  url = (await rig.agent.whenReady).agent_url;
  client = masterClient(masterLeaf(master.authority));
  const command = deploy(target(), 1, specOf("web", "db"));
  placementId = command.placement_id;
  await rig.agent.executor.admit(command);
  await eventually(() => driver.running().length === 2, { what: "it runs" });
});
afterEach(cleanup);

const send = (body: object, options: { component?: string; placement?: string; signal?: AbortSignal } = {}) =>
  client.request({ origin: url, path: `/exec/${options.placement ?? placementId}/${options.component ?? "web"}`, method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), ...(options.signal === undefined ? {} : { signal: options.signal }) });

async function refused(body: object, options: Parameters<typeof send>[1] = {}): Promise<unknown> {
  const reply = await send(body, options);
  return [reply.statusCode, ((await reply.body.json()) as { code: string }).code];
}
async function run(body: object): Promise<{ frames: ExecFrame[]; stdout: string; end: ExecEndFrame }> {
  const reply = await send(body);
  expect([reply.statusCode, reply.headers["content-type"]]).toEqual([200, EXEC_CONTENT_TYPE]);
  const frames = (await reply.body.text()).split("\n").filter((line) => line !== "").map((line) => execFrame.parse(JSON.parse(line)));
  const stdout = Buffer.concat(frames.filter(isOutput).filter((frame) => frame.stream === "stdout").map((frame) => Buffer.from(frame.data, "base64"))).toString("utf8");
  return { frames, stdout, end: frames.at(-1) as ExecEndFrame };
}

test("frames in order, and the end as the last", async () => {
  driver.script = async (output, _signal, stdin) => {
    await output({ stream: "stdout", data: bytes("got ") });
    await output({ stream: "stderr", data: bytes("hm") });
    await output({ stream: "stdout", data: stdin ?? bytes("nothing") });
    return 42;
  };
  const { frames, stdout, end } = await run({ command: ["x"], stdin_base64: Buffer.from("ünï").toString("base64") });
  expect(frames.filter(isOutput).map((frame) => frame.stream)).toEqual(["stdout", "stderr", "stdout"]);
  expect([stdout, end]).toEqual(["got ünï", { exit_code: 42, truncated_bytes: 0 }]);
});

test("the host's own setting decides, at that moment; the master's wish is not enough", async () => {
  allows = false;
  expect(await refused({ command: ["x"] })).toEqual([403, "exec_not_allowed"]);
  allows = true;
  expect((await run({ command: ["x"] })).end.exit_code).toBe(0);
});

test("what does not run, is not there, or is not right is refused with its own code", async () => {
  expect(await refused({ command: ["x"] }, { component: "cache" })).toEqual([422, "unknown_component"]);
  expect(await refused({ command: ["x"] }, { component: "..%2f.." })).toEqual([422, "unknown_component"]);
  expect(await refused({ command: ["x"] }, { placement: newId() })).toEqual([409, "component_not_running"]);
  driver.components.get(`${placementId}/web`)!.state = "backoff";
  expect(await refused({ command: ["x"] })).toEqual([409, "component_not_running"]);
  for (const body of [{}, { command: [] }, { command: [""] }, { command: ["a\u0000b"] }, { command: ["x"], timeout_s: 0 }, { command: ["x"], stdin_base64: "?" }, { command: ["x".repeat(140_000)] }]) {
    expect(await refused(body, { component: "db" })).toEqual([422, "invalid_request"]);
  }
  Object.defineProperty(driver, "exec", { value: undefined });
  expect(await refused({ command: ["x"] }, { component: "db" })).toEqual([422, "exec_unsupported"]);
});

test("a mebibyte of stdin fits, more does not", async () => {
  let got = 0;
  driver.script = async (_output, _signal, stdin) => {
    got = stdin?.length ?? 0;
    return 0;
  };
  await run({ command: ["x"], stdin_base64: Buffer.alloc(1_048_576).toString("base64") });
  expect(got).toBe(1_048_576);
  expect(await refused({ command: ["x"], stdin_base64: Buffer.alloc(1_048_577 + 3).toString("base64") })).toEqual([422, "invalid_request"]);
});

test("time up: killed, and said so", async () => {
  driver.script = (_output, signal) => untilAborted(signal);
  const { end } = await run({ command: ["x"], timeout_s: 1 });
  expect(end.error?.code).toBe("exec_timeout");
  expect(driver.aborted).toBe(1);
});

test("when nobody listens any more it is killed, and its place is free again", async () => {
  driver.script = async (output, signal) => {
    await output({ stream: "stdout", data: bytes("on") });
    return untilAborted(signal);
  };
  const hang = new AbortController();
  const reply = await send({ command: ["x"] }, { signal: hang.signal });
  reply.body.on("error", () => undefined);
  await eventually(() => reply.body.readableLength > 0, { what: "it runs" });
  hang.abort();
  await eventually(() => driver.aborted === 1, { what: "it is killed" });
});

test("eight at once, the ninth is told to wait, and jobs go on beside them", async () => {
  const hang = new AbortController();
  driver.script = (_output, signal) => untilAborted(signal);
  const replies = await Promise.all(Array.from({ length: 8 }, () => send({ command: ["x"] }, { signal: hang.signal })));
  for (const reply of replies) reply.body.on("error", () => undefined);
  expect(await refused({ command: ["x"] })).toEqual([429, "too_many_execs"]);
  const health = await client.request({ origin: url, path: "/health", method: "GET" });
  expect(health.statusCode).toBe(200);
  await health.body.dump();
  hang.abort();
  await eventually(() => driver.aborted === 8, { what: "all are killed" });
  driver.script = async () => 0;
  expect((await run({ command: ["x"] })).end.exit_code).toBe(0);
});

test("more output than is passed on is counted, and the command goes on to its end", async () => {
  const chunk = Buffer.alloc(1_048_576, "x");
  driver.script = async (output) => {
    for (let at = 0; at < MAX_OUTPUT_BYTES + 3 * chunk.length; at += chunk.length) await output({ stream: "stdout", data: chunk });
    return 5;
  };
  const { stdout, end } = await run({ command: ["x"] });
  expect([stdout.length, end]).toEqual([MAX_OUTPUT_BYTES, { exit_code: 5, truncated_bytes: 3 * chunk.length }]);
});

test("a reader that does not read holds the command up instead of filling the memory", async () => {
  let handed = 0;
  driver.script = async (output, signal) => {
    while (!signal.aborted && handed < MAX_OUTPUT_BYTES) {
      await output({ stream: "stdout", data: Buffer.alloc(65_536, "x") });
      handed += 65_536;
    }
    return 0;
  };
  const reply = await send({ command: ["x"] });
  let before = -1;
  await eventually(() => {
    const still = handed > 0 && handed === before;
    before = handed;
    return still;
  }, { what: "the command is held up" });
  expect(handed).toBeLessThan(MAX_OUTPUT_BYTES);
  await reply.body.dump({ limit: 64 * 1_048_576 });
  await eventually(() => handed === MAX_OUTPUT_BYTES, { what: "it goes on when it is read" });
});
