/** The boot sequence by a manual clock and scripted drivers: each of the seed's defects has the test that it would fail. */
import { createServer, type AddressInfo, type Server } from "node:net";
import { NO_ALLOWANCES, seededRng, type Allowances, type BootStage, type ComponentSpec, type Driver, type ObservedComponent, type Spec } from "@skep/core";
import { createLogger, specHash } from "@skep/runtime";
import { eventually, ManualClock } from "@skep/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { createBootSequence, type BootSequence } from "../src/boot/run-sequence.ts";
import { createEyes } from "../src/executor/eyes.ts";
import { wantedHashes } from "../src/executor/plan.ts";
import type { PlacementEntry } from "../src/journal/records.ts";
import { newId, specOf } from "./kit/executor-kit.ts";
import { ScriptedDriver } from "./kit/scripted-driver.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

const stage = (name: string, members: string[], patch: Partial<BootStage> = {}): BootStage => ({ name, members, timeoutMs: 60_000, health: { kind: "own" }, foundation: false, ...patch });
const entry = (deployment: string, spec: Spec = specOf(deployment), patch: Partial<PlacementEntry> = {}): PlacementEntry => ({
  placementId: newId(), deployment, epoch: 1, generation: 1, spec, specHash: specHash(spec), desired: "running", hashes: wantedHashes(spec, undefined, undefined, specHash), jobId: newId(), ...patch,
});
const withPorts = (spec: Spec, ...ports: ComponentSpec["ports"]): Spec => ({ ...spec, components: spec.components.map((component) => ({ ...component, ports })) });

interface World {
  readonly boot: BootSequence;
  readonly driver: ScriptedDriver;
  readonly clock: ManualClock;
  readonly run: Promise<void>;
  readonly leave: () => void;
  readonly changes: () => number;
  /** Components that were started, in order. */
  readonly started: () => string[];
  readonly ended: () => boolean;
}

function world(stages: readonly BootStage[], entries: readonly PlacementEntry[], options: { driver?: ScriptedDriver; drivers?: Driver[]; allowed?: Allowances } = {}): World {
  const clock = new ManualClock();
  const driver = options.driver ?? new ScriptedDriver();
  const leaving = new AbortController();
  const eyes = new Map([driver, ...(options.drivers ?? [])].map((one) => [one.name, createEyes([one], clock)]));
  let changes = 0;
  let ended = false;
  const boot = createBootSequence({
    stages, clock, rng: seededRng(1), logger: createLogger({ level: "silent", name: "test" }), hash: specHash, leaving: leaving.signal,
    allowed: () => options.allowed ?? NO_ALLOWANCES, realpath: async (path) => path,
    applied: () => entries, eyesOf: (name) => eyes.get(name) ?? createEyes([], clock), onChange: () => (changes += 1),
  });
  const run = boot.run().then(() => void (ended = true));
  return { boot, driver, clock, run, leave: () => leaving.abort(), changes: () => changes, ended: () => ended, started: () => driver.calls.filter((call) => call.startsWith("start ")).map((call) => call.slice(6).replace("@1", "")) };
}

/** What a stage's members are said to be, the ill first. */
const told = (boot: BootSequence): string[] => (boot.report()?.members ?? []).map(({ name, healthy, error }) => `${name}: ${healthy ? "healthy" : error ?? "ill"}`);

