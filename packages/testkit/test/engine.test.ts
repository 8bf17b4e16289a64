/** The engine that tests stand on: real, private, and gone without a trace afterwards. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { eventually, startEngine } from "@skep/testkit";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { clearEngineDir } from "../src/engine/engine-dirs.ts";

describe.skipIf(noEngine())("the shared engine", () => {
  const engine = useEngine();

  test("makes images on the spot that run, with entrypoint, arguments and environment", async () => {
    await engine.image("kit-echo:1", { entrypoint: ["/bin/sh", "-c"], cmd: ["echo $WORD; exit 3"], env: { WORD: "two words" } });
    const { Id } = await engine.ask<{ Id: string }>("POST", "/containers/create", { body: { Image: "kit-echo:1", Labels: { "kit.test": "echo" } } });
    await engine.ask("POST", `/containers/${Id}/start`);
    expect(await engine.ask("POST", `/containers/${Id}/wait`)).toMatchObject({ StatusCode: 3 });
    expect((await engine.call("GET", `/containers/${Id}/logs?stdout=1`)).body.toString("latin1")).toContain("two words");
    expect((await engine.labelled("kit.test=echo")).containers).toHaveLength(1);
    await engine.removeEverything("kit.test=echo");
    expect(await engine.labelled("kit.test")).toEqual({ containers: [], networks: [], volumes: [] });
  });

  test("two networks at once, and containers that reach each other by name", async () => {
    await engine.image("kit-net:1");
    const network = await engine.ask<{ Id: string }>("POST", "/networks/create", { body: { Name: "kit-net", Labels: { "kit.test": "net" } } });
    await engine.ask("POST", "/networks/create", { body: { Name: "kit-net-2", Labels: { "kit.test": "net" } } });
    const create = async (name: string, cmd: string[]): Promise<string> => {
      const { Id } = await engine.ask<{ Id: string }>("POST", `/containers/create?name=${name}`, { body: { Image: "kit-net:1", Cmd: cmd, Labels: { "kit.test": "net" }, HostConfig: { NetworkMode: network.Id } } });
      await engine.ask("POST", `/containers/${Id}/start`);
      return Id;
    };
    await create("kit-net-server", ["httpd", "-f", "-p", "80", "-h", "/etc"]);
    const client = await create("kit-net-client", ["sh", "-c", "until wget -q -O - http://kit-net-server/passwd | grep nobody; do sleep 0.1; done"]);
    expect(await engine.ask("POST", `/containers/${client}/wait`)).toMatchObject({ StatusCode: 0 });
    await engine.removeEverything("kit.test=net");
  });
});

describe.skipIf(noEngine())("an engine of one's own", () => {
  test("hangs, dies, comes back, and leaves nothing behind", async () => {
    const engine = await startEngine();
    const dir = engine.socketPath.replace("/docker.sock", "");
    try {
      engine.pause();
      await expect(engine.call("GET", "/_ping", { timeoutMs: 200 })).rejects.toThrow("not answered");
      engine.resume();
      expect((await engine.call("GET", "/_ping")).status).toBe(200);
      await engine.image("kit-sleep:1", { cmd: ["sleep", "1000"] });
      const { Id } = await engine.ask<{ Id: string }>("POST", "/containers/create", { body: { Image: "kit-sleep:1", StopTimeout: 1, HostConfig: { NetworkMode: "none" } } });
      await engine.ask("POST", `/containers/${Id}/start`);
      const { State } = await engine.ask<{ State: { Pid: number } }>("GET", `/containers/${Id}/json`);
      const before = engine.pid;
      await engine.kill();
      await expect(engine.call("GET", "/_ping")).rejects.toThrow();
      // The engine answers a start when its helper is told to become the program, which takes a moment more.
      await eventually(() => readFileSync(`/proc/${State.Pid}/cmdline`, "utf8").includes("sleep"), { what: "the container going on without its daemon" });
      await engine.restart();
      expect(engine.pid).not.toBe(before);
      expect((await engine.call("GET", "/_ping")).status).toBe(200);
      await engine.ask("POST", `/containers/${Id}/start`);
      await engine.kill();
    } finally {
      await engine.stop();
    }
    expect(readdirSync(tmpdir()).some((name) => dir.endsWith(name))).toBe(false);
    await eventually(() => processesNaming(dir).length === 0, { what: "no process of the engine being left" });
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(dir);
  });
});

describe.skipIf(noEngine())("an engine whose test run was killed", () => {
  test("is cleared away by the next one, with its containers, links and files", async () => {
    const abandoned = await startEngine();
    const dir = abandoned.socketPath.replace("/docker.sock", "");
    await abandoned.image("kit-sleep:1", { cmd: ["sleep", "1000"] });
    const network = await abandoned.ask<{ Id: string }>("POST", "/networks/create", { body: { Name: "left" } });
    const { Id } = await abandoned.ask<{ Id: string }>("POST", "/containers/create", { body: { Image: "kit-sleep:1", HostConfig: { NetworkMode: network.Id } } });
    await abandoned.ask("POST", `/containers/${Id}/start`);
    const { State } = await abandoned.ask<{ State: { Pid: number } }>("GET", `/containers/${Id}/json`);
    const link = `br-${network.Id.slice(0, 12)}`;
    expect(execFileSync("ip", ["-br", "link"], { encoding: "utf8" })).toContain(link);
    await clearEngineDir(dir);
    expect(existsSync(dir)).toBe(false);
    await eventually(() => !existsSync(`/proc/${State.Pid}`), { what: "the container's process being gone" });
    await eventually(() => processesNaming(dir).length === 0, { what: "no process of the engine being left" });
    expect(execFileSync("ip", ["-br", "link"], { encoding: "utf8" })).not.toContain(link);
    await abandoned.stop();
  });
});

function processesNaming(dir: string): string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(dir);
    } catch {
      return false;
    }
  });
}
