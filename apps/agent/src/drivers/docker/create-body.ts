/** A component as the engine's create request. Pure: the same component gives the same container. */
import { DriverError } from "@skep/core";
import type { ComponentSpec, ContainerSpec, MountSpec, PortSpec, WorkloadLabels } from "@skep/core";
import { buildEnvironment } from "../environment.ts";
import { containerLabels, networksOf } from "./container-labels.ts";
import { portKey } from "./published-ports.ts";
import type { NetworkRef } from "./shared-names.ts";

/** How the spec's names are called on this engine. */
export interface SharedNames {
  readonly network: (name: string) => NetworkRef;
  readonly volume: (name: string) => string;
}

export interface CreateRequest {
  readonly body: object;
  /** Networks to connect to before it starts, beyond the one it is created in. */
  readonly more: readonly { readonly network: string; readonly aliases: readonly string[] }[];
}

/** The engine's log files are only a buffer: the driver copies them. Too small: a burst outruns the copying. */
const ENGINE_LOG = { Type: "json-file", Config: { "max-size": "16m", "max-file": "2" } };

/** What a spec must have for this driver. Throws `spec_refused`. */
export function containerOf(spec: ComponentSpec): ContainerSpec {
  const refuse = (why: string): never => {
    throw new DriverError("spec_refused", `${spec.name}: ${why}`);
  };
  if (spec.noop !== undefined) refuse("it has noop instructions, which only the noop driver takes");
  const { container } = spec;
  if (container === undefined) return refuse("the docker driver needs container.image");
  for (const port of spec.ports) if (port.container === undefined) refuse(`port ${port.name} has no container port, which the docker driver needs`);
  const { probe } = spec;
  if (probe !== undefined && probe.type !== "exec") {
    const port = typeof probe.port === "string" ? spec.ports.find(({ name }) => name === probe.port) : undefined;
    if (typeof probe.port === "string" && port === undefined) refuse(`its probe names port ${JSON.stringify(probe.port)}, which it does not have`);
    if (port?.protocol === "udp") refuse(`its probe dials port ${port.name}, which is UDP: use an exec probe`);
    if (container.network_mode === "none") refuse("its probe dials a port, and it has no network: use an exec probe");
  }
  return container;
}

export function createBody(owner: string, labels: WorkloadLabels, spec: ComponentSpec, names: SharedNames): CreateRequest {
  const container = containerOf(spec);
  const [first, ...others] = networksOf(container);
  const aliases = (more: readonly string[] | undefined): string[] => [...new Set([labels.component, ...(more ?? [])])];
  const mode = first === undefined ? container.network_mode! : names.network(first.name).id;
  // The two that are no networks but namespaces take no endpoint.
  const endpoint = first !== undefined && mode !== "host" && mode !== "none";
  const inside = Object.fromEntries(spec.ports.flatMap((port) => (port.container === undefined ? [] : [[port.name, port.container]])));
  const published = mode === "host" || mode === "none" ? [] : spec.ports.filter((port) => port.publish !== false);
  const { resources } = container;
  const body = {
    Image: container.image,
    ...(container.entrypoint === undefined ? {} : { Entrypoint: container.entrypoint }),
    ...(spec.command.length === 0 ? {} : { Cmd: spec.command }),
    ...optional({ User: container.user, WorkingDir: spec.working_dir, StopSignal: container.stop_signal, Hostname: container.hostname }),
    StopTimeout: spec.stop_timeout_s,
    Env: Object.entries(buildEnvironment(labels, spec, inside, {})).map(([name, value]) => `${name}=${value}`),
    Labels: containerLabels(owner, labels, spec, container),
    ExposedPorts: Object.fromEntries(spec.ports.map((port) => [portKey(port), {}])),
    HostConfig: {
      NetworkMode: mode,
      PortBindings: bindings(published),
      // The agent restarts, by the component's policy: the engine would not wait for the boot sequence, nor for a fence.
      RestartPolicy: { Name: "no" },
      LogConfig: ENGINE_LOG,
      Mounts: (container.mounts ?? []).map((mount) => mountOf(mount, names)),
      ...optional({
        Init: container.init, ReadonlyRootfs: container.read_only, Privileged: container.privileged, PidMode: container.pid_mode, IpcMode: container.ipc_mode,
        CapAdd: container.cap_add, CapDrop: container.cap_drop, ExtraHosts: container.extra_hosts, Dns: container.dns, ShmSize: container.shm_size_bytes,
        NanoCpus: resources?.cpus === undefined ? undefined : Math.round(resources.cpus * 1e9),
        // Without the second the limit would be doubled by swap, and would not be the hard one that was asked for.
        Memory: resources?.memory_bytes, MemorySwap: resources?.memory_bytes,
        MemoryReservation: resources?.memory_reservation_bytes, PidsLimit: resources?.pids,
      }),
    },
    ...(endpoint ? { NetworkingConfig: { EndpointsConfig: { [mode]: { Aliases: aliases(first.aliases) } } } } : {}),
  };
  return { body, more: others.map((network) => ({ network: names.network(network.name).id, aliases: aliases(network.aliases) })) };
}

function bindings(ports: readonly PortSpec[]): Record<string, { HostIp: string; HostPort: string }[]> {
  const found: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const port of ports) (found[portKey(port)] ??= []).push({ HostIp: port.host_ip ?? "", HostPort: port.host === undefined ? "" : String(port.host) });
  return found;
}

function mountOf(mount: MountSpec, names: SharedNames): object {
  if (mount.type === "tmpfs") return { Type: "tmpfs", Target: mount.target, ...(mount.size_bytes === undefined ? {} : { TmpfsOptions: { SizeBytes: mount.size_bytes } }) };
  return { Type: mount.type, Source: mount.type === "volume" ? names.volume(mount.volume) : mount.source, Target: mount.target, ReadOnly: mount.read_only === true };
}

const optional = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
