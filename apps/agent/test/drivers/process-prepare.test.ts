/** Everything that can be refused before anything runs, each with its control. */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createSocket } from "node:dgram";
import { join } from "node:path";
import type { ComponentSpec } from "@skep/core";
import { seededRng } from "@skep/core";
import { tempDir, unusedPort } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { createPortBook } from "../../src/drivers/process/port-book.ts";
import { createWorld, FOREVER, labelsFor, living, never, observed, specFor, startAndWait } from "./world.ts";

async function listen(): Promise<{ port: number; close: () => Promise<void> }> {
  const port = await unusedPort();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { port, close: () => new Promise((resolve) => server.close(() => resolve())) };
}

describe("programs and directories", () => {
  const refused = async (spec: ComponentSpec, code: string): Promise<void> => {
    await expect(createWorld().driver.prepare(labelsFor(), spec, never)).rejects.toMatchObject({ name: "DriverError", code });
  };

  test("a program must exist and be executable; names, absolute and relative paths are found as execvp does", async () => {
    const directory = tempDir("bin");
    writeFileSync(join(directory, "tool"), "#!/bin/sh\n", { mode: 0o600 });
    await refused(specFor(["no-such-program-of-ours"]), "program_not_found");
    await refused(specFor(["/no/such"]), "program_not_found");
    await refused(specFor([]), "program_not_found");
    await refused(specFor([join(directory, "tool")]), "not_executable");
    await refused(specFor(["./tool"], { working_dir: directory }), "not_executable");
    await refused(specFor([directory]), "not_executable");
    await refused(specFor(["tool"], { env: { PATH: directory } }), "not_executable");
    chmodSync(join(directory, "tool"), 0o700);
    const { driver } = createWorld();
    for (const spec of [specFor([join(directory, "tool")]), specFor(["./tool"], { working_dir: directory }), specFor(["tool"], { env: { PATH: directory } }), specFor(["node"]), specFor(["sh"])]) await driver.prepare(labelsFor(), spec, never);
  });

  test("a start that skipped prepare is refused as truthfully, and leaves nothing", async () => {
    const { driver } = createWorld();
    const labels = labelsFor();
    await expect(driver.start(labels, specFor(["/no/such"]), never)).rejects.toMatchObject({ code: "program_not_found" });
    expect(await observed(driver, labels)).toMatchObject({ state: "failed", error: expect.stringContaining("not found") });
    await startAndWait(driver, labels, specFor(FOREVER)); // the same labels, once it can
  });

  test("a working directory is made, or refused where it cannot be", async () => {
    const base = tempDir("work");
    writeFileSync(join(base, "file"), "");
    await refused(specFor(FOREVER, { working_dir: join(base, "file/below") }), "working_dir_missing");
    const { driver } = createWorld();
    await driver.prepare(labelsFor(), specFor(FOREVER, { working_dir: join(base, "a b/ü") }), never);
    expect(existsSync(join(base, "a b/ü"))).toBe(true);
  });

  test("names that are not names, noop instructions and a probe of no port are refused", async () => {
    const { driver, stateDir } = createWorld();
    for (const component of ["..", "a/b", "", "A", "a\u0000b", "-x"]) await expect(driver.prepare(labelsFor(component), specFor(FOREVER), never)).rejects.toMatchObject({ code: "start_failed" });
    await expect(driver.start(labelsFor("web", { placementId: "../../x" }), specFor(FOREVER), never)).rejects.toMatchObject({ code: "start_failed" });
    await refused(specFor(FOREVER, { noop: {} }), "spec_refused");
    await refused(specFor(FOREVER, { probe: { type: "tcp", port: "http", interval_ms: 1, timeout_ms: 1, success_threshold: 1, failure_threshold: 1 } }), "spec_refused");
    expect(existsSync(stateDir) && existsSync(join(stateDir, "x"))).toBe(false);
  });
});