describe("order", () => {
  test("a stage starts its own members and nothing else; the next begins when they are healthy (1-1)", async () => {
    const driver = new ScriptedDriver();
    const gate = driver.gate("wait dns");
    const { boot, run, started } = world([stage("foundation", ["dns"], { foundation: true }), stage("core", ["ca"]), stage("rest", ["web"])], ["dns", "ca", "web", "unnamed"].map((name) => entry(name)), { driver });
    await eventually(() => gate.reached(), { what: "the first stage waits" });
    expect(started()).toEqual(["dns"]);
    expect(boot.report()).toEqual({ stage: "foundation", state: "starting", members: [{ name: "dns", healthy: false, error: "it has not been started yet" }], alerts: 0 });
    gate.open();
    await run;
    expect(started()).toEqual(["dns", "ca", "web"]);
    expect(boot.report()).toEqual({ stage: null, state: "complete", members: ["dns", "ca", "web"].map((name) => ({ name, healthy: true })), alerts: 0 });
  });

  test("components start in the order of their dependencies; a dependency is waited for whatever the stage asks", async () => {
    const driver = new ScriptedDriver();
    const gate = driver.gate("wait db");
    const { run, started } = world([stage("one", ["shop"], { health: { kind: "none" } })], [entry("shop", specOf("db", { name: "api", depends_on: ["db"] }, { name: "web", depends_on: ["api"] }))], { driver });
    await eventually(() => gate.reached(), { what: "the dependency is waited for" });
    expect(started()).toEqual(["db"]);
    gate.open();
    await run;
    expect(started()).toEqual(["db", "api", "web"]);
    // health none: nobody depends on web, so started is enough.
    expect(driver.calls).not.toContain("wait web@1");
  });

  test("what runs is left alone, what ran to its good end is done, what died is started under its labels, what is in the way is cleared", async () => {
    const driver = new ScriptedDriver();
    const spec = specOf("runs", "dead", "stale", "fresh", "migrate");
    const shop = entry("shop", { ...spec, components: spec.components.map((one) => (one.name === "migrate" ? { ...one, restart: { policy: "never" as const }, run_to_completion: true } : one)) });
    const put = (component: string, state: ObservedComponent["state"], patch: { generation?: number; componentHash?: string } = {}): void => {
      const labels = { placementId: shop.placementId, deployment: "shop", component, jobId: "old", generation: 1, epoch: 1, componentHash: shop.hashes[component]!, ...patch };
      driver.components.set(ScriptedDriver.key(labels), { labels, state });
    };
    put("runs", "running");
    put("dead", "stopped");
    put("stale", "failed", { generation: 7, componentHash: "f".repeat(64) });
    put("migrate", "exited");
    const { run, started, boot } = world([stage("one", ["shop"])], [shop], { driver });
    await run;
    expect(boot.report()?.state).toBe("complete");
    expect(started().toSorted()).toEqual(["dead", "fresh", "stale"]);
    expect(driver.calls.filter((call) => call.startsWith("remove") || call.startsWith("stop"))).toEqual(["remove stale@7"]);
    expect(driver.components.get(`${shop.placementId}/dead`)?.labels.jobId).toBe("old");
    expect(driver.components.get(`${shop.placementId}/stale`)?.labels).toMatchObject({ generation: 1, jobId: shop.jobId });
  });

  test("no sequence is no report and no wait; an empty stage is complete at once", async () => {
    const none = world([], [entry("web")]);
    await none.run;
    expect(none.boot.report()).toBeUndefined();
    expect(none.started()).toEqual([]);
    const empty = world([stage("empty", [], { foundation: true })], []);
    await empty.run;
    expect(empty.boot.report()).toEqual({ stage: null, state: "complete", members: [], alerts: 0 });
  });
});

