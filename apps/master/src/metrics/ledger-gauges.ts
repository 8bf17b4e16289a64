/**
 * What the ledger says, read when somebody scrapes. Invariants: one statement at a time, however many scrape; an answer
 * is used for a few seconds; nobody waits longer than `PATIENCE_MS`; numbers that could not be read are absent from the
 * scrape, because old ones would be told as new.
 */
import { minorsApart, type Clock, type FleetGauges, type Logger, type Reads } from "@skep/core";
import type { Gauge } from "prom-client";
import type { MASTER_METRICS } from "./names.ts";
import type { Instruments } from "./registry.ts";

/** Two Prometheus servers that scrape at the same time ask the database once. Longer: the numbers lag behind the scrape. */
const FRESH_MS = 3_000;
/** Less than a scrape's own time-out (10 s by default) with what else it needs; longer than a busy database takes. */
const PATIENCE_MS = 2_000;

export interface LedgerGaugesDeps {
  readonly store: Pick<Reads, "fleetGauges">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly heartbeatIntervalMs: number;
  readonly version: string;
}

export interface LedgerGauges {
  /** Sets the gauges, or takes them away and counts an error. */
  refresh(): Promise<void>;
}

export function createLedgerGauges(deps: LedgerGaugesDeps, instruments: Instruments<typeof MASTER_METRICS>): LedgerGauges {
  const { store, clock, logger } = deps;
  let last: { readonly atMs: number; readonly gauges: FleetGauges } | undefined;
  let reading: Promise<FleetGauges> | undefined;
  let away = false;
  const { hosts, hostsLate, hostsReachability, hostsAgentVersion, hostsVersionSkewed, hostCertExpiry, lifecycleOpen, rolloutsOpen, rolloutStalled } = instruments;
  const labelled: readonly (readonly [Gauge, string, (gauges: FleetGauges) => Readonly<Record<string, number>>])[] = [
    [hosts, "liveness", (gauges) => gauges.hosts],
    [hostsReachability, "state", (gauges) => gauges.reachability],
    [hostsAgentVersion, "version", ({ agentVersions }) => Object.fromEntries(agentVersions.map(({ version, hosts: count }) => [version, count]))],
    [lifecycleOpen, "operation", (gauges) => gauges.openRows],
    [rolloutsOpen, "status", (gauges) => gauges.rollouts],
  ];
  const plain: readonly (readonly [Gauge, (gauges: FleetGauges) => number | undefined])[] = [
    [hostsLate, (gauges) => gauges.lateHosts],
    [hostsVersionSkewed, ({ agentVersions }) => agentVersions.reduce((sum, { version, hosts: count }) => sum + ((minorsApart(version, deps.version) ?? 0) > 1 ? count : 0), 0)],
    [hostCertExpiry, ({ firstCertEnd }) => (firstCertEnd === undefined ? undefined : firstCertEnd / 1_000)],
    [rolloutStalled, (gauges) => gauges.rolloutStalledMs / 1_000],
  ];

  const read = (): Promise<FleetGauges> => {
    reading ??= store.fleetGauges({ lateAfterMs: deps.heartbeatIntervalMs * 2 }).then((gauges) => {
      last = { atMs: clock.mono(), gauges };
      return gauges;
    }).finally(() => {
      reading = undefined;
    });
    return reading;
  };

  const bounded = async (): Promise<FleetGauges | undefined> => {
    if (last !== undefined && clock.mono() - last.atMs < FRESH_MS) return last.gauges;
    const done = new AbortController();
    const answer = read();
    // Whoever has stopped waiting must not leave a rejection that nobody hears.
    answer.catch(() => undefined);
    try {
      return await Promise.race([answer, clock.sleep(PATIENCE_MS, done.signal).then(() => undefined)]);
    } finally {
      done.abort();
    }
  };

  const clear = (): void => {
    for (const [gauge] of labelled) gauge.reset();
    // `reset` would set these to 0, and "no host is late" is not what we know.
    for (const [gauge] of plain) gauge.remove();
  };

  const show = (gauges: FleetGauges): void => {
    for (const [gauge, label, pick] of labelled) for (const [value, count] of Object.entries(pick(gauges))) gauge.set({ [label]: value }, count);
    for (const [gauge, pick] of plain) {
      const value = pick(gauges);
      if (value !== undefined) gauge.set(value);
    }
  };

  return {
    async refresh() {
      const gauges = await bounded().catch((err: unknown) => {
        if (!away) logger.warn({ err }, "the ledger's metrics could not be read; scrapes go on without them");
        return undefined;
      });
      away = gauges === undefined;
      clear();
      if (gauges === undefined) instruments.scrapeErrors.inc();
      else show(gauges);
    },
  };
}
