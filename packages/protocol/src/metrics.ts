/** Metrics on the wire: Prometheus' text format, the same from masters and agents. */

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
/** What a master reads of one agent's metrics. An agent has some 20 KiB of them. */
export const METRICS_LIMIT_BYTES = 1_048_576;

/** One metric as it is registered, documented and tested: the tables of both apps are made of these. */
export interface MetricRow {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  readonly help: string;
  /** Of histograms: upper bounds in the metric's unit. */
  readonly buckets?: readonly number[];
}
