/** The prober over the ledger in memory, by a clock that only the test moves: rhythm, lanes, transitions, and what it leaves alone. */
import { SkepError, type HostRecord, type Store } from "@skep/core";
import { expect, test } from "vitest";
import { PERIOD_MS, TIMINGS, startProbing, type Probing } from "./probing.ts";

/** One look of the loop and the jitter of its nap. */
const LOOK_MS = 275;
const kinds = async (probing: Probing): Promise<string[]> => (await probing.told()).map((event) => event.kind);
const run = (probing: Probing, periods: number): Promise<void> => probing.clock.run(periods * PERIOD_MS);
/** Over the warm-up: from here on probes decide. */
const warm = (probing: Probing): Promise<void> => probing.clock.run(TIMINGS.warmUpMs + PERIOD_MS);
/** Long enough for three failures of which each may take a time-out. */
const failing = (probing: Probing): Promise<void> => run(probing, 4);

test("each host is asked at a fixed rate, whatever the others do, by one master of two", async () => {
  const probing = startProbing();
  const hosts = await probing.addHosts(60);
  hosts.forEach((host, index) => probing.manners.set(host.name, (["answers", "hangs", "refuses"] as const)[index % 3]!));
  const masters = [await probing.startMaster("m1"), await probing.startMaster("m2")];
  await run(probing, 20);
  for (const master of masters) await master.stop();
  for (const host of hosts) {
    const turns = probing.turns.filter((turn) => turn.host === host.name).map((turn) => turn.atMs);
    const gaps = turns.slice(1).map((at, index) => at - turns[index]!);
    expect(turns[0]).toBeLessThanOrEqual(PERIOD_MS + LOOK_MS);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(PERIOD_MS * 0.9 - LOOK_MS);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(PERIOD_MS * 1.1 + LOOK_MS);
    // No drift: a probe's slowness does not push the next one back.
    expect(turns.length).toBeGreaterThanOrEqual(18);
  }
  expect(new Set(probing.turns.map((turn) => turn.master))).toEqual(new Set(["m1", "m2"]));
});

test("two masters tell each transition once, there and back", async () => {
  const probing = startProbing();
  const [sick, well] = await probing.addHosts(2) as [HostRecord, HostRecord];
  const masters = [await probing.startMaster("m1"), await probing.startMaster("m2")];
  await warm(probing);
  expect([probing.seen(sick)!.state, await kinds(probing)]).toEqual(["reachable", []]);
  probing.manners.set(sick.name, "hangs");
  await failing(probing);
  expect([probing.seen(sick)!.state, probing.seen(well)!.state]).toEqual(["unreachable", "reachable"]);
  expect(await kinds(probing)).toEqual(["host.network_unreachable"]);
  await run(probing, 6);
  probing.manners.set(sick.name, "answers");
  await failing(probing);
  expect(probing.seen(sick)).toMatchObject({ state: "reachable", consecutiveFailures: 0, lastError: undefined });
  expect(await kinds(probing)).toEqual(["host.network_unreachable", "host.network_reachable"]);
  expect((await probing.told()).map((event) => event.hostId)).toEqual([sick.id, sick.id]);
  for (const master of masters) await master.stop();
});

test("results of the same host that meet in two masters are written one after the other, and told once", async () => {
  const probing = startProbing();
  const [host] = await probing.addHosts(1) as [HostRecord];
  const masters = [await probing.startMaster("m1"), await probing.startMaster("m2")];
  await warm(probing);
  for (const master of masters) await master.stop();
  probing.manners.set(host.name, "refuses");
  // A period so short that both claim the host in every round: each brings failures of its own.
  const claims = async (): Promise<void> => {
    const { dueAt, ...record } = probing.seen(host)!;
    probing.database.committed.reachability.set(host.id, { ...record, dueAt: probing.clock.now() });
    expect(dueAt).toBeGreaterThan(0);
  };
  for (let round = 0; round < 2; round++) {
    for (const master of masters) {
      await claims();
      await master.control.probeOnce();
    }
    await probing.clock.run(1_000);
  }
  expect(probing.seen(host)).toMatchObject({ state: "unreachable", consecutiveFailures: 4 });
  expect(await kinds(probing)).toEqual(["host.network_unreachable"]);
});

