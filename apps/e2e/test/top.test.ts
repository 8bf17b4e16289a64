/** `skep top` as a person has it: on a real terminal, before a real fleet of which one agent is killed. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually, requireBuilt, tempDir } from "@skep/testkit";
import { beforeAll, expect, test } from "vitest";
import { skep } from "../src/harness/cli.ts";
import type { Agent } from "../src/harness/fleet.ts";
import { startOnTerminal, type OnTerminal } from "../src/harness/terminal.ts";
import { useFleet } from "./kit/use-fleet.ts";

const CLI = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "cli");
const ESCAPE = "\u001b";
let doomed: Agent;
const site = useFleet("top", { intervalMs: 500 }, async (fleet) => {
  doomed = await fleet.addAgent("bee-1");
  await fleet.addAgent("bee-2");
});
beforeAll(() => requireBuilt(CLI));

const start = (...argv: string[]): OnTerminal =>
  startOnTerminal([join(CLI, "bin/skep.js"), ...argv], { dir: tempDir("terminal"), columns: 80, rows: 24, env: { SKEP_URL: site.fleet.api.url, SKEP_TOKEN: site.fleet.api.token, HOME: tempDir("home"), NO_COLOR: "1" } });

const shows = (top: OnTerminal, pattern: RegExp): Promise<unknown> =>
  eventually((status) => {
    status(JSON.stringify(top.written().slice(-2_000)));
    return pattern.test(top.written());
  }, { what: `the terminal to show ${pattern}`, timeoutMs: 60_000 });

async function isRestored(top: OnTerminal): Promise<void> {
  const text = top.written();
  expect(text.split(`${ESCAPE}[?1049h`)).toHaveLength(2);
  expect(text.lastIndexOf(`${ESCAPE}[?1049l`)).toBeGreaterThan(text.indexOf(`${ESCAPE}[?1049h`));
  expect(text.lastIndexOf(`${ESCAPE}[?25h`)).toBeGreaterThan(text.lastIndexOf(`${ESCAPE}[?25l`));
  const { before, after } = top.settings();
  expect(after).toBe(before);
  expect(before).not.toBe("");
}

test("a killed agent shows up, first; q ends it with 0 and leaves the terminal as it was", async () => {
  const top = start("top", "--interval", "1s");
  await shows(top, /bee-1 +active +\w+ +closed[^]*bee-2 +active/);
  const before = top.written().length;
  await doomed.kill();
  await eventually((status) => {
    const news = top.written().slice(before);
    status(JSON.stringify(news.slice(-2_000)));
    return /bee-1 +(suspect|unreachable) /.test(news) && /bee-1 +unreachable /.test(news);
  }, { what: "bee-1 to become unreachable on the screen", timeoutMs: 60_000 });
  top.type("q");
  expect(await top.exited).toBe(0);
  await isRestored(top);
  // What is colour-blind is colourless, and no row was wider than the terminal.
  // oxlint-disable-next-line no-control-regex -- colours are what it looks for
  expect(top.written()).not.toMatch(/\u001b\[[0-9;]*m/);
  await doomed.start();
});

test("a master that is killed is said to be away and the screen goes on when it is back; SIGTERM restores the terminal too", async () => {
  const top = start("top", "--interval", "1s");
  await shows(top, /skep top +\d\d:\d\d:\d\dZ[^]*bee-2 +active/);
  await site.fleet.master.kill();
  await shows(top, /no answer for \d+s; showing what was known at \d\d:\d\d:\d\dZ; http/);
  const before = top.written().length;
  await site.fleet.master.start();
  await eventually(() => /skep top +\d\d:\d\d:\d\dZ/.test(top.written().slice(before)), { what: "a fresh screen", timeoutMs: 60_000 });
  process.kill(await top.pid(), "SIGTERM");
  expect(await top.exited).toBe(130);
  await isRestored(top);
});

test.each([["SIGHUP", 129], ["SIGQUIT", 131]] as const)("%s restores the terminal and is an exit code", async (signal, code) => {
  const top = start("top");
  await shows(top, /bee-2 +active/);
  process.kill(await top.pid(), signal);
  expect(await top.exited).toBe(code);
  await isRestored(top);
});

test("a crash restores the terminal before it is told", async () => {
  const dist = (file: string): string => JSON.stringify(join(CLI, "dist", file));
  const crash = `
    import { openScreen } from ${dist("screen/screen.js")};
    import { processDevice } from ${dist("screen/device.js")};
    const screen = openScreen({ out: { write: (data) => process.stdout.write(data), isTty: true, columns: 80 }, device: processDevice(process.stdin, process.stdout), color: false, onKey: () => { throw new Error("a bug of ours"); }, onResize: () => undefined });
    screen.draw(["drawn"]);
  `;
  const crashing = startOnTerminal(["--input-type=module", "-e", crash], { dir: tempDir("terminal"), env: {}, columns: 80, rows: 24 });
  await shows(crashing, /drawn/);
  crashing.type("x");
  expect(await crashing.exited).not.toBe(0);
  await isRestored(crashing);
  expect(crashing.written()).toContain("a bug of ours");
});

test("Ctrl-C typed at status --watch ends it with 130", async () => {
  const status = start("status", "--watch");
  await shows(status, /skep status +\d\d:\d\d:\d\dZ[^]*No deployments/);
  status.type("\u0003");
  expect(await status.exited).toBe(130);
  await isRestored(status);
});

test("into a pipe: one block of plain text, and as JSON", async () => {
  const plain = await skep(site.fleet.api, ["top"]);
  expect(plain).toMatchObject({ code: 0, stderr: "" });
  expect(plain.stdout).toMatch(/^skep top +\d\d:\d\d:\d\dZ[^]*\nNAME +LIVENESS +REACH +CIRCUIT +BEAT +PLACED +ERR % +AVG +P99 +REASON\nbee-/);
  expect(plain.stdout).not.toContain(ESCAPE);
  const { hosts } = JSON.parse((await skep(site.fleet.api, ["top", "--json"])).stdout) as { hosts: { name: string }[] };
  expect(hosts.map((host) => host.name).sort()).toEqual(["bee-1", "bee-2"]);
});
