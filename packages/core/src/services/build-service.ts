/** A deployment as its callers see it: every port that its placements publish, each judged. */
import type { ComponentState } from "../agent/driver.ts";
import type { CircuitView } from "../breaker/breaker.ts";
import type { DeploymentId, HostId, PlacementId } from "../ids.ts";
import type { DeploymentRecord, HostRecord } from "../ports/records.ts";
import type { HostView, PlacementView } from "../ports/store.ts";
import type { PortSpec } from "../spec/spec.ts";
import { endpointAddress } from "./endpoint-address.ts";
import { groupBy } from "./group-by.ts";
import { placementProblem, portProblem, type JudgeContext } from "./judge-endpoint.ts";
import type { GenerationPorts, ServiceSnapshot } from "./snapshot.ts";

export interface Endpoint {
  readonly deploymentId: DeploymentId;
  readonly deployment: string;
  readonly placementId: PlacementId;
  readonly hostId: HostId;
  readonly host: string;
  readonly hostLabels: Readonly<Record<string, string>>;
  readonly component: string;
  readonly portName: string;
  readonly protocol: PortSpec["protocol"];
  readonly address: string | undefined;
  readonly port: number | undefined;
  /** As last observed; undefined = its host has not reported it. */
  readonly state: ComponentState | undefined;
  readonly healthy: boolean;
  /** Why, and what it waits for where it is not healthy. */
  readonly because: string;
  readonly load: HostLoad;
}

export interface HostLoad {
  /** Placements observed running there. */
  readonly running: number;
  /** Load average of a minute per processor; undefined = not reported. */
  readonly perCpu: number | undefined;
}

export interface Service {
  readonly deployment: DeploymentRecord;
  /** What the newest spec publishes. */
  readonly ports: readonly { readonly component: string; readonly name: string; readonly protocol: PortSpec["protocol"] }[];
  /** By host name, component and port. */
  readonly endpoints: readonly Endpoint[];
}

export interface BuildContext extends JudgeContext {
  /** Of the master that answers. */
  readonly circuitOf: (host: HostRecord) => CircuitView;
}

/** One for each deployment of the snapshot, in its order. */
export function buildServices(snapshot: ServiceSnapshot, context: BuildContext): readonly Service[] {
  const ports = new Map(snapshot.ports.map((item) => [key(item.deploymentId, item.generation), item]));
  const placed = groupBy(snapshot.placements, (view) => view.placement.deploymentId);
  return snapshot.deployments.map((deployment) => {
    const endpoints = (placed.get(deployment.id) ?? []).flatMap((view) => endpointsOf(view, snapshot, ports, context));
    return { deployment, ports: newestPorts(deployment, snapshot.ports), endpoints: endpoints.sort(byHost) };
  });
}

const key = (deploymentId: string, generation: number): string => `${deploymentId}/${generation}`;
const isPublished = (port: PortSpec): boolean => port.publish !== false;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
export const byHost = (a: Endpoint, b: Endpoint): number => compare(a.host, b.host) || compare(a.component, b.component) || compare(a.portName, b.portName) || compare(a.placementId, b.placementId);

/** A teardown's generation has no spec: what was published last is then what the service was. */
function newestPorts(deployment: DeploymentRecord, all: readonly GenerationPorts[]): Service["ports"] {
  const newest = all.filter((item) => item.deploymentId === deployment.id).sort((a, b) => b.generation - a.generation)[0];
  return (newest?.components ?? []).flatMap(({ name: component, ports }) => ports.filter(isPublished).map(({ name, protocol }) => ({ component, name, protocol })));
}

function endpointsOf(view: PlacementView, snapshot: ServiceSnapshot, ports: ReadonlyMap<string, GenerationPorts>, context: BuildContext): Endpoint[] {
  const { placement, observed } = view;
  const host = snapshot.hosts.get(placement.hostId);
  // What runs is of the generation that is observed; its spec, and not the host, says what is published.
  const spec = ports.get(key(placement.deploymentId, observed?.generation ?? placement.generation)) ?? ports.get(key(placement.deploymentId, placement.generation));
  const whole = placementProblem(view, host, host && context.circuitOf(host.host), context);
  return (spec?.components ?? []).flatMap(({ name, ports: declared }) => declared.filter(isPublished).map((port): Endpoint => {
    const seen = observed?.components.find((component) => component.name === name);
    const at = host === undefined ? undefined : endpointAddress(host.host, port);
    const because = whole ?? portProblem(seen, port) ?? (at?.kind === "none" ? at.because : undefined);
    return {
      deploymentId: placement.deploymentId, deployment: placement.deployment, placementId: placement.id, hostId: placement.hostId, host: view.hostName, hostLabels: host?.host.labels ?? {},
      component: name, portName: port.name, protocol: port.protocol, address: at?.kind === "address" ? at.address : undefined, port: seen?.ports?.[port.name], state: seen?.state,
      healthy: because === undefined, because: because ?? "its host reports it running", load: loadOf(host, snapshot.running.get(placement.hostId) ?? 0),
    };
  }));
}

function loadOf(host: HostView | undefined, running: number): HostLoad {
  const { load1, cpu_millicores: millicores } = host?.report?.resources ?? {};
  return { running, perCpu: load1 === undefined || millicores === undefined || millicores <= 0 ? undefined : (load1 * 1_000) / millicores };
}