describe("members of a stage", () => {
  test("share one deadline and are judged each by itself: the slow one does not make the quick ones late (1-4); later stages go on without it (B6, 1-12)", async () => {
    const driver = new ScriptedDriver();
    driver.gate("wait slow");
    const { boot, clock, run, started, ended } = world([stage("one", ["slow", "quick"], { timeoutMs: 30_000 }), stage("two", ["web"])], ["slow", "quick", "web"].map((name) => entry(name)), { driver });
    await eventually(() => told(boot).includes("quick: healthy"), { what: "the quick one is healthy, although it comes after the slow one" });
    expect(ended()).toBe(false);
    clock.advance(30_000);
    await run;
    expect(started()).toEqual(["slow", "quick", "web"]);
    expect(boot.results().map(({ name, outcome, rounds, ms }) => ({ name, outcome, rounds, ms }))).toEqual([{ name: "one", outcome: "proceeded_degraded", rounds: 1, ms: 30_000 }, { name: "two", outcome: "healthy", rounds: 1, ms: 0 }]);
    expect(boot.report()).toMatchObject({ stage: null, state: "degraded", alerts: 0 });
    expect(told(boot)).toEqual(["slow: aborted", "quick: healthy", "web: healthy"]);
  });

  test("a driver that hangs beyond every signal costs its member the deadline and the rest nothing (1-11)", async () => {
    const driver = new ScriptedDriver();
    driver.on("start hung", () => new Promise(() => {}));
    const { boot, clock, run } = world([stage("one", ["hung", "quick"], { timeoutMs: 5_000 })], [entry("hung"), entry("quick")], { driver });
    await eventually(() => told(boot).includes("quick: healthy"), { what: "the other is healthy" });
    await clock.run(7_000);
    await run;
    expect(told(boot)).toEqual(["hung: starting hung was still going on at the stage's deadline", "quick: healthy"]);
  });

  test("one that fails at once is tried again within the deadline", async () => {
    const driver = new ScriptedDriver();
    let failures = 2;
    driver.on("start flaky", () => {
      if (failures-- > 0) throw new Error("the port is taken");
    });
    const { boot, clock, run, started } = world([stage("one", ["flaky"])], [entry("flaky")], { driver });
    await eventually(() => told(boot).includes("flaky: the port is taken"), { what: "the first failure, in words" });
    await clock.run(10_000);
    await run;
    expect(started()).toHaveLength(3);
    expect(boot.report()?.state).toBe("complete");
  });

  test("a member is a deployment by its exact name: no prefix, no part of one (1-8)", async () => {
    const { boot, run, started } = world([stage("one", ["mc"]), stage("two", ["mcp"])], ["mc-proxy", "mcp-master", "mcp"].map((name) => entry(name)));
    await run;
    expect(started()).toEqual(["mcp"]);
    expect(told(boot)).toEqual(["mc: no deployment of this name has been deployed on this host", "mcp: healthy"]);
  });

  test("what an operator stopped, and a spec that lost its hash, are not started", async () => {
    const { boot, run, started } = world([stage("one", ["stopped", "damaged"])], [entry("stopped", undefined, { desired: "stopped" }), entry("damaged", undefined, { specHash: "0".repeat(64) })]);
    await run;
    expect(started()).toEqual([]);
    expect(told(boot)).toEqual([expect.stringContaining("stopped on request"), expect.stringContaining("does not have its hash")]);
  });

  test("what the host's owner does not allow any more is not started at boot either", async () => {
    const driver = new ScriptedDriver();
    Object.assign(driver, { name: "docker" });
    const spec = specOf("web");
    const dangerous: Spec = { ...spec, driver: "docker", components: spec.components.map((one) => ({ ...one, container: { image: "busybox", privileged: true } })) };
    const refused = world([stage("one", ["web"], { timeoutMs: 10 })], [entry("web", dangerous)], { driver });
    await eventually(() => told(refused.boot)[0]?.includes("allow.privileged"), { what: "refused, in words" });
    await refused.clock.run(2_000);
    await refused.run;
    expect(refused.started()).toEqual([]);
    const allowed = world([stage("one", ["web"])], [entry("web", dangerous)], { driver, allowed: { ...NO_ALLOWANCES, privileged: true } });
    await allowed.run;
    expect(allowed.started()).toEqual(["web"]);
  });

  test("a driver that cannot look does not hold up the members of another", async () => {
    const engine = new ScriptedDriver();
    Object.assign(engine, { name: "docker" });
    engine.on("observe", () => { throw new Error("the engine does not answer"); });
    const { boot, run } = world([stage("one", ["web"])], [entry("web")], { drivers: [engine] });
    await run;
    expect(boot.report()?.state).toBe("complete");
  });
});

