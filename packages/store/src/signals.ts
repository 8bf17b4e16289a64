/**
 * LISTEN on a connection of its own. A signal says "look again" and nothing else, so losing one costs latency only;
 * after every reconnect all topics are signalled, because nobody knows what was missed.
 */
import { backoffMs, SIGNAL_TOPICS } from "@skep/core";
import type { Clock, Logger, Rng, SignalTopic } from "@skep/core";
import pg from "pg";
import { toStoreError } from "./errors.ts";
import { connectionConfig } from "./pools.ts";

/** Too long and a half-open connection keeps us deaf; too short is work for nothing. */
const KEEPALIVE_MS = 15_000;
const RECONNECT = { baseMs: 250, capMs: 10_000, floorMs: 100 };

export interface Signals {
  onSignal(listener: (topic: SignalTopic) => void): () => void;
  close(): Promise<void>;
}

export interface SignalsOptions {
  readonly url: string;
  readonly applicationName: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly rng: Rng;
}

/** Connects when the first listener comes. */
export function createSignals(options: SignalsOptions): Signals {
  const { logger, clock, rng } = options;
  const listeners = new Set<(topic: SignalTopic) => void>();
  const stop = new AbortController();
  let running: Promise<void> | undefined;

  const tell = (topic: string | undefined): void => {
    if (!(SIGNAL_TOPICS as readonly string[]).includes(topic ?? "")) return;
    for (const listener of listeners) {
      try {
        listener(topic as SignalTopic);
      } catch (error) {
        logger.error({ topic, error: error instanceof Error ? error.message : String(error) }, "a signal's listener threw");
      }
    }
  };

  async function listenOnce(): Promise<void> {
    const client = new pg.Client({ ...connectionConfig(options.url, `${options.applicationName}-signals`), idle_in_transaction_session_timeout: 0 });
    const over = new AbortController();
    const giveUp = (): void => over.abort();
    client.on("error", giveUp);
    client.on("end", giveUp);
    client.on("notification", (message) => tell(message.payload));
    stop.signal.addEventListener("abort", giveUp, { once: true });
    try {
      await client.connect();
      await client.query("LISTEN skep");
      for (const topic of SIGNAL_TOPICS) tell(topic);
      for (;;) {
        await clock.sleep(KEEPALIVE_MS, over.signal);
        if (over.signal.aborted) return;
        await client.query("SELECT 1");
      }
    } finally {
      stop.signal.removeEventListener("abort", giveUp);
      await client.end().catch(() => undefined);
    }
  }

  async function run(): Promise<void> {
    for (let attempt = 0; !stop.signal.aborted; ) {
      const startedMs = clock.mono();
      try {
        await listenOnce();
      } catch (error) {
        logger.warn({ error: toStoreError(error).message }, "the signal connection broke");
      }
      if (stop.signal.aborted) return;
      attempt = clock.mono() - startedMs > KEEPALIVE_MS ? 0 : attempt + 1;
      await clock.sleep(backoffMs(attempt, RECONNECT, rng), stop.signal);
    }
  }

  return {
    onSignal(listener) {
      listeners.add(listener);
      if (!stop.signal.aborted) running ??= run();
      return () => void listeners.delete(listener);
    },
    async close() {
      stop.abort();
      listeners.clear();
      await running;
    },
  };
}
