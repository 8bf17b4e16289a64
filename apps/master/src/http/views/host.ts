/** Hosts as the API shows them. */
import { decideHealth, toIso, visiblePlacement, type HealthFacts, type HostCert, type HostLiveness, type HostRecord, type HostReport, type HostView, type PlacementCounts, type PlacementView } from "@skep/core";
import type { HostHealthJson, HostJson } from "@skep/protocol";
import { timeOrNull } from "./time.ts";

export const hostJson = (host: HostRecord, liveness: HostLiveness | undefined, report: HostReport | undefined): HostJson => ({
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
  created_at: toIso(host.createdAt),
  enrolled_at: timeOrNull(host.enrolledAt),
  decommissioned_at: timeOrNull(host.decommissionedAt),
  boot: bootJson(report),
});

const bootJson = (report: HostReport | undefined): HostJson["boot"] =>
  report?.boot === undefined ? null : { ...report.boot, members: report.boot.members.map((member) => ({ ...member })) };

export function countPlacements(views: readonly PlacementView[]): PlacementCounts {
  const counts = { running: 0, degraded: 0, failed: 0, unknown: 0 };
  for (const view of views) {
    const { state } = visiblePlacement(view);
    if (state === "teardown_failed") counts.failed += 1;
    else if (state === "running" || state === "degraded" || state === "failed" || state === "unknown") counts[state] += 1;
  }
  return counts;
}

/** The certificate that speaks for the host the longest from now. */
export const presentCert = (certs: readonly HostCert[]): HostCert | undefined =>
  certs.filter((cert) => cert.status === "active" || cert.status === "retiring").sort((a, b) => b.notAfter - a.notAfter)[0];

export function healthJson(facts: HealthFacts, view: HostView, cert: HostCert | undefined): HostHealthJson {
  const { host, liveness, report } = view;
  const { health, ageMs, missed, reachability, reasons } = decideHealth(facts);
  const probe = host.lastProbe;
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
    reachability: {
      state: reachability,
      last_probe_at: timeOrNull(probe?.at),
      last_ok_at: probe?.ok === true ? toIso(probe.at) : null,
      // One-shot probes are not counted until host health (issue 3) probes for its own sake.
      consecutive_failures: null,
      last_error: probe?.error ?? null,
    },
    breaker: null,
    metrics: null,
    resources: report?.resources === undefined ? null : { ...report.resources },
    placements: { ...facts.placements },
    cert: cert === undefined ? null : { sha256: cert.fingerprint, not_after: toIso(cert.notAfter) },
    boot: bootJson(report),
    reasons: reasons.map(({ code, message, next }) => ({ code, message, next })),
  };
}
