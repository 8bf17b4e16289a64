/**
 * What a host's silence means. Silence is weighed against how long we have been listening: a master that has just
 * started has heard nothing from anybody, and that says something about the master (style 8).
 */
import type { Instant, Timings } from "../time.ts";

export const HOST_STATUSES = ["pending", "enrolled", "active", "suspect", "unreachable", "decommissioned"] as const;
export type HostStatus = (typeof HOST_STATUSES)[number];

/** One direct question to a silent host, and how it went. */
export interface ProbeResult {
  readonly at: Instant;
  readonly ok: boolean;
  readonly error?: string | undefined;
}

export interface HostEvidence {
  readonly status: HostStatus;
  readonly lastHeartbeatAt: Instant | undefined;
  /** The newest one-shot probe made since the host fell silent. */
  readonly probe: ProbeResult | undefined;
}

export interface HostVerdict {
  readonly status: HostStatus;
  readonly because: string;
  /** True when the verdict waits for a one-shot probe. */
  readonly wantsProbe: boolean;
}

export function decideHost(host: HostEvidence, listeningSince: Instant, now: Instant, timings: Timings): HostVerdict {
  const stay = (because: string, wantsProbe = false): HostVerdict => ({ status: host.status, because, wantsProbe });
  // Hosts that were never heard cannot fall silent; the tombstone never moves.
  if (host.status === "pending" || host.status === "enrolled" || host.status === "decommissioned") {
    return stay(`a host that is ${host.status} is not judged by silence`);
  }
  if (host.lastHeartbeatAt === undefined) return stay("no heartbeat on record");
  const age = now - host.lastHeartbeatAt;
  if (age <= timings.suspectAfterMs) return { status: "active", because: `heartbeat ${seconds(age)} old`, wantsProbe: false };
  const listening = now - listeningSince;
  if (listening < timings.warmUpMs) {
    return stay(`silent for ${seconds(age)}, but this master has listened for only ${seconds(listening)}`);
  }
  if (age >= timings.hardLimitMs) {
    return { status: "unreachable", because: `no heartbeat for ${seconds(age)}, past the hard limit`, wantsProbe: false };
  }
  if (age < timings.unreachableAfterMs) {
    // An unreachable host stays so until it speaks: going back to suspect on age alone would be a promotion by silence.
    if (host.status === "unreachable") return stay(`no heartbeat for ${seconds(age)}`);
    return { status: "suspect", because: `no heartbeat for ${seconds(age)}`, wantsProbe: false };
  }
  if (host.status === "unreachable") return stay(`no heartbeat for ${seconds(age)}`);
  const fresh = host.probe !== undefined && host.probe.at >= host.lastHeartbeatAt;
  if (!fresh) return { status: "suspect", because: `no heartbeat for ${seconds(age)}; probing it`, wantsProbe: true };
  if (host.probe.ok) {
    return { status: "suspect", because: `heartbeat_lost_but_reachable: no heartbeat for ${seconds(age)}, yet it answers`, wantsProbe: false };
  }
  return { status: "unreachable", because: `no heartbeat for ${seconds(age)} and the probe failed: ${host.probe.error ?? "no answer"}`, wantsProbe: false };
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
