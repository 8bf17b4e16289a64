/** Masters that probe over the ledger in memory: the real loops, control and circuits; only the hosts at the other end are played. */
import { PRODUCTION_POLICY, seededRng, timingsFor, uuidv7, type EventRecord, type HostId, type HostRecord, type Instant, type Reachability, type Store } from "@skep/core";
import { createLogger, specHash } from "@skep/runtime";
import { ManualClock, createMemoryDatabase, type MemoryDatabase } from "@skep/testkit";
import { createCircuits } from "../../src/agents/circuits.ts";
import { createControl, type Control, type ControlExtras } from "../../src/control/index.ts";
import type { PinCache } from "../../src/identity/pin-cache.ts";
import { runLoops } from "../../src/loops/run-loops.ts";
import type { AgentClient } from "../../src/ports.ts";
import { fakeAgents } from "../http/harness.ts";

export const PERIOD_MS = 30_000;
export const TIMINGS = timingsFor(PERIOD_MS);
const TIMEOUT_MS = 5_000;
const ANSWER_MS = 5;

/** `hangs`: says nothing until the caller's time is up. `refuses`: fails at once. */
export type Manner = "answers" | "hangs" | "refuses";

export interface Probing {
  readonly clock: ManualClock;
  readonly database: MemoryDatabase;
  readonly store: Store;
  /** How each host behaves from now on, by name; those without one answer. */
  readonly manners: Map<string, Manner>;
  /** Every time a prober turned to a host, asked or withheld. */
  readonly turns: { readonly master: string; readonly host: string; readonly atMs: number }[];
  readonly asked: () => number;
  addHosts(count: number): Promise<readonly HostRecord[]>;
  /** Another master, with circuits of its own; its loops run until the test ends them. */
  startMaster(name: string, options?: { readonly extras?: ControlExtras; readonly store?: (store: Store) => Store }): Promise<ProbingMaster>;
  seen(host: HostRecord): Reachability | undefined;
  /** What was told of reachability, oldest first. */
  told(): Promise<readonly EventRecord[]>;
}

export interface ProbingMaster {
  readonly control: Control;
  readonly circuit: (host: HostRecord) => string;
  stop(): Promise<void>;
}

export function startProbing(): Probing {
  const clock = new ManualClock();
  const database = createMemoryDatabase({ clock, policy: PRODUCTION_POLICY });
  const store = database.connect();
  const rng = seededRng(11);
  const logger = createLogger({ name: "test", level: "silent", destination: "stderr" });
  const manners = new Map<string, Manner>();
  const turns: { master: string; host: string; atMs: number }[] = [];
  let asked = 0;
  let made = 0;
  let masters = 0;

  const agentsOf = (master: string): AgentClient => {
    const circuits = createCircuits({ clock, pinsOf: () => new Set(["pin"]) });
    return {
      ...fakeAgents(),
      circuit: circuits.view,
      openCircuits: circuits.open,
      health: async (host, signal) => {
        turns.push({ master, host: host.name, atMs: clock.mono() });
        const pass = circuits.begin(host);
        if (pass.kind === "circuit_open") return { ok: false, ms: 0, error: `the circuit is open: ${pass.because}`, withheld: { failedAgoMs: pass.failedAgoMs, consecutiveFailures: circuits.view(host).consecutiveFailures, stranger: false } };
        asked += 1;
        const manner = manners.get(host.name) ?? "answers";
        if (manner !== "refuses") await clock.sleep(manner === "hangs" ? TIMEOUT_MS : ANSWER_MS, signal);
        if (signal?.aborted === true) {
          pass.settle({ outcome: "aborted" });
          return { ok: false, ms: 0, error: "given up" };
        }
        if (manner === "answers") {
          pass.settle({ outcome: "success" });
          return { ok: true, ms: ANSWER_MS, health: { status: "ok", phase: "ready", version: "1", boot_id: "b" } };
        }
        const error = manner === "hangs" ? `no answer within ${TIMEOUT_MS} ms` : "connection failed (ECONNREFUSED)";
        pass.settle({ outcome: "failure", because: error });
        return { ok: false, ms: 0, error };
      },
    };
  };

  return {
    clock, database, store, manners, turns,
    asked: () => asked,
    addHosts: async (count) => {
      const ids = Array.from({ length: count }, () => uuidv7(clock.now(), rng) as HostId);
      await store.transaction(async (tx) => {
        for (const id of ids) {
          made += 1;
          await tx.insertHost({ id, name: `h${made}`, labels: {}, notes: undefined, address: "10.0.0.1", agentPort: 8444, allowedCidr: undefined });
          await tx.casHostStatus(id, "pending", "enrolled", "test");
        }
      });
      return ids.map((id) => database.committed.hosts.get(id)!);
    },
    startMaster: async (name, { extras = {}, store: wrap = (plain: Store): Store => plain } = {}) => {
      masters += 1;
      const own = wrap(database.connect());
      const agents = agentsOf(name);
      const stop = new AbortController();
      const control = await createControl({ store: own, agents, clock, rng: seededRng(masters), logger, policy: PRODUCTION_POLICY, timings: TIMINGS, hash: specHash, failpoint: () => undefined }, extras);
      const pins = { isFresh: () => true, poll: async () => undefined } as unknown as PinCache;
      const loops = runLoops({ control, store: own, pins, renewCredentials: () => undefined, timings: TIMINGS, clock, rng: seededRng(100 + masters), logger, signal: stop.signal });
      return {
        control,
        circuit: (host) => agents.circuit(host).state,
        stop: async () => {
          stop.abort();
          await loops.stopped;
        },
      };
    },
    seen: (host) => database.committed.reachability.get(host.id),
    told: async () => (await store.recentEvents(10_000)).filter((event) => event.kind.startsWith("host.")),
  };
}

/** When each probe's result of a host was late, by the database's clock: how long after its time it was on record. Call `look` often. */
export function watchLateness(probing: Probing, hosts: readonly HostRecord[]): { readonly look: () => void; readonly results: Map<string, { readonly at: Instant; readonly lateMs: number }[]> } {
  const due = new Map<string, Instant>();
  const pending = new Map<string, Instant>();
  const probedAt = new Map<string, Instant | undefined>();
  const results = new Map<string, { at: Instant; lateMs: number }[]>(hosts.map((host) => [host.name, []]));
  return {
    results,
    look: () => {
      for (const host of hosts) {
        const record = probing.seen(host)!;
        const before = due.get(host.name);
        if (before !== undefined && before !== record.dueAt) pending.set(host.name, before);
        due.set(host.name, record.dueAt);
        const was = pending.get(host.name);
        if (record.lastProbeAt !== undefined && record.lastProbeAt !== probedAt.get(host.name) && was !== undefined) results.get(host.name)!.push({ at: record.lastProbeAt, lateMs: record.lastProbeAt - was });
        probedAt.set(host.name, record.lastProbeAt);
      }
    },
  };
}
