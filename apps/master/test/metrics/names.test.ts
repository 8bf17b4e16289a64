/** The names that were promised, copied from where they were promised: a metric that is renamed breaks somebody's dashboard. */
import { findPrometheus, promtool } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { MASTER_METRICS } from "../../src/metrics/names.ts";
import { createInstruments, Registry, watchProcess } from "../../src/metrics/registry.ts";

/** Section M of the capabilities, and H6. */
const PROMISED: readonly (readonly [name: string, labels: readonly string[]])[] = [
  ["master_hosts", ["liveness"]],
  ["master_lifecycle_open", ["operation"]],
  ["master_lifecycle_total", ["operation", "status"]],
  ["master_sweep_rows_total", ["reason"]],
  ["master_sweep_duration_seconds", []],
  ["master_breaker_state", ["host"]],
  ["master_breaker_transitions_total", ["to"]],
  ["master_heartbeats_total", ["result"]],
  ["master_deltas_total", ["result"]],
  ["master_failovers_total", ["strategy", "result"]],
  ["master_agent_request_duration_seconds", []],
  ["master_dependency_checks_total", ["result"]],
  ["master_dependency_wait_duration_seconds", []],
  ["master_agent_requests_total", ["host", "outcome"]],
  ["master_agent_bytes_total", ["host", "direction"]],
  ["master_breakers", ["state"]],
  ["master_hosts_reachability", ["state"]],
  ["master_probes_total", ["result"]],
  ["master_probe_duration_seconds", []],
  ["master_build_info", ["version", "node"]],
  ["master_metrics_hosts_folded", []],
  ["master_scrape_errors_total", []],
];
const rows = Object.values(MASTER_METRICS);

test.each(PROMISED)("%s is there with its labels", (name, labels) => {
  expect(rows.find((row) => row.name === name)).toMatchObject({ labels });
});

test("names are unique, are what their type says, and no histogram has a host", () => {
  expect(new Set(rows.map((row) => row.name)).size).toBe(rows.length);
  for (const { name, type, labels, help } of rows) {
    expect(name.endsWith("_total"), name).toBe(type === "counter");
    if (type === "histogram") expect(labels, name).not.toContain("host");
    expect(help, name).toMatch(/\.$/);
  }
});

test("every row of the table is registered, and nothing else is but what Node tells", async () => {
  const registry = new Registry();
  createInstruments(registry, MASTER_METRICS);
  expect(registry.getMetricsAsArray().map((metric) => metric.name).sort()).toEqual(rows.map((row) => row.name).sort());
  watchProcess(registry);
  const text = await registry.metrics();
  for (const name of ["process_cpu_seconds_total", "process_resident_memory_bytes", "nodejs_eventloop_lag_p99_seconds", "nodejs_gc_duration_seconds"]) expect(text).toContain(`# TYPE ${name} `);
});

describe.skipIf("missing" in findPrometheus())("promtool", () => {
  test("finds nothing to mend; and does in what Node would have told", async () => {
    const registry = new Registry();
    createInstruments(registry, MASTER_METRICS);
    watchProcess(registry);
    expect(await promtool(["check", "metrics"], { input: await registry.metrics() })).toEqual({ code: 0, output: "" });
    expect(await promtool(["check", "metrics"], { input: "# HELP nodejs_active_handles_total x.\n# TYPE nodejs_active_handles_total gauge\nnodejs_active_handles_total 1\n" })).toMatchObject({ code: 3 });
  });
});
