/** The program itself, from the build: signals, pipes, exit codes, and the programs it starts. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, requireBuilt, startProgram, tempDir } from "@skep/testkit";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { decidePassthrough } from "../src/passthrough.ts";
import { startFakeApi, TOKEN, type FakeApi } from "./fake-api.ts";
import { accepted, event, host, list, row, rowList, uuid } from "./samples.ts";

const PACKAGE = join(import.meta.dirname, "..");
const BIN = join(PACKAGE, "bin/skep.js");
const AGENT = join(PACKAGE, "../agent");

let api: FakeApi;
beforeAll(() => requireBuilt(PACKAGE));
beforeEach(async () => {
  api = await startFakeApi();
});
afterEach(() => api.close());

const env = (): Record<string, string> => ({ SKEP_URL: api.url, SKEP_TOKEN: TOKEN, HOME: tempDir("home") });
const start = (...argv: string[]) => startProgram([BIN, ...argv], { env: env() });

test("results on stdout, the exit code is the command's", async () => {
  api.on("listHosts", { body: list(host("web-01")) });
  const ls = start("host", "ls", "--json");
  expect(await ls.exited).toEqual({ code: 0, signal: null });
  expect(JSON.parse(ls.stdout())).toEqual(list(host("web-01")));
  expect(ls.stderr()).toBe("");
  expect(await start("bogus").exited).toEqual({ code: 2, signal: null });
});

test("SIGINT detaches from a wait with 130 and says how to go on; nothing is cancelled", async () => {
  api.on("teardownDeployment", { status: 202, body: accepted(1) });
  api.on("listLifecycle", { body: rowList(row(1, { status: "running", completed_at: null })) });
  const wait = start("teardown", "web");
  await eventually(() => wait.stderr().includes("0/1"), { what: "the wait to be shown" });
  wait.kill("SIGINT");
  expect(await wait.exited).toEqual({ code: 130, signal: null });
  expect(wait.stderr()).toContain(`skep lifecycle ${uuid(1)} --watch`);
  expect(api.seen.map((seen) => seen.id)).not.toContain("cancelLifecycle");
});

test("the second SIGINT ends at once, even a command that waits for an answer", async () => {
  api.on("listHosts", () => new Promise(() => undefined));
  const stuck = start("host", "ls");
  await eventually(() => api.seen.length === 1, { what: "the request" });
  stuck.kill("SIGINT");
  expect(await stuck.exited).toEqual({ code: 130, signal: null });
});

test("a reader that has seen enough ends a stream, quietly", async () => {
  api.on("listEvents", (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    // Without an end: a finite stream may be all in the pipe before its reader is gone, and then nothing notices.
    let n = 0;
    const more = (): void => {
      while (!response.destroyed) {
        n += 1;
        if (!response.write(`id: a.${n}.${n}\nevent: x\ndata: ${JSON.stringify(event(n, { cursor: `a.${n}.${n}` }))}\n\n`)) return void response.once("drain", more);
      }
    };
    more();
    return "hold";
  });
  const follow = start("events", "-f", "--since-cursor", "a.0.0");
  await follow.output(/event 1\n/);
  follow.child.stdout.destroy();
  expect(await follow.exited).toEqual({ code: 0, signal: null });
  expect(follow.stderr()).toBe("");
});

test("a long answer into a slow pipe is written to its end", () => {
  const many = list(...Array.from({ length: 4_000 }, (_, i) => host(`web-${i}`)));
  api.on("listHosts", { body: many });
  const ls = start("host", "ls", "--json");
  return ls.exited.then(() => expect(JSON.parse(ls.stdout())).toEqual(many));
});

test("up, master and agent are programs of their own; everything else is ours", () => {
  expect(decidePassthrough(["up", "--json", "--agents", "3"])).toMatchObject({ args: ["--json", "--agents", "3"], serves: true, program: expect.stringMatching(/up\/bin\/skep-up\.js$/) as string });
  expect(decidePassthrough(["agent", "run", "--json"])).toMatchObject({ args: ["--json"], serves: true });
  expect(decidePassthrough(["agent"])).toMatchObject({ args: [], serves: true });
  expect(decidePassthrough(["agent", "enrol", "-"])).toMatchObject({ args: ["enrol", "-"], serves: false });
  expect(decidePassthrough(["master", "--help"])).toMatchObject({ serves: false });
  for (const argv of [[], ["status"], ["host", "add", "up"], ["constructor"], ["--json", "up"]]) expect(decidePassthrough(argv)).toBeUndefined();
});

test("the agent's own words and exit code come through", () => {
  requireBuilt(AGENT);
  const home = tempDir("home");
  const skep = (...argv: string[]) => spawnSync(process.execPath, [BIN, ...argv], { env: { PATH: process.env["PATH"], HOME: home, SKEP_AGENT_DIR: join(home, "a dir") }, encoding: "utf8" });
  const config = skep("agent", "--print-config");
  expect(config.status).toBe(0);
  expect(JSON.parse(config.stdout)).toMatchObject({ agentDir: join(home, "a dir") });
  expect(skep("agent", "bogus").status).toBe(2);
  expect(skep("agent", "enrol", "/no/such.skep").status).toBe(1);
});

/** The same code that starts the real programs, around one that only says what it is told. */
const wrapper = (child: string): string => `
  import { runPassthrough } from ${JSON.stringify(join(PACKAGE, "dist/passthrough.js"))};
  import { readEnvironment } from ${JSON.stringify(join(PACKAGE, "dist/config.js"))};
  process.exit(await runPassthrough({ program: ${JSON.stringify(child)}, args: [], serves: true }, readEnvironment()));
`;
const CHILD = join(import.meta.dirname, "serving-child.mjs");

test.each(["SIGINT", "SIGTERM"] as const)("%s to us alone stops the child in good order, and its exit code is ours", async (signal) => {
  const program = startProgram(["--input-type=module", "-e", wrapper(CHILD)], {});
  await program.output(/ready (\d+)\n/);
  program.kill(signal);
  expect(await program.exited).toEqual({ code: 7, signal: null });
  expect(program.stdout()).toMatch(/stopping: SIGTERM\n/);
});

test("kill -9 of us is told to the child by the end of its pipe", async () => {
  const program = startProgram(["--input-type=module", "-e", wrapper(CHILD)], {});
  const pid = Number((await program.output(/ready (\d+)\n/))[1]);
  program.kill("SIGKILL");
  await program.output(/stopping: parent gone\n/);
  await eventually(() => !alive(pid), { what: "the child to end" });
});

const alive = (pid: number): boolean => {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
};
