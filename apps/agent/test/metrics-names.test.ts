/** The names that were promised, copied from where they were promised: a metric that is renamed breaks somebody's dashboard. */
import { findPrometheus, promtool } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { AGENT_METRICS } from "../src/metrics/names.ts";
import { createInstruments, Registry, watchProcess } from "../src/metrics/registry.ts";

/** Section M of the capabilities. */
const PROMISED: readonly (readonly [name: string, labels: readonly string[]])[] = [
  ["worker_agent_startup_total", []],
  ["worker_agent_registered_total", []],
  ["worker_agent_heartbeat_total", ["status"]],
  ["worker_agent_deregistered_total", []],
  ["worker_agent_tickets_consumed_total", ["task_type"]],
  ["worker_agent_tickets_processing_total", ["task_type"]],
  ["worker_agent_tickets_completed_total", ["task_type"]],
  ["worker_agent_tickets_failed_total", ["task_type", "error_type"]],
  ["worker_agent_active_tasks", []],
  ["worker_agent_task_duration_seconds", ["task_type"]],
  ["worker_agent_dependency_checks_total", ["result"]],
  ["worker_agent_dependency_wait_duration_seconds", []],
  ["worker_agent_task_retries_total", ["task_type", "attempt"]],
  ["worker_agent_tasks_cancelled_total", ["reason"]],
  ["worker_agent_ticket_api_calls_total", ["method", "status"]],
  ["worker_agent_results_published_total", ["status"]],
  ["worker_agent_outbox_size", []],
  ["worker_agent_jobs_total", ["operation", "status"]],
  ["worker_agent_boot_stage_state", ["stage"]],
  ["worker_agent_lease_expires_seconds", ["deployment"]],
  ["worker_agent_build_info", ["version", "node"]],
];
const rows = Object.values(AGENT_METRICS);

test.each(PROMISED)("%s is there with its labels", (name, labels) => {
  expect(rows.find((row) => row.name === name)).toMatchObject({ labels });
});

test("the buckets of a task's duration are the promised ones", () => {
  expect(AGENT_METRICS.taskDuration.buckets).toEqual([1, 5, 10, 30, 60, 120, 300, 600]);
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
  createInstruments(registry, AGENT_METRICS);
  expect(registry.getMetricsAsArray().map((metric) => metric.name).sort()).toEqual(rows.map((row) => row.name).sort());
  watchProcess(registry);
  const text = await registry.metrics();
  for (const name of ["process_cpu_seconds_total", "process_resident_memory_bytes", "nodejs_eventloop_lag_p99_seconds", "nodejs_gc_duration_seconds"]) expect(text).toContain(`# TYPE ${name} `);
});

describe.skipIf("missing" in findPrometheus())("promtool", () => {
  test("finds nothing to mend; and does in what Node would have told", async () => {
    const registry = new Registry();
    createInstruments(registry, AGENT_METRICS);
    watchProcess(registry);
    expect(await promtool(["check", "metrics"], { input: await registry.metrics() })).toEqual({ code: 0, output: "" });
    expect(await promtool(["check", "metrics"], { input: "# HELP nodejs_active_handles_total x.\n# TYPE nodejs_active_handles_total gauge\nnodejs_active_handles_total 1\n" })).toMatchObject({ code: 3 });
  });
});
