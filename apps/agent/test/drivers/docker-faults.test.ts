/** The engine itself in trouble: hung, killed, restarted. Unknown is never reported as empty, and nothing is started twice. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { eventually, startEngine, tempDir, type Engine } from "@skep/testkit";
import { noEngine } from "@skep/testkit/vitest";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { findInContainer } from "../../src/drivers/docker/marked-processes.ts";
import { becomes, containerSpec, createDockerWorld, FOREVER, idsOf, IMAGE, labelsFor, never, placementOf, seenAs, specOf, textOf } from "./docker-world.ts";

const ALWAYS = { restart: { policy: "always" } } as const;
const AWAY = { code: "runtime_unavailable" };
/** Far beyond any deadline of a single call. */
const PATIENT = 180_000;

const sockets = (): number => readdirSync("/proc/self/fd").filter((fd) => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:");
  } catch {
    return false;
  }
}).length;

const recordsIn = (stateDir: string): { stop?: object }[] => readdirSync(join(stateDir, "records")).filter((name) => name.endsWith(".json")).map((name) => JSON.parse(readFileSync(join(stateDir, "records", name), "utf8")) as { stop?: object });

describe.skipIf(noEngine())("an engine in trouble", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await startEngine();
    await engine.image(IMAGE);
  }, PATIENT);
  afterEach(() => engine.resume());
  afterAll(() => engine.stop(), PATIENT);

  test("hung: every verb says within its deadline that nothing is known, sockets stay bounded, and all is well after", async () => {
    const { up, again } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec());
    const driver = again({ callDeadlineMs: 3_000 });
    await becomes(driver, labels, "running");
    const before = sockets();
    engine.pause();
    const next = labelsFor("next");
    const verbs = [
      ...Array.from({ length: 20 }, () => () => driver.observe()),
      () => driver.prepare(next, containerSpec(), never), () => driver.start(next, containerSpec(), never), () => driver.stop(labels, 1_000), () => driver.remove(labels),
      () => driver.shared!.ensure(placementOf(next), specOf(containerSpec()), never), () => driver.exec!({ placementId: labels.placementId, component: "web", command: ["true"] }, async () => undefined, never),
    ];
    const most = Math.max(...(await Promise.all(verbs.map(async (verb) => {
      await expect(verb()).rejects.toMatchObject(AWAY);
      return sockets();
    }))));
    expect(driver.available()).toBe(false);
    expect(most - before).toBeLessThan(15);
    engine.resume();
    // Nothing that was given up has come true: it was asked of nobody, or the question itself was only a look.
    await eventually(async () => (await seenAs(driver, labels))?.state === "running", { what: "the component being seen again" });
    expect(driver.available()).toBe(true);
    expect(await idsOf(engine, next)).toEqual([]);
  }, PATIENT * 2);

  test("hung while it starts a container, which is given up: asked again, there is one, and it runs", async () => {
    const { driver } = createDockerWorld(engine);
    const labels = labelsFor();
    const spec = containerSpec();
    await driver.shared!.ensure(placementOf(labels), specOf(spec), never);
    const call = new AbortController();
    const starting = driver.start(labels, spec, call.signal);
    starting.catch(() => undefined);
    await eventually(async () => (await idsOf(engine, labels)).length === 1, { what: "its container being made" });
    engine.pause();
    call.abort();
    await starting.catch((error: unknown) => expect(error).toMatchObject({ code: "aborted" }));
    engine.resume();
    await driver.start(labels, spec, never);
    await driver.wait(labels, spec, AbortSignal.timeout(60_000));
    expect(await idsOf(engine, labels)).toHaveLength(1);
  }, PATIENT * 2);

  test("killed in the middle of a start: the container that it can never start again gives way to another, and there is one copy", async () => {
    const { driver } = createDockerWorld(engine);
    const spec = containerSpec(FOREVER, { env: { HALF: "started" } });
    const copies = (): number[] => readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes("HALF=started\0") && readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith("sh\0");
      } catch {
        return false;
      }
    });
    const shimOf = (id: string): boolean => readdirSync("/proc").some((name) => {
      try {
        return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "latin1").includes(`\0-id\0${id}\0`);
      } catch {
        return false;
      }
    });
    let stuck = false;
    // The moment between the runtime's start and the engine's own note of it is short, and it is not always met.
    for (let tries = 0; tries < 20 && !stuck; tries++) {
      const labels = labelsFor(`half-${tries}`);
      await driver.shared!.ensure(placementOf(labels), specOf(spec), never);
      const starting = driver.start(labels, spec, never).catch((error: unknown) => error);
      const [id] = await eventually(async () => {
        const ids = await idsOf(engine, labels);
        return ids.length > 0 && ids;
      }, { what: "its container being made" });
      await eventually(() => shimOf(id!), { what: "the runtime being at it", timeoutMs: 30_000 }).catch(() => undefined);
      await engine.kill();
      await starting;
      await engine.restart();
      await driver.start(labels, spec, never);
      await driver.wait(labels, spec, AbortSignal.timeout(60_000));
      const [now] = await idsOf(engine, labels);
      stuck = now !== id;
      expect(await idsOf(engine, labels)).toHaveLength(1);
      // A shell that is about to become its child looks like a second one for a moment; a stray would stay.
      await eventually((status) => (status(copies().join()), copies().length === 1), { what: "one copy, and no stray" });
      await driver.stop(labels, 1_000);
      await driver.remove(labels);
    }
    expect(stuck).toBe(true);
  }, PATIENT * 4);

  test("what the runtime still runs of a start that the engine lost is ended first, and nothing else is", async () => {
    const bystander = createDockerWorld(engine);
    const other = labelsFor("bystander");
    await bystander.up(other, containerSpec());
    // The engine, but its first start is done and denied; what it forgot about, it would remove at once.
    const done: string[] = [];
    const server = createServer((request, response) => void (async () => {
      const forward = (): Promise<IncomingMessage> => new Promise((resolve, reject) => {
        const on = httpRequest({ socketPath: engine.socketPath, path: request.url, method: request.method, headers: request.headers }, resolve).on("error", reject);
        request.pipe(on);
      });
      const id = /\/containers\/([0-9a-f]{64})\/start/.exec(request.url ?? "")?.[1];
      if (request.method === "DELETE" && request.url!.includes(done[0] ?? "nothing yet")) await eventually(async () => !(await engine.ask<{ State: { Running: boolean } }>("GET", `/containers/${done[0]}/json`)).State.Running, { what: "nothing of it runs" });
      const reply = await forward();
      if (id === undefined || done.length > 0) return void reply.pipe(response.writeHead(reply.statusCode!, reply.headers));
      done.push(id);
      reply.resume();
      response.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify({ message: `task ${id}: already exists` }));
    })().catch(() => response.destroy()));
    const dir = tempDir("engine-proxy");
    await new Promise<void>((resolve) => server.listen(join(dir, "docker.sock"), resolve));
    try {
      const { driver } = createDockerWorld(engine, { dockerHost: `unix://${join(dir, "docker.sock")}` });
      const labels = labelsFor("lost");
      await driver.shared!.ensure(placementOf(labels), specOf(containerSpec()), never);
      await driver.start(labels, containerSpec(), never);
      await driver.wait(labels, containerSpec(), AbortSignal.timeout(60_000));
      expect(done).toHaveLength(1);
      expect(await idsOf(engine, labels)).toEqual([expect.not.stringMatching(done[0]!)]);
      expect(findInContainer(done[0]!)).toEqual([]);
      const [now] = await idsOf(engine, labels);
      expect(findInContainer(now!)).toContain((await seenAs(driver, labels))!.pid);
      expect((await seenAs(bystander.driver, other))?.state).toBe("running");
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }, PATIENT * 2);

  test("killed: unknown, not empty; restarted, it ended our containers, and their policy brings them back with their output whole", async () => {
    const { driver, up } = createDockerWorld(engine);
    driver.release!();
    const [service, once] = [labelsFor("service"), labelsFor("once")];
    const printing = (name: string, more: object) => containerSpec(["sh", "-c", `echo up; ${FOREVER[2]}`], { name, stop_timeout_s: 1, ...more });
    await up(service, printing("service", ALWAYS));
    await up(once, printing("once", {}));
    // What a killed engine had not read yet is lost with it, and nobody's to copy.
    await eventually(async () => (await textOf(driver, service)) === "up\n", { what: "the output of the first life" });
    await engine.kill();
    await expect(driver.observe()).rejects.toMatchObject(AWAY);
    await expect(driver.stop(service, 1_000)).rejects.toMatchObject(AWAY);
    await engine.restart();
    await becomes(driver, service, "running", (seen) => seen.restarts === 1);
    expect(["exited", "failed"]).toContain((await seenAs(driver, once))?.state);
    await eventually(async (status) => {
      const text = await textOf(driver, service);
      status(JSON.stringify([text, await seenAs(driver, service)]));
      return text === "up\nup\n";
    }, { what: "the output of both lives, once each" });
    expect(await idsOf(engine, service)).toHaveLength(1);
  }, PATIENT * 2);

  test("away for a moment, an agent that starts meanwhile waits for it and adopts what runs", async () => {
    const { driver, up, again } = createDockerWorld(engine);
    const labels = labelsFor();
    await up(labels, containerSpec(FOREVER, ALWAYS));
    const pid = (await seenAs(driver, labels))?.pid;
    engine.pause();
    const next = again();
    await expect(next.observe()).rejects.toMatchObject(AWAY);
    engine.resume();
    await becomes(next, labels, "running", (seen) => seen.pid === pid && seen.restarts === 0);
  }, PATIENT * 2);

  test("stopped and asked for while it is away: the stop is remembered, and the policy does not undo it", async () => {
    const { driver, up, stateDir } = createDockerWorld(engine);
    driver.release!();
    const labels = labelsFor();
    // It does not go by itself, so that the engine is away in the middle of the stop.
    await up(labels, containerSpec(["sh", "-c", "trap '' TERM; while true; do sleep 1; done"], { ...ALWAYS, stop_timeout_s: 1 }));
    const stopping = driver.stop(labels, 600_000);
    stopping.catch(() => undefined);
    await eventually(() => recordsIn(stateDir).some((record) => record.stop !== undefined), { what: "the stop being written down" });
    await engine.kill();
    await stopping.catch(() => undefined);
    await engine.restart();
    // Asked again, as the executor does with a verb whose outcome is not known.
    await driver.stop(labels, 5_000);
    expect(await seenAs(driver, labels)).toMatchObject({ state: "stopped", restarts: 0 });
  }, PATIENT * 2);
});

describe.skipIf(noEngine())("an engine with live restore", () => {
  test("restarted, it leaves our containers running, and so do we", async () => {
    const engine = await startEngine({ liveRestore: true });
    try {
      await engine.image(IMAGE);
      const { driver, up } = createDockerWorld(engine);
      driver.release!();
      const labels = labelsFor();
      await up(labels, containerSpec(["sh", "-c", `echo line; ${FOREVER[2]}`], ALWAYS));
      const pid = (await seenAs(driver, labels))?.pid;
      await engine.terminate();
      await engine.restart();
      await becomes(driver, labels, "running", (seen) => seen.pid === pid && seen.restarts === 0);
      await eventually(async () => (await textOf(driver, labels)) === "line\n", { what: "its output, once" });
      await driver.stop(labels, 1_000);
    } finally {
      await engine.stop();
    }
  }, PATIENT * 2);
});
