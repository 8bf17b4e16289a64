/** What the prober claims and writes. Invariant: a claim moves `dueAt` and nothing else, a result everything but that. */
import { addMs } from "@skep/core";
import type { HostRecord, Instant, ProbeLane, Reachability, Tx } from "@skep/core";
import { byId, jsonCopy, type Context, type Sync } from "./state.ts";

const HAVE_A_CERTIFICATE: readonly string[] = ["enrolled", "active", "suspect", "unreachable"];
const JITTER_SHARE = 0.1;

export function reachabilityWrites({ state, policy }: Context): Sync<Pick<Tx, "lockReachability" | "casReachability">> {
  return {
    lockReachability: (hostIds) => [...new Set(hostIds)].sort().flatMap((id) => state.reachability.get(id) ?? []),
    casReachability: (changes) => changes.flatMap((change) => {
      const record = state.reachability.get(change.hostId);
      if (record === undefined || (record.version !== change.version && policy.compareAndSet)) return [];
      state.reachability.set(change.hostId, { ...jsonCopy(change), ...absent(change), dueAt: record.dueAt, version: record.version + 1 });
      return [change.hostId];
    }),
  };
}

/** What a JSON copy drops: a record always has all its fields. */
const absent = ({ changedAt, lastProbeAt, lastOkAt, lastError }: Omit<Reachability, "dueAt">): Pick<Reachability, "changedAt" | "lastProbeAt" | "lastOkAt" | "lastError"> => ({ changedAt, lastProbeAt, lastOkAt, lastError });

export function claimProbes({ state, now }: Context, lane: ProbeLane, limit: number, everyMs: number): readonly HostRecord[] {
  const due: { readonly host: HostRecord; readonly record: Reachability }[] = [];
  for (const record of state.reachability.values()) {
    if (record.dueAt > now() || (record.consecutiveFailures > 0) !== (lane === "failing")) continue;
    const host = state.hosts.get(record.hostId)!;
    const callable = host.agentUrl !== undefined || (host.address !== undefined && host.agentPort !== 0);
    if (!callable || !HAVE_A_CERTIFICATE.includes(host.status)) continue;
    if (record.dueAt > addMs(now(), -everyMs / 2)) due.push({ host, record });
    else state.reachability.set(record.hostId, { ...record, dueAt: addMs(now(), Math.ceil(chanceOf(record.hostId, now()) * everyMs)) });
  }
  due.sort((a, b) => a.record.dueAt - b.record.dueAt || byId(a.host, b.host));
  return due.slice(0, limit).map(({ host, record }) => {
    const spread = 1 - JITTER_SHARE + 2 * JITTER_SHARE * chanceOf(record.hostId, record.dueAt);
    state.reachability.set(record.hostId, { ...record, dueAt: addMs(record.dueAt, Math.round(everyMs * spread)) });
    return host;
  });
}

/** Uniform in [0, 1), and the same in every run: this store draws nothing. */
function chanceOf(id: string, at: Instant): number {
  let hash = 0x811c9dc5;
  for (const char of `${id} ${at}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}
