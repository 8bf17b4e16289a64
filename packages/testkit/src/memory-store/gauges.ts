/** The numbers of a scrape, counted over the tables in memory. */
import { instant, isTerminal, MAX_AGENT_VERSIONS } from "@skep/core";
import type { FleetGauges, Reads } from "@skep/core";
import type { Context, Sync } from "./state.ts";

export function gaugeReads({ state, now }: Context): Sync<Pick<Reads, "fleetGauges">> {
  return {
    fleetGauges: ({ lateAfterMs }): FleetGauges => {
      const hosts = { pending: 0, enrolled: 0, active: 0, suspect: 0, unreachable: 0, decommissioned: 0 };
      const reachability = { unknown: 0, reachable: 0, unreachable: 0 };
      const openRows = { deploy: 0, mutate: 0, teardown: 0 };
      const rollouts = { running: 0, paused: 0, rolling_back: 0 };
      const versions = new Map<string, number>();
      let lateHosts = 0;
      for (const { id, status, agentVersion } of state.hosts.values()) {
        hosts[status] += 1;
        if (status === "decommissioned") continue;
        if (agentVersion !== undefined) versions.set(agentVersion, (versions.get(agentVersion) ?? 0) + 1);
        if (status === "pending") continue;
        reachability[state.reachability.get(id)?.state ?? "unknown"] += 1;
        const heardAt = state.liveness.get(id)?.lastHeartbeatAt;
        if ((status === "active" || status === "suspect") && heardAt !== undefined && heardAt < now() - lateAfterMs) lateHosts += 1;
      }
      for (const row of state.lifecycle.values()) if (!isTerminal(row.status)) openRows[row.operation] += 1;
      let stalledSince = Number.POSITIVE_INFINITY;
      for (const { status, progressAt } of state.rollouts.values()) {
        if (status !== "running" && status !== "paused" && status !== "rolling_back") continue;
        rollouts[status] += 1;
        if (status !== "paused") stalledSince = Math.min(stalledSince, progressAt);
      }
      const ends = [...state.certs.values()].filter((cert) => {
        const host = state.hosts.get(cert.hostId)?.status;
        return cert.status === "active" && host !== undefined && host !== "pending" && host !== "decommissioned";
      }).map((cert) => cert.notAfter);
      return {
        hosts, lateHosts, reachability, openRows, rollouts,
        agentVersions: [...versions].map(([version, count]) => ({ version, hosts: count }))
          .sort((a, b) => b.hosts - a.hosts || (a.version < b.version ? -1 : 1)).slice(0, MAX_AGENT_VERSIONS),
        rolloutStalledMs: Number.isFinite(stalledSince) ? Math.max(0, now() - stalledSince) : 0,
        firstCertEnd: ends.length === 0 ? undefined : instant(Math.min(...ends)),
      };
    },
  };
}
