/** A small fleet in which everything is somewhere. */
import type { HostHealthJson } from "@skep/protocol";
import { goneHost, hostHealth } from "./samples.ts";
import { ago } from "./fake-api.ts";

const usual = hostHealth("");
export const TOP: readonly HostHealthJson[] = [
  goneHost("web-02"),
  hostHealth("db-1", {
    health: "degraded", status: "suspect", liveness: { ...usual.liveness, age_ms: 48_000, missed: 1 }, breaker: { ...usual.breaker!, state: "half_open", consecutive_failures: 5, opened_at: ago(60), cause: "failures" },
    metrics: { ...usual.metrics!, failed_requests: 1, error_rate: 0.025, p99_latency_ms: 480 }, placements: { total: 2, running: 1, degraded: 1, failed: 0, unknown: 0 },
    // As a hostile host would have it: it must not move the cursor.
    reasons: [{ code: "heartbeat_late", message: "The last heartbeat is 48 s old\nand\u001b[2J clears the screen", next: "Wait.", since: ago(48) }],
  }),
  hostHealth("collector-7", {
    health: "unknown", status: "pending", liveness: { last_heartbeat_at: null, age_ms: null, missed: 0, boot_id: null, agent_version: null, phase: null }, reachability: { ...usual.reachability, state: "unknown", since: null, last_probe_at: null, last_ok_at: null },
    metrics: { ...usual.metrics!, total_requests: 0, avg_latency_ms: null, p50_latency_ms: null, p99_latency_ms: null }, placements: { total: 0, running: 0, degraded: 0, failed: 0, unknown: 0 },
    reasons: [{ code: "not_enrolled", message: "Its enrolment bundle has not been redeemed yet.", next: "Run it.", since: ago(100) }],
  }),
  hostHealth("web-01"),
];