test("a master that has just started alarms nobody: failures are counted, and the next probe after the warm-up decides", async () => {
  const probing = startProbing();
  const hosts = await probing.addHosts(10);
  for (const host of hosts) probing.manners.set(host.name, "refuses");
  const master = await probing.startMaster("m1");
  await probing.clock.run(TIMINGS.warmUpMs - 1_000);
  expect(hosts.map((host) => probing.seen(host)!.state)).toEqual(hosts.map(() => "unknown"));
  expect(Math.min(...hosts.map((host) => probing.seen(host)!.consecutiveFailures))).toBeGreaterThanOrEqual(2);
  expect(await kinds(probing)).toEqual([]);
  await run(probing, 1.5);
  expect(await kinds(probing)).toEqual(hosts.map(() => "host.network_unreachable"));
  await master.stop();
});

test("a host that comes and goes is told to flap, and to have settled when it has", async () => {
  const probing = startProbing();
  const [host] = await probing.addHosts(1) as [HostRecord];
  const master = await probing.startMaster("m1", { extras: { probing: { thresholds: { failures: 1, successes: 1 } } } });
  await warm(probing);
  for (const manner of ["refuses", "answers", "refuses"] as const) {
    probing.manners.set(host.name, manner);
    await run(probing, 1.5);
  }
  expect(await kinds(probing)).toEqual(["host.network_unreachable", "host.network_reachable", "host.network_unreachable", "host.flapping"]);
  expect(probing.seen(host)!.flapping).toBe(true);
  probing.manners.set(host.name, "answers");
  await run(probing, 24);
  expect((await kinds(probing)).slice(4)).toEqual(["host.network_reachable", "host.settled"]);
  expect(probing.seen(host)).toMatchObject({ flapping: false, state: "reachable" });
  await master.stop();
});

test("new hosts are asked within a period, decommissioned ones no more", async () => {
  const probing = startProbing();
  const master = await probing.startMaster("m1");
  await run(probing, 1);
  const [stays, goes] = await probing.addHosts(2) as [HostRecord, HostRecord];
  await run(probing, 1);
  expect(new Set(probing.turns.map((turn) => turn.host))).toEqual(new Set([stays.name, goes.name]));
  await probing.store.transaction((tx) => tx.decommissionHost(goes.id));
  probing.turns.length = 0;
  await run(probing, 3);
  expect(new Set(probing.turns.map((turn) => turn.host))).toEqual(new Set([stays.name]));
  expect(probing.seen(goes)).toBeUndefined();
  await master.stop();
});

test("a host that is decommissioned while it is asked leaves nothing behind, and costs its group nothing", async () => {
  const probing = startProbing();
  const [gone, stays] = await probing.addHosts(2) as [HostRecord, HostRecord];
  const master = await probing.startMaster("m1");
  probing.manners.set(gone.name, "hangs");
  await probing.clock.run(100);
  await probing.store.transaction((tx) => tx.decommissionHost(gone.id));
  await run(probing, 1);
  expect(probing.seen(gone)).toBeUndefined();
  expect(probing.seen(stays)!.state).toBe("reachable");
  await master.stop();
});

test("after a standstill hosts are asked over a period and not in a burst", async () => {
  const probing = startProbing();
  const hosts = await probing.addHosts(300);
  probing.clock.advance(20 * PERIOD_MS);
  const startedMs = probing.clock.mono();
  const master = await probing.startMaster("m1");
  await run(probing, 1.2);
  const perThird = [0, 0, 0];
  const first = new Map<string, number>();
  for (const turn of probing.turns) if (!first.has(turn.host)) first.set(turn.host, turn.atMs - startedMs);
  for (const atMs of first.values()) perThird[Math.min(2, Math.floor(atMs / (PERIOD_MS / 3)))]! += 1;
  expect(first.size).toBe(hosts.length);
  for (const count of perThird) expect(count).toBeGreaterThan(60);
  await master.stop();
});

