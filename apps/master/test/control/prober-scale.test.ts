/** The issue's own line: 2,000 hosts of which 5 % hang. Probing keeps its period, and nobody who answers is late by more than a second. */
import type { HostRecord, Store } from "@skep/core";
import { expect, test } from "vitest";
import { PERIOD_MS, startProbing, watchLateness, type Probing } from "./probing.ts";

const HOSTS = 2_000;
const PERIODS = 8;
const LOOK_EVERY_MS = 100;

interface Measured {
  readonly probing: Probing;
  readonly hanging: readonly HostRecord[];
  readonly circuits: readonly string[];
  readonly worstLateMs: number;
  readonly worstGapMs: number;
  readonly fewestResults: number;
}

async function measure(periods: number, options: Parameters<Probing["startMaster"]>[1] = {}): Promise<Measured> {
  const probing = startProbing();
  const { clock, manners } = probing;
  const hosts = await probing.addHosts(HOSTS);
  const hanging = hosts.filter((_, index) => index % 20 === 7);
  for (const host of hanging) manners.set(host.name, "hangs");
  // Nobody has probed for a while: the first round spreads them over a period.
  clock.advance(PERIOD_MS);
  const master = await probing.startMaster("m1", options);
  const watch = watchLateness(probing, hosts.filter((host) => manners.get(host.name) !== "hangs"));
  for (let ms = 0; ms < (periods + 1) * PERIOD_MS; ms += LOOK_EVERY_MS) {
    await clock.run(LOOK_EVERY_MS);
    watch.look();
  }
  const all = [...watch.results.values()];
  const measured: Measured = {
    probing, hanging,
    circuits: hanging.map(master.circuit),
    worstLateMs: Math.max(...all.flat().map((result) => result.lateMs)),
    worstGapMs: Math.max(...all.flatMap((results) => results.slice(1).map((result, index) => result.at - results[index]!.at))),
    fewestResults: Math.min(...all.map((results) => results.length)),
  };
  await master.stop();
  return measured;
}

test("the hosts that answer are on record within a second of their time, period after period", { timeout: 600_000 }, async () => {
  const { probing, hanging, circuits, worstLateMs, worstGapMs, fewestResults } = await measure(PERIODS);
  console.log(`2,000 hosts, 100 hang: worst result ${Math.round(worstLateMs)} ms late, worst gap ${Math.round(worstGapMs)} ms, fewest results of a host ${fewestResults}`);
  expect(worstLateMs).toBeLessThanOrEqual(1_000);
  expect(worstGapMs).toBeLessThanOrEqual(PERIOD_MS * 1.1 + 1_000);
  expect(fewestResults).toBeGreaterThanOrEqual(PERIODS - 1);
  // And those that hang are called so, once each, with their circuits open: not asked any more, for the most part.
  expect(hanging.map((host) => probing.seen(host)!.state)).toEqual(hanging.map(() => "unreachable"));
  expect(circuits.filter((state) => state === "closed")).toEqual([]);
  const told = await probing.told();
  expect(told.map((event) => event.kind)).toEqual(hanging.map(() => "host.network_unreachable"));
  expect(new Set(told.map((event) => event.hostId)).size).toBe(hanging.length);
});

/** What a prober without a lane for the failing does: everybody waits for the same few places. */
const oneLane = (store: Store): Store => ({
  ...store,
  claimProbes: async (lane, limit, everyMs) => {
    if (lane === "failing") return [];
    const answering = await store.claimProbes("answering", limit, everyMs);
    return [...answering, ...(answering.length < limit ? await store.claimProbes("failing", limit - answering.length, everyMs) : [])];
  },
});

test("the control: one lane with little concurrency is late", { timeout: 600_000 }, async () => {
  const { worstLateMs } = await measure(2, { store: oneLane, extras: { probing: { limits: { answering: 16, failing: 0 } } } });
  console.log(`the same in one lane of 16: worst result ${Math.round(worstLateMs)} ms late`);
  expect(worstLateMs).toBeGreaterThan(1_000);
});
