/** A registry of its own for each agent, so that two in one process do not count together. */
import type { MetricRow } from "@skep/protocol";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

type Instrument<R extends MetricRow> = R["type"] extends "counter" ? Counter : R["type"] extends "gauge" ? Gauge : Histogram;
export type Instruments<T extends Readonly<Record<string, MetricRow>>> = { readonly [K in keyof T]: Instrument<T[K]> };

/** Gauges with a counter's ending, which promtool rightly refuses; the same numbers by kind are beside them. */
const MISNAMED = ["nodejs_active_handles_total", "nodejs_active_requests_total", "nodejs_active_resources_total"];

export function createInstruments<T extends Readonly<Record<string, MetricRow>>>(registry: Registry, table: T): Instruments<T> {
  const make = ({ name, type, labels, help, buckets }: MetricRow): Counter | Gauge | Histogram => {
    const common = { name, help, labelNames: [...labels], registers: [registry] };
    if (type === "counter") return new Counter(common);
    return type === "gauge" ? new Gauge(common) : new Histogram({ ...common, ...(buckets === undefined ? {} : { buckets: [...buckets] }) });
  };
  return Object.fromEntries(Object.entries(table).map(([key, row]) => [key, make(row)])) as Instruments<T>;
}

/** Between two looks at the event loop; its lag is told with this in it. Shorter costs CPU: 10 ms, the library's own, are a hundredth of a core of every host, for nothing. */
const LOOP_LOOK_MS = 50;

/** Memory, CPU, event loop, garbage collection. Watches the process for as long as it lives: once per process, from its main. */
export function watchProcess(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LOOP_LOOK_MS });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
}

export { Registry };
