/** Ports as the engine tells them, read as what they are: structured, by number and protocol, both address families (defects 1-8, 1-9). Pure. */
import type { PortSpec } from "@skep/core";
import type { Inspected } from "./engine.ts";

export const portKey = (port: PortSpec): string => `${port.container}/${port.protocol}`;

/** Host ports by port name: what somebody outside of the container connects to. Unpublished ones are left out. */
export function publishedPorts(specs: readonly PortSpec[], seen: Pick<Inspected, "HostConfig" | "NetworkSettings">): Record<string, number> {
  const ports: Record<string, number> = {};
  for (const spec of specs) {
    if (spec.container === undefined) continue;
    if (seen.HostConfig?.NetworkMode === "host") ports[spec.name] = spec.container;
    const port = hostPortOf(seen, spec);
    if (port !== undefined) ports[spec.name] = port;
  }
  return ports;
}

function hostPortOf(seen: Pick<Inspected, "NetworkSettings">, spec: PortSpec): number | undefined {
  const bindings = seen.NetworkSettings?.Ports?.[portKey(spec)] ?? [];
  // An engine may publish IPv4 and IPv6 on different ports; people and siblings try IPv4 first.
  const sorted = [...bindings].sort((a, b) => Number(isV6(a.HostIp)) - Number(isV6(b.HostIp)));
  return sorted.map(({ HostPort }) => Number(HostPort)).find((port) => Number.isInteger(port) && port >= 1 && port <= 65_535);
}

const isV6 = (address: string | undefined): boolean => address?.includes(":") === true;

/** Where the component itself listens: a published port would be answered by the engine's proxy even when nobody does. */
export function insideAddress(seen: Pick<Inspected, "HostConfig" | "NetworkSettings">): string | undefined {
  if (seen.HostConfig?.NetworkMode === "host") return "127.0.0.1";
  const ends = Object.values(seen.NetworkSettings?.Networks ?? {}).flatMap((end) => end ?? []);
  const of = (field: "IPAddress" | "GlobalIPv6Address"): string | undefined => ends.map((end) => end[field]).find((address) => address !== undefined && address !== "");
  return of("IPAddress") ?? of("GlobalIPv6Address");
}

/** Whether two fixed host ports cannot both be held. */
export function clashes(a: { readonly ip?: string | undefined; readonly port: number; readonly protocol: string }, b: typeof a): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol) return false;
  const any = (ip: string | undefined): boolean => ip === undefined || ip === "" || ip === "0.0.0.0" || ip === "::";
  return any(a.ip) || any(b.ip) || a.ip === b.ip;
}