describe("ports", () => {
  test("a fixed port in use is refused, naming the holder when it is ours", async () => {
    const { driver } = createWorld();
    const foreign = await listen();
    const fixed = (host: number) => specFor(FOREVER, { ports: [{ name: "http", protocol: "tcp", host }] });
    await expect(driver.prepare(labelsFor(), fixed(foreign.port), never)).rejects.toMatchObject({ code: "port_in_use", message: expect.stringContaining("not Skep's") });
    await expect(driver.start(labelsFor(), fixed(foreign.port), never)).rejects.toMatchObject({ code: "port_in_use" });
    await foreign.close();
    const holder = labelsFor("db");
    await startAndWait(driver, holder, { ...fixed(foreign.port), name: "db" });
    await expect(driver.prepare(labelsFor(), fixed(foreign.port), never)).rejects.toMatchObject({ code: "port_in_use", message: expect.stringContaining("shop/db") });
    // The same component may keep it in its next generation.
    await driver.prepare({ ...holder, generation: 2 }, { ...fixed(foreign.port), name: "db" }, never);
    await driver.stop(holder, 5_000);
    await driver.remove(holder);
    await startAndWait(driver, labelsFor(), fixed(foreign.port));
  });

  test("allocated ports are unique, kept over generations and over an agent's restart", async () => {
    const { driver, again } = createWorld();
    const spec = specFor(FOREVER, { ports: [{ name: "http", protocol: "tcp" }, { name: "admin", protocol: "tcp" }] });
    const all = ["a", "b", "c"].map((name) => labelsFor(name));
    await Promise.all(all.map((labels) => driver.start(labels, spec, never)));
    const ports = (await driver.observe()).flatMap((seen) => Object.values(seen.ports));
    expect(new Set(ports).size).toBe(6);
    expect(ports.every((port) => port >= 10_000 && port <= 60_000)).toBe(true);
    const [first] = all as [typeof all[0]];
    const before = (await observed(driver, first)).ports;
    const second = again();
    await second.stop(first, 5_000);
    await second.start({ ...first, generation: 2 }, spec, never);
    expect((await observed(second, first)).ports).toEqual(before);
    expect(living(first)).toHaveLength(1);
  });

  test("a collision is tried again: a book whose dice fall on taken ports finds free ones; udp and tcp do not collide", async () => {
    const rolls = seededRng(7);
    /** Whether the port whose udp twin is taken was given for tcp: somebody else's tcp may hold it just then. */
    const attempt = async (): Promise<boolean> => {
      const socket = createSocket("udp4");
      const port = await unusedPort();
      await new Promise<void>((resolve, reject) => socket.once("error", reject).bind(port, resolve));
      let calls = 0;
      const rng = { ...rolls, float: () => (calls++ < 3 ? (port - 10_000 + 0.5) / 50_001 : rolls.float()) };
      const book = createPortBook(rng, async () => [], 60_001);
      const one = await book.assign(labelsFor("a"), [{ name: "x", protocol: "udp" }]);
      expect(one["x"]).not.toBe(port);
      expect(calls).toBeGreaterThan(3);
      calls = 0;
      const two = await book.assign(labelsFor("b"), [{ name: "x", protocol: "tcp" }]);
      socket.close();
      return two["x"] === port;
    };
    let given = false;
    for (let tries = 0; tries < 5 && !given; tries++) given = await attempt();
    expect(given).toBe(true);
  });

  test("ports that the kernel gives to connections are left to it, unless too few others are left", async () => {
    const specs = Array.from({ length: 40 }, (_, index) => ({ name: `p${index}`, protocol: "tcp" as const }));
    const given = async (ephemeralFrom: number) => Object.values(await createPortBook(seededRng(7), async () => [], ephemeralFrom).assign(labelsFor(), specs));
    expect(Math.max(...await given(20_000))).toBeLessThan(20_000);
    expect(Math.max(...await given(10_100))).toBeGreaterThan(20_000);
  });

  test("a book that could not be read hands out nothing, and is read again", async () => {
    let broken = true;
    const book = createPortBook(seededRng(1), async () => {
      if (broken) throw new Error("EIO");
      return [];
    });
    await expect(book.assign(labelsFor(), [{ name: "x", protocol: "tcp" }])).rejects.toThrow("EIO");
    broken = false;
    expect(await book.assign(labelsFor(), [{ name: "x", protocol: "tcp" }])).toHaveProperty("x");
  });
});

test("control: directories of other things in the state directory are not components", async () => {
  const { driver, stateDir } = createWorld();
  mkdirSync(join(stateDir, "placements/lost+found/web"), { recursive: true });
  expect(await driver.observe()).toEqual([]);
});
