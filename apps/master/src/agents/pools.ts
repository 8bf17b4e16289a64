/**
 * One small connection pool per host, and the only place where the master opens a connection to an agent.
 * Invariants: a connection is made only to an address that the policy allowed and only to a peer whose certificate is
 * one of the host's pins at that moment; a pool whose host, address or credentials changed is dropped, because a kept
 * connection would outlive the certificate that opened it (faults S20).
 */
import type { Clock, HostRecord } from "@skep/core";
import { clientContext, clientTls, type Credentials, type ExpectedPeer } from "@skep/pki";
import { Pool, type buildConnector } from "undici";
import { resolveAgentAddress, type AddressPolicy } from "./address.ts";

export interface PoolDeps {
  /** The master's own credentials, read at each new pool. */
  readonly identity: () => Credentials;
  /** Pins of a host that are good now; asked at every new connection. */
  readonly pinsOf: (hostId: string) => ReadonlySet<string>;
  readonly trustDomain: string;
  readonly allowLoopbackAgents: boolean;
  readonly clock: Clock;
}

/** Too short fails hosts behind a slow link; too long holds a dispatch slot for one that is gone. */
export const CONNECT_TIMEOUT_MS = 5_000;
/** Kept open between deliveries; a handshake costs twenty times a request. The agent may ask for less. */
const KEEP_ALIVE_MS = 120_000;

interface Entry {
  readonly address: string;
  readonly pool: Promise<Pool>;
}

export interface PoolKind {
  /** Connections per host. */
  readonly connections: number;
  /** What is running ends with its pool: a stream may go on for an hour after the pin that admitted it was revoked. */
  readonly cut: boolean;
}
/** A burst of jobs for one host must not wait for one slow answer. */
export const SHORT_CALLS: PoolKind = { connections: 4, cut: false };
/** Apart from the short calls, so that commands that run for long never hold up a job. One more than an agent runs at once. */
export const LONG_STREAMS: PoolKind = { connections: 9, cut: true };

export interface Pools {
  /** The pool for the host's present address. Throws `address_refused`, or the resolver's error. */
  poolFor(host: HostRecord): Promise<Pool>;
  /** Lets running requests end (or cuts them, by kind) and opens anew from then on. */
  forget(hostId: string): void;
  forgetAll(): void;
  close(): Promise<void>;
}

/** `https://…` of the host's agent: its own word at registration, else the operator's. */
export function agentUrlOf(host: HostRecord): string | undefined {
  if (host.agentUrl !== undefined) return host.agentUrl;
  if (host.address === undefined || host.agentPort === 0) return undefined;
  return `https://${host.address.includes(":") && !host.address.startsWith("[") ? `[${host.address}]` : host.address}:${host.agentPort}`;
}

export function createPools(deps: PoolDeps, kind: PoolKind): Pools {
  const entries = new Map<string, Entry>();
  let shared: { readonly of: Credentials; readonly context: ReturnType<typeof clientContext> } | undefined;
  const contextOf = (credentials: Credentials): ReturnType<typeof clientContext> => {
    if (shared?.of.certPem !== credentials.certPem || shared.of.caPem !== credentials.caPem) shared = { of: credentials, context: clientContext(credentials) };
    return shared.context;
  };

  const open = async (host: HostRecord, address: string): Promise<Pool> => {
    const policy: AddressPolicy = { allowLoopback: deps.allowLoopbackAgents, allowedCidr: host.allowedCidr };
    const { url, ip } = await resolveAgentAddress(address, policy);
    const credentials = deps.identity();
    const expect: ExpectedPeer = {
      role: "host",
      hostId: host.id,
      get fingerprints() {
        return deps.pinsOf(host.id);
      },
    };
    // The origin is the literal address that was judged; who answers there is the certificate's business.
    return new Pool(`https://${ip.includes(":") ? `[${ip}]` : ip}:${url.port === "" ? "443" : url.port}`, {
      connections: kind.connections,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // undici's own type knows fewer TLS options than it hands to tls.connect.
      connect: { ...clientTls({ trustDomain: deps.trustDomain, caPem: credentials.caPem, context: contextOf(credentials), expect }), timeout: CONNECT_TIMEOUT_MS } as buildConnector.BuildOptions,
    });
  };

  const drop = (entry: Entry): Promise<void> => entry.pool.then((pool) => (kind.cut ? pool.destroy() : pool.close())).catch(() => undefined);

  return {
    async poolFor(host) {
      const address = agentUrlOf(host) ?? "";
      const known = entries.get(host.id);
      if (known?.address === address) return known.pool;
      if (known !== undefined) void drop(known);
      const entry: Entry = { address, pool: open(host, address) };
      entries.set(host.id, entry);
      try {
        return await entry.pool;
      } catch (error) {
        if (entries.get(host.id) === entry) entries.delete(host.id);
        throw error;
      }
    },
    forget: (hostId) => {
      const entry = entries.get(hostId);
      if (entry === undefined) return;
      entries.delete(hostId);
      void drop(entry);
    },
    forgetAll: () => {
      for (const entry of entries.values()) void drop(entry);
      entries.clear();
    },
    close: async () => {
      const all = [...entries.values()];
      entries.clear();
      await Promise.all(all.map((entry) => entry.pool.then((pool) => pool.destroy()).catch(() => undefined)));
    },
  };
}
