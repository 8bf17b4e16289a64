/** Replies as a master gives them. */
import type { AcceptedOperation, DeploymentJson, EventJson, HostJson, LifecycleJson, PlacementJson } from "@skep/protocol";
import { ago } from "./fake-api.ts";

export const uuid = (n: number): string => `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;

export const host = (name: string, over: Partial<HostJson> = {}): HostJson => ({
  id: uuid(100), name, status: "active", status_because: null, schedulable: true, labels: { zone: "eu1" }, notes: null, address: "10.0.0.11", agent_port: 8444, agent_url: "https://10.0.0.11:8444",
  agent_version: "0.1.0", session_epoch: 1, last_heartbeat_at: ago(12), created_at: ago(7_200), enrolled_at: ago(7_100), decommissioned_at: null, boot: null, ...over,
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
