/** Hosts and their sessions. Invariant: a decommissioned host never changes again and answers to its id only. */
import { SkepError } from "@skep/core";
import type { HostQuery, HostRecord, HostView, Reads, Tx } from "@skep/core";
import { afterPage, byId, check, jsonCopy, nextCount, type Context, type Sync } from "./state.ts";

type HostReads = Sync<Pick<Reads, "findHost" | "listHosts" | "attentionCandidates" | "findHostView" | "listRing" | "listOrphans">>;
type HostWrites = Sync<Pick<Tx, "insertHost" | "casHostStatus" | "updateHost" | "recordProbe" | "resetBreakers" | "decommissionHost" | "openSession" | "bootReports">>;

export function viewOf({ state }: Context, host: HostRecord): HostView {
  const liveness = state.liveness.get(host.id);
  const report = state.reports.get(host.id);
  return {
    host,
    reachability: state.reachability.get(host.id),
    liveness: liveness && {
      hostId: liveness.hostId, lastHeartbeatAt: liveness.lastHeartbeatAt, bootId: liveness.bootId, seq: liveness.seq, opSeq: liveness.opSeq, phase: liveness.phase, observedAt: liveness.observedAt,
    },
    report: report && {
      hostId: report.hostId, bootId: report.bootId, opSeq: report.opSeq, receivedAt: report.receivedAt, sinceSeq: report.sinceSeq, jobIds: report.jobIds,
      jobsTruncated: report.jobsTruncated, resources: report.resources, capabilities: report.capabilities, observedError: report.observedError, cert: report.cert,
      boot: report.boot, orphans: report.orphans,
    },
  };
}

const byName = (a: Pick<HostRecord, "name" | "id">, b: Pick<HostRecord, "name" | "id">): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : byId(a, b));

export function hostReads(context: Context): HostReads {
  const { state } = context;
  const findHost = (idOrName: string): HostRecord | undefined => {
    const byKey = state.hosts.get(idOrName);
    if (byKey !== undefined) return byKey;
    for (const host of state.hosts.values()) if (host.name === idOrName && host.status !== "decommissioned") return host;
    return undefined;
  };
  const selected = (query: Pick<HostQuery, "status" | "labels" | "live" | "ids">): HostRecord[] => {
    const wanted = Object.entries(query.labels ?? {});
    return [...state.hosts.values()].filter(
      (host) =>
        (query.status === undefined || host.status === query.status) && (query.live !== true || host.status !== "decommissioned") &&
        (query.ids === undefined || query.ids.includes(host.id)) && wanted.every(([key, value]) => host.labels[key] === value),
    );
  };
  return {
    findHost,
    findHostView: (idOrName) => {
      const host = findHost(idOrName);
      return host && viewOf(context, host);
    },
    // All of them, which is too many and allowed.
    attentionCandidates: (query) => ({ ids: selected(query).map((host) => host.id), cut: false }),
    listHosts: (query) => {
      const hosts = selected(query);
      if (query.byName === undefined) return afterPage(hosts, query).map((host) => viewOf(context, host));
      const { after } = query.byName;
      const rest = hosts.sort(byName).filter((host) => after === undefined || byName(host, after) > 0);
      return rest.slice(0, query.limit).map((host) => viewOf(context, host));
    },
    listOrphans: (limit) =>
      [...state.hosts.values()].filter((host) => host.status !== "decommissioned").sort(byId).flatMap((host) => {
        const report = state.reports.get(host.id);
        return (report?.orphans ?? []).map((placement) => ({ hostId: host.id, hostName: host.name, reportedAt: report!.receivedAt, placement }));
      }).slice(0, limit),
    listRing: (hostId) => [...(state.rings.get(hostId)?.beats ?? [])].sort((a, b) => a.receivedAt - b.receivedAt || a.seq - b.seq),
  };
}

export function hostWrites(context: Context): HostWrites {
  const { state, policy, now } = context;
  const put = (host: HostRecord, patch: Partial<HostRecord>): void => state.hosts.set(host.id, { ...host, ...patch, version: host.version + 1 });
  const pinsChanged = (): void => {
    nextCount(state, "pins");
    context.signal("pins");
  };
  return {
    insertHost: (host) => {
      check(state.hosts.get(host.id) === undefined, "hosts_pkey");
      for (const other of state.hosts.values()) if (other.name === host.name && other.status !== "decommissioned") return "host_exists";
      state.hosts.set(host.id, {
        id: host.id, name: host.name, labels: jsonCopy(host.labels), notes: host.notes, address: host.address, agentPort: host.agentPort,
        allowedCidr: host.allowedCidr, status: "pending", statusBecause: undefined, schedulable: true, agentUrl: undefined, agentVersion: undefined,
        sessionEpoch: 0, sessionBootId: undefined, breakerResets: 0, lastProbe: undefined, createdAt: now(), enrolledAt: undefined, decommissionedAt: undefined, version: 1,
      });
      state.reachability.set(host.id, {
        hostId: host.id, state: "unknown", consecutiveFailures: 0, consecutiveSuccesses: 0, changedAt: undefined, lastProbeAt: undefined, lastOkAt: undefined, lastError: undefined,
        transitions: [], flapping: false, dueAt: now(), version: 1,
      });
      return "inserted";
    },
    casHostStatus: (id, from, to, because) => {
      const host = state.hosts.get(id);
      if (host === undefined || host.status === "decommissioned" || (host.status !== from && policy.compareAndSet)) return false;
      put(host, { status: to, statusBecause: because, ...(to === "enrolled" && host.enrolledAt === undefined ? { enrolledAt: now() } : {}) });
      pinsChanged();
      return true;
    },
    updateHost: (id, patch) => {
      const host = state.hosts.get(id);
      if (host !== undefined) put(host, jsonCopy(patch));
    },
    recordProbe: (id, ok, error) => {
      const host = state.hosts.get(id);
      if (host !== undefined) put(host, { lastProbe: { at: now(), ok, ...(error === undefined ? {} : { error }) } });
    },
    resetBreakers: (id) => {
      const host = state.hosts.get(id);
      if (host !== undefined) put(host, { breakerResets: host.breakerResets + 1 });
    },
    decommissionHost: (id) => {
      const host = state.hosts.get(id);
      if (host === undefined) throw new SkepError("host_not_found");
      if (host.status === "decommissioned") return false;
      put(host, { status: "decommissioned", statusBecause: "decommissioned by an operator", decommissionedAt: now(), schedulable: false, sessionEpoch: host.sessionEpoch + 1, sessionBootId: undefined });
      for (const cert of [...state.certs.values()]) if (cert.hostId === id) state.certs.set(cert.fingerprint, { ...cert, status: "revoked" });
      for (const token of [...state.tokens.values()]) if (token.hostId === id) state.tokens.set(token.id, { ...token, burned: true });
      state.reachability.delete(id);
      pinsChanged();
      return true;
    },
    bootReports: (hostIds) => new Map(hostIds.flatMap((id) => {
      const boot = state.reports.get(id)?.boot;
      return boot === undefined ? [] : [[id, boot] as const];
    })),
    openSession: (id, registration) => {
      const host = state.hosts.get(id);
      if (host === undefined || host.status === "decommissioned") return undefined;
      const sessionEpoch = host.sessionEpoch + 1;
      put(host, { sessionEpoch, sessionBootId: registration.bootId, agentVersion: registration.agentVersion, agentUrl: registration.agentUrl ?? host.agentUrl });
      return { sessionEpoch };
    },
  };
}
