/** Who decides which master, and that no token goes to another one. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { readEnvironment } from "../src/config.ts";
import { decideSettings, DEFAULT_URL } from "../src/settings.ts";
import { hastyClock, skep } from "./run-skep.ts";

const flag = { source: "flag", url: "http://flag" };
const environment = { source: "environment", url: "http://env", token: "env-token", ca: "env.pem" };
const context = { source: "context", url: "http://ctx/", token: "ctx-token", ca: "ctx.pem" };

test("flag, then environment, then context, then the default", () => {
  expect(decideSettings([flag, environment, context]).url).toEqual({ value: "http://flag", source: "flag" });
  expect(decideSettings([environment, context]).url).toEqual({ value: "http://env", source: "environment" });
  expect(decideSettings([context]).url).toEqual({ value: "http://ctx", source: "context" });
  expect(decideSettings([]).url).toEqual({ value: DEFAULT_URL, source: "default" });
});

test("a token written down with a URL is not sent to another", () => {
  const settings = decideSettings([flag, environment, context]);
  expect(settings.token.value).toBeUndefined();
  expect(settings.ca.value).toBeUndefined();
  expect(settings.withheld).toHaveLength(2);
});

test("the control: the same URL, or a token without one, is good", () => {
  expect(decideSettings([{ source: "flag", url: "http://ctx" }, context]).token).toEqual({ value: "ctx-token", source: "context" });
  expect(decideSettings([flag, { source: "environment", token: "loose" }, context]).token).toEqual({ value: "loose", source: "environment" });
});

function contextFile(content: string, mode = 0o600): string {
  const path = join(tempDir("config"), "config.json");
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

test("the context file is found, and its token is not printed", async () => {
  const path = contextFile(JSON.stringify({ url: "http://127.0.0.1:9", token: `skp_${"0".repeat(32)}_${"s".repeat(43)}`, ca: "/ca.pem", state_dir: "/x" }));
  const ran = await skep(["config", "explain"], { env: { url: undefined, token: undefined, contextFile: path } });
  expect(ran.code).toBe(0);
  expect(ran.out).toContain("http://127.0.0.1:9");
  expect(ran.out).toContain(path);
  expect(ran.out).not.toContain("ssss");
});

test("--state-dir reads what `skep up` left there, before the environment", async () => {
  const dir = tempDir("with space");
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "cli.json"), JSON.stringify({ url: "http://127.0.0.1:7", token: "skp_x" }), { mode: 0o600 });
  const ran = await skep(["config", "explain", "--json", "--state-dir", dir], { url: "http://127.0.0.1:8" });
  expect(JSON.parse(ran.out)).toMatchObject({ settings: { url: { value: "http://127.0.0.1:7", source: join(dir, "cli.json") } } });
});

test.each([
  ["another's to read", JSON.stringify({ url: "http://127.0.0.1:9", token: "skp_x" }), 0o644, /chmod 600/],
  ["not JSON", "{", 0o600, /not valid JSON/],
])("a context file that is %s is refused with what to do", async (_, content, mode, words) => {
  const ran = await skep(["status"], { env: { url: undefined, token: undefined, contextFile: contextFile(content, mode) } });
  expect(ran).toMatchObject({ code: 2, out: "" });
  expect(ran.err).toMatch(words);
});

test("a --state-dir without a master is said, not passed over", async () => {
  expect(await skep(["status", "--state-dir", tempDir("empty")])).toMatchObject({ code: 2, out: "" });
});

test.each([
  ["http://master.example:8080", 2],
  ["http://127.evil.example:8080", 2],
  ["ftp://127.0.0.1", 2],
  ["http://user:pw@127.0.0.1:8080", 2],
  ["not a url", 2],
  ["http://127.0.0.1:1", 11],
  ["http://localhost:1", 11],
])("with a token, %s ends with %i", async (url, code) => {
  expect((await skep(["status"], { url, clock: hastyClock() })).code).toBe(code);
});

test("the environment honours XDG_CONFIG_HOME, HOME and NO_COLOR; empty is not set", () => {
  expect(readEnvironment({ XDG_CONFIG_HOME: "/xdg", HOME: "/h" }).contextFile).toBe("/xdg/skep/config.json");
  expect(readEnvironment({ XDG_CONFIG_HOME: "", HOME: "/h" }).contextFile).toBe("/h/.config/skep/config.json");
  expect(readEnvironment({ HOME: "/h", SKEP_URL: "" }).url).toBeUndefined();
  expect(readEnvironment({ HOME: "/h" }).color).toBe(true);
  expect(readEnvironment({ HOME: "/h", NO_COLOR: "1" }).color).toBe(false);
  expect(readEnvironment({ HOME: "/h", TERM: "dumb" }).color).toBe(false);
});
