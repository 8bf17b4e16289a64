/**
 * The ledger in memory: one committed state and any number of sessions on it. Transactions are serialised by a mutex and
 * work on a fork, so nobody sees half of one, and a session that is killed before its commit leaves nothing behind.
 * Every statement gives way at least once: interleavings between sessions are real.
 */
import { SkepError } from "@skep/core";
import type { Clock, Instant, Policy, Reads, SignalTopic, Store, Tx } from "@skep/core";
import { alertReads, alertWrites } from "./alerts.ts";
import { writeBeats } from "./beats.ts";
import { deploymentReads, deploymentWrites } from "./deployments.ts";
import { eventReads, eventWrites } from "./events.ts";
import { gaugeReads } from "./gauges.ts";
import { hostReads, hostWrites } from "./hosts.ts";
import { identityReads, identityWrites } from "./identity.ts";
import { lifecycleReads, lifecycleWrites } from "./lifecycle.ts";
import { moveReads, moveWrites } from "./moves.ts";
import { passStatements } from "./passes.ts";
import { reachabilityWrites } from "./reachability.ts";
import { rolloutReads, rolloutWrites } from "./rollouts.ts";
import { serviceReads } from "./services.ts";
import { absorbState, emptyState, forkState, nextCount, type Context, type State, type Sync } from "./state.ts";

/** Where a session gives way: before a statement, before a commit, and after it, when only the answer can still be lost. */
export type StorePoint = "statement" | "commit" | "committed";

export interface MemoryDatabaseOptions {
  readonly clock: Clock;
  readonly policy: Policy;
  readonly lineage?: string;
}

export interface SessionOptions {
  /**
   * Awaited at every point. It may take simulated time, and it may throw: at `statement` and `commit` nothing was
   * written, at `committed` everything was and the caller does not learn it.
   */
  readonly latency?: (point: StorePoint) => Promise<void>;
}

export interface MemorySession extends Store {
  /** The process is gone: its open transaction is undone and none of its calls ever returns. */
  kill(): void;
}

export interface MemoryDatabase {
  connect(options?: SessionOptions): MemorySession;
  /** The committed state, for checkers. */
  readonly committed: State;
}

const NO_POOL = { open: 0, idle: 0, waiting: 0, max: 0 };
const PASSES = ["claimDispatchable", "claimProbes", "deliveriesFor", "sweepCases", "silentHosts", "reconcileCases", "claimWebhookDeliveries", "retain"] as const;

export function createMemoryDatabase({ clock, policy, lineage = "memory" }: MemoryDatabaseOptions): MemoryDatabase {
  const committed = emptyState();
  const listeners = new Set<{ readonly wake: (topic: SignalTopic) => void }>();
  const waiting: (() => void)[] = [];
  let locked = false;

  const lock = async (): Promise<void> => {
    if (locked) await new Promise<void>((resolve) => waiting.push(resolve));
    locked = true;
  };
  const unlock = (): void => {
    const next = waiting.shift();
    if (next === undefined) locked = false;
    else next();
  };
  const contextOf = (state: State, xid: number, topics: Set<SignalTopic>): Context => ({
    state, policy, lineage, xid, now: () => clock.now(), readClock: () => clock.now(), signal: (topic) => void topics.add(topic),
  });

  function connect({ latency = () => Promise.resolve() }: SessionOptions = {}): MemorySession {
    let dead = false;
    let abandon: (() => void) | undefined;
    const never = (): Promise<never> => new Promise(() => {});
    /** Gives way. A dead session never comes back from here, so nothing after this line runs in it. */
    const pause = async (point: StorePoint): Promise<void> => {
      await latency(point);
      if (dead) await never();
    };

    async function transaction<T>(work: (context: Context, statement: () => Promise<void>) => Promise<T>): Promise<T> {
      await pause("statement");
      await lock();
      if (dead) {
        unlock();
        return never();
      }
      const fork = forkState(committed);
      const topics = new Set<SignalTopic>();
      let over = false;
      let broken: unknown;
      const end = (): void => {
        if (over) return;
        over = true;
        abandon = undefined;
        unlock();
      };
      abandon = end;
      const statement = async (): Promise<void> => {
        if (over) throw new SkepError("internal", "the transaction has ended");
        if (broken !== undefined) throw broken;
        try {
          await pause("statement");
        } catch (error) {
          broken = error;
          throw error;
        }
      };
      try {
        // As PostgreSQL's now(): the transaction's start, the same to every statement in it.
        const startedAt = clock.now();
        const result = await work({ ...contextOf(fork, nextCount(fork, "xid"), topics), now: () => startedAt }, statement);
        if (broken !== undefined) throw broken;
        await pause("commit");
        absorbState(committed, fork);
        end();
        for (const topic of topics) for (const listener of [...listeners]) void Promise.resolve().then(() => listener.wake(topic));
        await pause("committed");
        return result;
      } finally {
        end();
      }
    }

    const plain = <F extends (...args: never[]) => unknown>(statement: F) =>
      async (...args: Parameters<F>): Promise<ReturnType<F>> => {
        await pause("statement");
        return statement(...args) as ReturnType<F>;
      };
    const reads = mapValues(readsOf(contextOf(committed, 0, new Set())), plain) as unknown as Reads;
    const passes = Object.fromEntries(
      PASSES.map((name) => [
        name,
        (...args: never[]) => transaction((context) => Promise.resolve((passStatements(context)[name] as (...given: never[]) => unknown)(...args))),
      ]),
    ) as unknown as Pick<Store, (typeof PASSES)[number]>;

    return {
      ...reads,
      ...passes,
      transaction: (work) =>
        transaction((context, statement) => {
          const inside = <F extends (...args: never[]) => unknown>(run: F) =>
            async (...args: Parameters<F>): Promise<ReturnType<F>> => {
              await statement();
              return run(...args) as ReturnType<F>;
            };
          return work(mapValues({ ...readsOf(context), ...writesOf(context) }, inside) as unknown as Tx);
        }),
      poolUse: () => ({ beats: NO_POOL, api: NO_POOL, background: NO_POOL }),
      onSignal: (listener) => {
        const entry = { wake: (topic: SignalTopic) => void (dead || listener(topic)) };
        listeners.add(entry);
        return () => void listeners.delete(entry);
      },
      close: () => Promise.resolve(),
      kill: () => {
        dead = true;
        abandon?.();
      },
    };
  }
  return { connect, committed };
}

function readsOf(context: Context): Sync<Reads> {
  return {
    now: (): Instant => context.readClock(),
    ...hostReads(context),
    ...identityReads(context),
    ...deploymentReads(context),
    ...gaugeReads(context),
    ...rolloutReads(context),
    ...serviceReads(context),
    ...moveReads(context),
    ...lifecycleReads(context),
    ...eventReads(context),
    ...alertReads(context),
  };
}

function writesOf(context: Context): Sync<Omit<Tx, keyof Reads>> {
  return {
    ...hostWrites(context),
    ...reachabilityWrites(context),
    ...identityWrites(context),
    ...deploymentWrites(context),
    ...rolloutWrites(context),
    ...moveWrites(context),
    ...lifecycleWrites(context),
    ...eventWrites(context),
    ...alertWrites(context),
    writeBeats: (beats) => writeBeats(context, beats),
  };
}

type Statement = (...args: never[]) => unknown;
const mapValues = <T extends object>(object: T, wrap: (statement: Statement) => Statement): T =>
  Object.fromEntries(Object.entries(object).map(([name, statement]) => [name, wrap(statement as Statement)])) as T;
