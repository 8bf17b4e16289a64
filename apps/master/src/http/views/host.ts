/** Hosts as the API shows them. */
import { addMs, toIso, visiblePlacement, type CallSummary, type CircuitView, type HostCert, type HostLiveness, type HostRecord, type HostReport, type Instant, type PlacementCounts, type PlacementFacts, type Reachability } from "@skep/core";
import type { HostHealthJson, HostJson } from "@skep/protocol";
import type { LoadedHealth } from "../health-facts.ts";
import { timeOrNull } from "./time.ts";

export const hostJson = (host: HostRecord, liveness: HostLiveness | undefined, report: HostReport | undefined, reachability: Reachability | undefined): HostJson => ({
  id: host.id,
  name: host.name,
  status: host.status,
  status_because: host.statusBecause ?? null,
  schedulable: host.schedulable,
  labels: { ...host.labels },
  notes: host.notes ?? null,
  address: host.address ?? null,
  agent_port: host.agentPort,
  agent_url: host.agentUrl ?? null,
  agent_version: host.agentVersion ?? null,
  session_epoch: host.sessionEpoch,
  last_heartbeat_at: timeOrNull(liveness?.lastHeartbeatAt),
  reachability: reachability?.state ?? "unknown",
  created_at: toIso(host.createdAt),
  enrolled_at: timeOrNull(host.enrolledAt),
  decommissioned_at: timeOrNull(host.decommissionedAt),
  boot: bootJson(report),
});

const bootJson = (report: HostReport | undefined): HostJson["boot"] =>
  report?.boot === undefined ? null : { ...report.boot, members: report.boot.members.map((member) => ({ ...member })) };

export function countPlacements(placements: readonly PlacementFacts[]): PlacementCounts {
  const counts = { total: placements.length, running: 0, degraded: 0, failed: 0, unknown: 0 };
  for (const facts of placements) {
    const { state } = visiblePlacement(facts);
    if (state === "teardown_failed") counts.failed += 1;
    else if (state === "running" || state === "degraded" || state === "failed" || state === "unknown") counts[state] += 1;
  }
  return counts;
}

/** The certificate that speaks for the host the longest from now. */
export const presentCert = (certs: readonly HostCert[]): HostCert | undefined =>
  certs.filter((cert) => cert.status === "active" || cert.status === "retiring").sort((a, b) => b.notAfter - a.notAfter)[0];

export const reachabilityJson = (seen: Reachability | undefined): HostHealthJson["reachability"] => ({
  state: seen?.state ?? "unknown",
  since: timeOrNull(seen?.changedAt),
  last_probe_at: timeOrNull(seen?.lastProbeAt),
  last_ok_at: timeOrNull(seen?.lastOkAt),
  consecutive_failures: seen?.consecutiveFailures ?? 0,
  last_error: seen?.lastError ?? null,
  flapping: seen?.flapping ?? false,
});

/** Its own times are monotonic and mean nothing outside of the process: shown by the database's clock. */
export const breakerJson = (circuit: CircuitView, now: Instant): NonNullable<HostHealthJson["breaker"]> => ({
  state: circuit.state,
  consecutive_failures: circuit.consecutiveFailures,
  opened_at: circuit.openedForMs === undefined ? null : toIso(addMs(now, -circuit.openedForMs)),
  retry_at: circuit.state === "closed" || circuit.retryInMs === undefined ? null : toIso(addMs(now, circuit.retryInMs)),
  cause: circuit.cause ?? null,
  because: circuit.because ?? null,
});

export const callsJson = (calls: CallSummary): HostHealthJson["metrics"] => ({
  window_s: calls.windowS,
  total_requests: calls.totalRequests,
  failed_requests: calls.failedRequests,
  error_rate: calls.errorRate,
  avg_latency_ms: calls.avgLatencyMs,
  p50_latency_ms: calls.p50LatencyMs,
  p99_latency_ms: calls.p99LatencyMs,
  bytes_sent: calls.bytesSent,
  bytes_received: calls.bytesReceived,
  throughput_bytes: calls.throughputBytes,
  throughput_bps: calls.throughputBps,
});

export function healthJson({ facts, judged, view, cert, calls }: LoadedHealth): HostHealthJson {
  const { host, liveness, report, reachability } = view;
  const { health, ageMs, missed, reasons } = judged;
  return {
    host_id: host.id,
    name: host.name,
    health,
    status: host.status,
    liveness: {
      last_heartbeat_at: timeOrNull(liveness?.lastHeartbeatAt),
      age_ms: ageMs ?? null,
      missed,
      boot_id: liveness?.bootId ?? null,
      agent_version: host.agentVersion ?? null,
      phase: liveness?.phase ?? null,
    },
    reachability: reachabilityJson(reachability),
    breaker: breakerJson(facts.circuit, facts.now),
    metrics: callsJson(calls),
    resources: report?.resources === undefined ? null : { ...report.resources },
    placements: { ...facts.placements },
    cert: cert === undefined ? null : { sha256: cert.fingerprint, not_after: toIso(cert.notAfter) },
    boot: bootJson(report),
    reasons: reasons.map(({ code, message, next, since }) => ({ code, message, next, since: timeOrNull(since) })),
  };
}
