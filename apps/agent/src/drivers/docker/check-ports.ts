/**
 * Whether fixed host ports can be had: from other containers on the engine, whoever made them, and from the host's own
 * sockets. What the same component holds now does not count: it gives way. Reserves nothing; the engine has the last word.
 */
import { DriverError } from "@skep/core";
import type { AbortSignalLike, PortSpec, WorkloadLabels } from "@skep/core";
import { isFree } from "../port-free.ts";
import { whose } from "../labels.ts";
import { LABEL, readLabels } from "./container-labels.ts";
import type { DockerContext } from "./context.ts";
import type { Listed } from "./engine.ts";
import { clashes } from "./published-ports.ts";

export async function checkPorts({ engine, records, owner }: DockerContext, labels: WorkloadLabels, ports: readonly PortSpec[], signal: AbortSignalLike): Promise<void> {
  const fixed = ports.filter((port) => port.host !== undefined && port.publish !== false);
  if (fixed.length === 0) return;
  const others: Listed[] = [];
  const predecessors: Listed[] = [];
  for (const listed of await engine.containers({}, signal)) (isPredecessor(listed, owner(), labels) ? predecessors : others).push(listed);
  for (const port of fixed) {
    const wanted = { ip: port.host_ip, port: port.host!, protocol: port.protocol };
    const holder = others.find((listed) => holds(listed, wanted) || (listed.Labels?.[LABEL.host] === owner() && records.get(listed.Id)?.stop === undefined && asksFor(listed, wanted)));
    if (holder !== undefined) throw new DriverError("port_in_use", `port ${wanted.port}/${wanted.protocol} is held by ${nameOf(holder)}`);
    if (predecessors.some((listed) => holds(listed, wanted))) continue;
    if (!(await isFree(wanted.port, wanted.protocol, wanted.ip))) throw new DriverError("port_in_use", `port ${wanted.port}/${wanted.protocol} is in use by a process of the host`);
  }
}

const isPredecessor = ({ Labels }: Listed, owner: string, labels: WorkloadLabels): boolean =>
  Labels?.[LABEL.host] === owner && Labels[LABEL.placement] === labels.placementId && Labels[LABEL.component] === labels.component;

interface Wanted {
  readonly ip: string | undefined;
  readonly port: number;
  readonly protocol: string;
}

const holds = ({ Ports }: Listed, wanted: Wanted): boolean =>
  (Ports ?? []).some(({ IP, PublicPort, Type = "tcp" }) => PublicPort !== undefined && clashes(wanted, { ip: IP, port: PublicPort, protocol: Type }));

/** One of ours that is down for a moment holds no port and will want its own back. */
function asksFor(listed: Listed, wanted: Wanted): boolean {
  const ports = readLabels(listed.Labels ?? {})?.spec?.ports ?? [];
  return ports.some((port) => port.host !== undefined && port.publish !== false && clashes(wanted, { ip: port.host_ip, port: port.host, protocol: port.protocol }));
}

function nameOf(listed: Listed): string {
  const read = readLabels(listed.Labels ?? {});
  const container = `container ${listed.Names?.[0]?.replace(/^\//, "") ?? listed.Id.slice(0, 12)}`;
  return read === undefined ? container : `${whose(read.labels)} of placement ${read.labels.placementId} (${container})`;
}