describe("a foundation", () => {
  /** Lets a member fail `rounds` rounds: its wait ends with each deadline. */
  const failing = (rounds: number): ScriptedDriver => {
    const driver = new ScriptedDriver();
    let left = rounds;
    driver.on("start dns", (labels) => {
      if (left-- > 0) throw new Error("disk not there");
      if (labels !== undefined) driver.components.delete(ScriptedDriver.key(labels));
    });
    return driver;
  };

  test("blocks for as long as it takes, starts what is missing anew in every round, waits longer each time, and alerts (1-2, 1-5)", async () => {
    const { boot, clock, run, started, ended } = world([stage("foundation", ["dns"], { foundation: true, timeoutMs: 500 }), stage("core", ["ca"])], [entry("dns"), entry("ca")], { driver: failing(60) });
    // A round of half a second holds one try; the pauses between rounds are then all there is to see.
    const tries: number[] = [];
    const startMs = clock.mono();
    while (clock.mono() - startMs < 1_300_000) {
      const before = started().length;
      await clock.run(250);
      if (started().length > before) tries.push(clock.mono() - startMs);
    }
    expect(ended()).toBe(false);
    expect(started()).not.toContain("ca");
    const gaps = tries.slice(1).map((at, index) => at - tries[index]!);
    expect(gaps[0]).toBeGreaterThanOrEqual(8_000);
    expect(gaps[0]).toBeLessThanOrEqual(12_000);
    expect(gaps[1]).toBeGreaterThan(15_000);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(62_000);
    expect(Math.min(...gaps.slice(4))).toBeGreaterThanOrEqual(47_000);
    expect(new Set(gaps.slice(4)).size).toBeGreaterThan(1);
    // One at once, then one every ten minutes: 1 300 s are three.
    expect(boot.report()).toEqual({ stage: "foundation", state: "blocked", members: [{ name: "dns", healthy: false, error: "disk not there" }], alerts: 3 });
    while (!ended()) await clock.run(60_000);
    await run;
    expect(started().slice(-2)).toEqual(["dns", "ca"]);
    expect(boot.report()).toMatchObject({ stage: null, state: "complete" });
    expect(boot.results()[0]?.rounds).toBe(61);
  });

  test("is the stage that says so, not the first one (1-13)", async () => {
    const { boot, clock, run, started, leave } = world([stage("first", ["dns"], { foundation: false, timeoutMs: 500 }), stage("second", ["gone"], { foundation: true, timeoutMs: 500 }), stage("third", ["web"])], ["dns", "gone", "web"].map((name) => entry(name)), {
      driver: (() => { const driver = failing(Number.POSITIVE_INFINITY); driver.on("start gone", () => { throw new Error("no"); }); return driver; })(),
    });
    await clock.run(60_000);
    expect(boot.report()).toMatchObject({ stage: "second", state: "blocked" });
    expect(boot.results()).toMatchObject([{ name: "first", outcome: "proceeded_degraded" }]);
    expect(started()).not.toContain("web");
    leave();
    await run;
  });

  test("does not block for what only the master's commands could mend, which a booting agent refuses", async () => {
    const { boot, run, started } = world([stage("foundation", ["unknown", "off"], { foundation: true }), stage("core", ["ca"])], [entry("ca"), entry("off", undefined, { desired: "stopped" })]);
    await run;
    expect(started()).toEqual(["ca"]);
    expect(boot.results()[0]).toMatchObject({ outcome: "proceeded_degraded", rounds: 1 });
    expect(boot.report()?.state).toBe("degraded");
  });

  test.each([
    ["a blocked foundation's pause", () => failing(Number.POSITIVE_INFINITY)],
    ["a wait", () => { const driver = new ScriptedDriver(); driver.gate("wait dns"); return driver; }],
    ["a driver that hangs in its start", () => { const driver = new ScriptedDriver(); driver.on("start dns", () => new Promise(() => {})); return driver; }],
    ["a driver that hangs in its look", () => { const driver = new ScriptedDriver(); driver.on("observe", () => new Promise(() => {})); return driver; }],
  ])("leaves within a second of the signal: %s (1-3)", async (_what, make) => {
    const { clock, run, leave, ended, started } = world([stage("foundation", ["dns"], { foundation: true, timeoutMs: 5_000 })], [entry("dns")], { driver: make() });
    await clock.run(4_000);
    expect(ended()).toBe(false);
    leave();
    await clock.run(1_000);
    expect(ended()).toBe(true);
    await run;
    const before = started().length;
    await clock.run(120_000);
    expect(started()).toHaveLength(before);
  });

  test("configured anew while it blocks: what was gone through stays so, the present one begins anew, at once", async () => {
    const { boot, clock, run, started } = world([stage("zero", ["ca"]), stage("foundation", ["dns"], { foundation: true, timeoutMs: 500 })], ["ca", "dns", "web"].map((name) => entry(name)), { driver: failing(Number.POSITIVE_INFINITY) });
    await clock.run(2_000);
    expect(boot.report()?.state).toBe("blocked");
    boot.reconfigure([stage("zero", ["ca"]), stage("foundation", ["web"], { foundation: true })]);
    await run;
    expect(started().filter((name) => name !== "dns")).toEqual(["ca", "web"]);
    expect(boot.report()).toMatchObject({ state: "complete", members: [{ name: "ca" }, { name: "web" }] });
  });
});

