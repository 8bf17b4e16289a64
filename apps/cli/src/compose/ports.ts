/** `ports` and `expose`: what is published on the host, and what only siblings and probes know. */
import type { PortSpec } from "@skep/core";
import { isName } from "@skep/core";
import { isIP } from "node:net";
import type { Context } from "./context.ts";
import { checkKeys } from "./keys.ts";
import { child } from "./read.ts";
import type { MapTree, Tree } from "./tree.ts";

export interface PlacedPort {
  readonly port: PortSpec;
  readonly place: Tree;
}
interface Asked {
  readonly target: string;
  readonly published?: string | undefined;
  readonly hostIp?: string | undefined;
  readonly protocol: string;
  readonly name?: string | undefined;
}

/** What the spec allows a component. */
const MAX_PORTS = 32;

export function readPorts(context: Context, service: MapTree): PlacedPort[] {
  const { reader, notes } = context;
  const ports: PlacedPort[] = [];
  const names = new Set<string>();
  const add = (port: Omit<PortSpec, "name">, wanted: string | undefined, place: Tree): void => {
    if (ports.length >= MAX_PORTS) return reader.refuse("bad_value", place, `a component has at most ${MAX_PORTS} ports`);
    const base = wanted ?? `p${port.container}${port.protocol === "udp" ? "-udp" : ""}`;
    let name = base;
    for (let count = 2; names.has(name); count += 1) name = `${base}-${count}`;
    names.add(name);
    ports.push({ port: { name, ...port }, place });
  };
  for (const item of reader.list(child(service, "ports"))?.items ?? []) {
    if (item.kind === "map") checkKeys(notes, item, "port");
    const asked = item.kind === "map" ? askedLong(context, item) : askedShort(context, item);
    if (asked === undefined) continue;
    const placed = spread(context, asked, item) ?? [];
    if (placed.length > 1 && asked.name !== undefined) reader.refuse("bad_value", item, "a range has no single name: name the ports one by one");
    for (const port of placed) add(port, asked.name, item);
  }
  for (const item of reader.list(child(service, "expose"))?.items ?? []) {
    const [target = "", protocol = "tcp"] = (reader.text(item) ?? "").split("/");
    if (target === "") continue;
    for (const port of spread(context, { target, protocol }, item) ?? []) {
      if (!ports.some((known) => known.port.container === port.container && known.port.protocol === port.protocol)) add({ ...port, publish: false }, undefined, item);
    }
  }
  return ports;
}

/** [[HOST_IP:]PUBLISHED:]TARGET[/PROTOCOL]; an IPv6 address stands in brackets. */
function askedShort({ reader }: Context, item: Tree): Asked | undefined {
  const text = reader.text(item);
  if (text === undefined) return undefined;
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):)?(?:([0-9-]*):)?([0-9-]+)(?:\/([a-z]+))?$/.exec(text);
  if (match === null) return reader.refuse("bad_value", item, `${JSON.stringify(text)} is not a port: write TARGET, PUBLISHED:TARGET or HOST_IP:PUBLISHED:TARGET, with /udp where it is meant`);
  const [, ip6, ip4OrPort, published, target, protocol = "tcp"] = match;
  // 8080:80 has one number before the colon, and that is a port.
  if (ip4OrPort !== undefined && published === undefined && /^[0-9]+$/.test(ip4OrPort)) return { target: target!, published: ip4OrPort, protocol };
  return { target: target!, published: published === "" ? undefined : published, hostIp: ip6 ?? ip4OrPort, protocol };
}

function askedLong({ reader }: Context, item: MapTree): Asked | undefined {
  const target = reader.text(child(item, "target"));
  if (target === undefined) return reader.refuse("bad_value", item, "a port needs a target");
  const nameTree = child(item, "name");
  const name = reader.text(nameTree);
  if (nameTree !== undefined && name !== undefined && !isName(name)) reader.refuse("bad_value", nameTree, "a port's name is 1 to 63 of a-z, 0-9 and -");
  return { target, published: reader.text(child(item, "published")), hostIp: reader.text(child(item, "host_ip")), protocol: reader.text(child(item, "protocol")) ?? "tcp", name };
}

function spread({ reader }: Context, asked: Asked, place: Tree): Omit<PortSpec, "name">[] | undefined {
  const { protocol, hostIp } = asked;
  if (protocol !== "tcp" && protocol !== "udp") return reader.refuse("unsupported_value", place, `the protocol ${protocol} is not supported: tcp or udp`);
  if (hostIp !== undefined && isIP(hostIp) === 0) return reader.refuse("bad_value", place, `${hostIp} is not an IP address`);
  const targets = rangeOf(asked.target, 1);
  const published = asked.published === undefined || asked.published === "0" ? undefined : rangeOf(asked.published, 1);
  if (targets === undefined || (published === undefined && asked.published !== undefined && asked.published !== "0")) return reader.refuse("bad_value", place, "a port is a number from 1 to 65535, a range is LOW-HIGH");
  if (targets.length > MAX_PORTS) return reader.refuse("bad_value", place, `a range of ${targets.length} ports: a component has at most ${MAX_PORTS}`);
  if (published !== undefined && targets.length === 1 && published.length > 1) return reader.refuse("unsupported_value", place, "one of a range of host ports cannot be asked for: name one, or leave it out and the engine finds a free one");
  if (published !== undefined && published.length !== targets.length) return reader.refuse("bad_value", place, `${published.length} host ports for ${targets.length} ports of the container`);
  return targets.map((container, index) => ({ container, ...(published === undefined ? {} : { host: published[index]! }), ...(hostIp === undefined ? {} : { host_ip: hostIp }), protocol }));
}

function rangeOf(text: string, min: number): number[] | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const low = Number(match[1]);
  const high = Number(match[2] ?? match[1]);
  if (low < min || high > 65_535 || high < low) return undefined;
  return Array.from({ length: high - low + 1 }, (_, index) => low + index);
}

/** The same host port twice, in one service or in two, would fail on the host; here both lines can be named. */
export function refuseClashes({ notes, reader }: Pick<Context, "notes" | "reader">, ports: readonly PlacedPort[]): void {
  const taken = new Map<string, PlacedPort[]>();
  const everywhere = (ip: string | undefined): boolean => ip === undefined || ip === "0.0.0.0" || ip === "::";
  for (const placed of ports) {
    const { host, host_ip: ip, protocol } = placed.port;
    if (host === undefined) continue;
    const key = `${host}/${protocol}`;
    const others = taken.get(key) ?? [];
    const other = others.find((known) => everywhere(ip) || everywhere(known.port.host_ip) || known.port.host_ip === ip);
    if (other !== undefined) reader.refuse("clash", placed.place, `host port ${key} is taken already at ${notes.locate(other.place)}`);
    taken.set(key, [...others, placed]);
  }
}
