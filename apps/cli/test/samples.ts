/** Replies as a master gives them. */
import type { AcceptedOperation, DeploymentJson, EventJson, HostHealthJson, HostJson, LifecycleJson, PlacementJson } from "@skep/protocol";
import { ago } from "./fake-api.ts";

export const uuid = (n: number): string => `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;

export const host = (name: string, over: Partial<HostJson> = {}): HostJson => ({
  id: uuid(100), name, status: "active", status_because: null, schedulable: true, labels: { zone: "eu1" }, notes: null, address: "10.0.0.11", agent_port: 8444, agent_url: "https://10.0.0.11:8444",
  agent_version: "0.1.0", session_epoch: 1, last_heartbeat_at: ago(12), created_at: ago(7_200), enrolled_at: ago(7_100), decommissioned_at: null, boot: null, reachability: "reachable", ...over,
});

export const hostHealth = (name: string, over: Partial<HostHealthJson> = {}): HostHealthJson => ({
  host_id: uuid(100), name, health: "healthy", status: "active", liveness: { last_heartbeat_at: ago(12), age_ms: 12_000, missed: 0, boot_id: "b", agent_version: "0.1.0", phase: "ready" },
  reachability: { state: "reachable", since: ago(3_600), last_probe_at: ago(20), last_ok_at: ago(20), consecutive_failures: 0, last_error: null, flapping: false },
  breaker: { state: "closed", consecutive_failures: 0, opened_at: null, retry_at: null, cause: null, because: null },
  metrics: { window_s: 300, total_requests: 40, failed_requests: 0, error_rate: 0, avg_latency_ms: 12.4, p50_latency_ms: 11, p99_latency_ms: 48, bytes_sent: 900, bytes_received: 2_100, throughput_bytes: 3_000, throughput_bps: 10 },
  resources: null, placements: { total: 2, running: 2, degraded: 0, failed: 0, unknown: 0 }, cert: { sha256: "ab".repeat(32), not_after: ago(-86_400) }, boot: null, reasons: [], ...over,
});
/** Silent, not reachable, and its circuit open. */
export const goneHost = (name: string): HostHealthJson => hostHealth(name, {
  health: "unhealthy", status: "unreachable", liveness: { last_heartbeat_at: ago(250), age_ms: 250_000, missed: 8, boot_id: "b", agent_version: "0.1.0", phase: "ready" },
  reachability: { state: "unreachable", since: ago(120), last_probe_at: ago(10), last_ok_at: ago(240), consecutive_failures: 4, last_error: "connect ETIMEDOUT", flapping: false },
  breaker: { state: "open", consecutive_failures: 5, opened_at: ago(30), retry_at: ago(-30), cause: "failures", because: "connect ETIMEDOUT" },
  metrics: { ...hostHealth("").metrics!, total_requests: 8, failed_requests: 5, error_rate: 0.625, avg_latency_ms: 3_125, p99_latency_ms: 5_000 },
  placements: { total: 3, running: 0, degraded: 0, failed: 0, unknown: 3 },
  reasons: [{ code: "unreachable", message: "No heartbeat for 4m10s. What runs there is unknown.", next: "Check the machine.", since: ago(250) }],
});

export const row = (n: number, over: Partial<LifecycleJson> = {}): LifecycleJson => ({
  id: uuid(n), deployment_id: uuid(900), deployment: "web", placement_id: uuid(500 + n), host_id: uuid(100 + n), host: `host-${n}`, operation: "deploy", status: "succeeded", phase: "working", generation: 3, epoch: 1,
  error: null, failure_code: null, because: null, steps: [], dispatch_attempts: 1, cancel_reason: null, retry_of: null, started_at: ago(30), sent_at: ago(29), running_at: ago(28), updated_at: ago(5), completed_at: ago(5), agent_completed_at: ago(5), ...over,
});
export const rowList = (...items: LifecycleJson[]): object => ({ items, rows: items, next_cursor: null });

export const accepted = (...ids: number[]): AcceptedOperation => ({
  deployment_id: uuid(900), name: "web", generation: 3, rollout_id: null, lifecycle_ids: ids.map(uuid), warnings: [],
  placements: ids.map((n) => ({ placement_id: uuid(500 + n), host_id: uuid(100 + n), host: `host-${n}`, lifecycle_id: uuid(n), operation: "deploy" })),
});

export const placement = (n: number, over: Partial<PlacementJson> = {}): PlacementJson => ({
  id: uuid(500 + n), deployment_id: uuid(900), deployment: "web", host_id: uuid(100 + n), host: `host-${n}`, desired: "running", epoch: 1, generation: 3, applied_generation: 3, state: "running",
  because: "the host reports it running", open_lifecycle_id: null, removed_at: null,
  observed: { state: "running", generation: 3, observed_at: ago(3), components: [{ name: "web", state: "running", restarts: 0, ports: { http: 20_000 + n }, since: ago(60), error: null }] }, ...over,
});

export const deployment = (name: string, over: Partial<DeploymentJson> = {}): DeploymentJson => ({
  id: uuid(900), name, status: "active", desired: "running", generation: 3, reconcile: "auto", placement: { replicas: 2 }, failover: { fallbacks: [] }, last_error: null, created_at: ago(7_200), updated_at: ago(90), deleted_at: null, ...over,
});
export const detail = (name: string, placements: readonly PlacementJson[]): object => ({
  ...deployment(name), spec: { driver: "process", components: [] }, spec_hash: "0".repeat(64), placements, counts: { succeeded: placements.length, failed: 0, pending: 0 }, rollout: null, generations: [{ generation: 3, spec_hash: "0".repeat(64), created_at: ago(90) }],
});

export const event = (n: number, over: Partial<EventJson> = {}): EventJson => ({
  cursor: `lineage.${n}.${n}`, at: ago(100 - n), kind: "lifecycle.succeeded", severity: "info", message: `event ${n}`, host_id: null, host: null, deployment_id: null, placement_id: null, lifecycle_id: null, data: null, ...over,
});

export const list = (...items: unknown[]): object => ({ items, next_cursor: null });