describe("a stage's own question", () => {
  async function listening(): Promise<number> {
    const server = createServer((socket) => socket.destroy());
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  }
  /** A driver that says where the ports of what it runs are. */
  const serving = (ports: Record<string, number>): ScriptedDriver => {
    const driver = new ScriptedDriver();
    const plain = driver.observe.bind(driver);
    driver.observe = async () => (await plain()).map((one) => ({ ...one, ports }));
    return driver;
  };

  test("tcp asks every tcp port, and no udp one; what is asked is what the driver says, by name (1-9, B8)", async () => {
    const [a, b] = [await listening(), await listening()];
    const spec = withPorts(specOf("dns"), { name: "query", protocol: "udp" }, { name: "axfr", protocol: "tcp" }, { name: "admin", protocol: "tcp" });
    const { boot, run, driver } = world([stage("one", ["dns"], { health: { kind: "ports", type: "tcp" } })], [entry("dns", spec)], { driver: serving({ query: 1, axfr: a, admin: b }) });
    await run;
    expect(boot.report()?.state).toBe("complete");
    expect(driver.calls).not.toContain("wait dns@1");
    servers[0]?.close();
    const refused = world([stage("one", ["dns"], { timeoutMs: 3_000, health: { kind: "ports", type: "tcp" } })], [entry("dns", spec)], { driver: serving({ query: 1, axfr: 1, admin: b }) });
    let done = false;
    void refused.run.then(() => (done = true));
    await eventually(async () => { await refused.clock.run(500); return done; }, { what: "the deadline" });
    expect(told(refused.boot)).toEqual(["dns: dns never became healthy: port 1: connect ECONNREFUSED 127.0.0.1:1"]);
  });

  test("a probe asks the component that has its port, or the one it names; what fits none or several is said", async () => {
    const port = await listening();
    const spec = withPorts(specOf("api", "web"), { name: "http", protocol: "tcp" });
    const probe = { type: "tcp" as const, port: "http", interval_ms: 1_000, timeout_ms: 1_000, success_threshold: 1, failure_threshold: 1 };
    const outcome = async (health: BootStage["health"]): Promise<string[]> => {
      const { boot, run, clock } = world([stage("one", ["shop"], { health, timeoutMs: 500 })], [entry("shop", spec)], { driver: serving({ http: port }) });
      let done = false;
      void run.then(() => (done = true));
      await eventually(async () => { await clock.run(250); return done; }, { what: "the stage's end" });
      return told(boot);
    };
    expect(await outcome({ kind: "probe", probe, component: "web" })).toEqual(["shop: healthy"]);
    expect(await outcome({ kind: "probe", probe })).toEqual([expect.stringMatching(/fits api and web: say which/)]);
    expect(await outcome({ kind: "probe", probe: { ...probe, port: "rpc" } })).toEqual([expect.stringMatching(/no component of it has a tcp port named rpc/)]);
    expect(await outcome({ kind: "ports", type: "grpc" })).toEqual([expect.stringMatching(/has 2 tcp ports: say which one/)]);
  });
});

test("what the sequence went on without is looked at again, never started, and told when it is healthy", async () => {
  const driver = new ScriptedDriver();
  driver.on("start web", () => { throw new Error("no"); });
  const web = entry("web");
  const { boot, clock, run, started, changes } = world([stage("one", ["web"], { timeoutMs: 500 })], [web], { driver });
  await clock.run(2_000);
  await run;
  expect(boot.report()?.state).toBe("degraded");
  const before = started().length;
  await clock.run(60_000);
  expect(started()).toHaveLength(before);
  const labels = { placementId: web.placementId, deployment: "web", component: "web", jobId: "new", generation: 2, epoch: 1, componentHash: "a".repeat(64) };
  driver.components.set(ScriptedDriver.key(labels), { labels, state: "running" });
  const told = changes();
  await clock.run(20_000);
  expect(boot.report()).toEqual({ stage: null, state: "complete", members: [{ name: "web", healthy: true }], alerts: 0 });
  expect(changes()).toBeGreaterThan(told);
});
