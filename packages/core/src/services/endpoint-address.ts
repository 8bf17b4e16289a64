/**
 * Where callers reach a host: where the operator says it is, or else where its pinned registration said. Never what a
 * report says: an agent that could name its neighbour's address would take its callers there.
 */
import type { HostRecord } from "../ports/records.ts";
import type { PortSpec } from "../spec/spec.ts";

export type EndpointAddress = { readonly kind: "address"; readonly address: string } | { readonly kind: "none"; readonly because: string };

export function endpointAddress(host: Pick<HostRecord, "name" | "address" | "agentUrl">, port: Pick<PortSpec, "host_ip">): EndpointAddress {
  const base = bare(host.address ?? /^https:\/\/(\[[^\]]+\]|[^:/]+)/.exec(host.agentUrl ?? "")?.[1]);
  if (base === undefined) return { kind: "none", because: `no address of ${host.name} is known: it waits for one to be set on the host` };
  const bound = port.host_ip;
  if (bound === undefined || isWildcard(bound)) return { kind: "address", address: base };
  if (isLoopback(bound) && !isLoopback(base)) return { kind: "none", because: `it is published on ${bound} only, which nobody but ${host.name} itself can call: it waits for another host_ip in the spec` };
  return { kind: "address", address: bound };
}

const bare = (address: string | undefined): string | undefined => (address?.startsWith("[") === true ? address.slice(1, -1) : address);
const isWildcard = (ip: string): boolean => ip === "0.0.0.0" || ip === "::";
const isLoopback = (address: string): boolean => address.startsWith("127.") || address === "::1" || address === "localhost";