test("withheld probes are no observations: the counter stands still while the circuit is open, and the host is hardly asked", async () => {
  const probing = startProbing();
  const [host] = await probing.addHosts(1) as [HostRecord];
  const master = await probing.startMaster("m1");
  probing.manners.set(host.name, "refuses");
  await run(probing, 6);
  expect(master.circuit(host)).toBe("open");
  const [failures, asked] = [probing.seen(host)!.consecutiveFailures, probing.asked()];
  const turns = probing.turns.length;
  await run(probing, 6);
  expect(probing.turns.length - turns).toBeGreaterThanOrEqual(5);
  expect(probing.asked() - asked).toBeLessThanOrEqual(3);
  expect(probing.seen(host)!.consecutiveFailures - failures).toBe(probing.asked() - asked);
  probing.manners.set(host.name, "answers");
  await run(probing, 4);
  expect([master.circuit(host), probing.seen(host)!.state]).toEqual(["closed", "reachable"]);
  await master.stop();
});

test("a host is never asked twice at the same time, however often its time comes", async () => {
  const probing = startProbing();
  const [host] = await probing.addHosts(1) as [HostRecord];
  const master = await probing.startMaster("m1");
  probing.manners.set(host.name, "hangs");
  await probing.clock.run(100);
  probing.database.committed.reachability.set(host.id, { ...probing.seen(host)!, dueAt: probing.clock.now() });
  await probing.clock.run(1_000);
  expect([probing.asked(), probing.seen(host)!.dueAt > probing.clock.now()]).toEqual([1, true]);
  await master.stop();
});

test("when many are due at once, a place that comes free is taken at once and not with the next look", async () => {
  const probing = startProbing();
  await probing.addHosts(1_300);
  const master = await probing.startMaster("m1");
  await probing.clock.run(2_000);
  expect(probing.asked()).toBe(1_300);
  await master.stop();
});

test("what could not be written is not told", async () => {
  const probing = startProbing();
  const [host] = await probing.addHosts(1) as [HostRecord];
  const raced = (store: Store): Store => ({ ...store, transaction: (work, options) => store.transaction((tx) => work({ ...tx, casReachability: async () => [] }), options) });
  const master = await probing.startMaster("m1", { store: raced, extras: { probing: { thresholds: { failures: 1, successes: 1 } } } });
  probing.manners.set(host.name, "refuses");
  await warm(probing);
  await run(probing, 2);
  expect(probing.asked()).toBeGreaterThan(3);
  expect(await kinds(probing)).toEqual([]);
  await master.stop();
});

test("neither liveness nor anything else of a host is written", async () => {
  const probing = startProbing();
  const hosts = await probing.addHosts(6);
  hosts.forEach((host, index) => probing.manners.set(host.name, (["answers", "hangs", "refuses"] as const)[index % 3]!));
  const master = await probing.startMaster("m1");
  await run(probing, 10);
  // Every field, the version and the one-shot probe of the liveness pass included.
  expect(hosts.map((host) => probing.database.committed.hosts.get(host.id))).toEqual(hosts);
  expect([...probing.database.committed.liveness.values()]).toEqual([]);
  await master.stop();
});

test("at the end what is under way is given up at once: no failure is counted, and the circuit has its token back", async () => {
  const probing = startProbing();
  const [host] = await probing.addHosts(1) as [HostRecord];
  const master = await probing.startMaster("m1");
  probing.manners.set(host.name, "hangs");
  await probing.clock.run(1_000);
  expect(probing.asked()).toBe(1);
  await master.stop();
  await master.control.drain();
  await probing.clock.run(10_000);
  expect(probing.seen(host)).toMatchObject({ state: "unknown", consecutiveFailures: 0, lastProbeAt: undefined });
  expect(master.circuit(host)).toBe("closed");
});

test("a database that is away is no host's fault: nothing is counted, and probing goes on when it is back", async () => {
  const probing = startProbing();
  const [host] = await probing.addHosts(1) as [HostRecord];
  let away = false;
  const session = probing.database.connect({ latency: async () => {
    if (away) throw new SkepError("database_unavailable");
  } });
  const master = await probing.startMaster("m1", { store: () => session });
  await run(probing, 1);
  const before = probing.seen(host)!;
  away = true;
  await run(probing, 3);
  expect(probing.seen(host)).toEqual(before);
  away = false;
  await run(probing, 2);
  expect(probing.seen(host)!.lastProbeAt).toBeGreaterThan(before.lastProbeAt!);
  await master.stop();
});
