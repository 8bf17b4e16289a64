/** A service out of facts, with defaults under which it is healthy: a test changes the one thing it is about. */
import {
  CLOSED_BREAKER, buildServices, instant, viewBreaker, type CircuitView, type DeploymentId, type DeploymentRecord, type GenerationPorts, type HostId, type HostView, type PlacementId,
  type PlacementView, type PortSpec, type Service,
} from "../src/index.ts";
import { aRow } from "./rows.ts";

export const NOW = instant(10_000_000);
export const SUSPECT_MS = 45_000;
const HTTP: PortSpec = { name: "http", protocol: "tcp" };
export const CLOSED: CircuitView = viewBreaker(CLOSED_BREAKER, 0);

export interface Place {
  readonly host: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly hostPatch?: Partial<HostView["host"]>;
  readonly view?: Partial<HostView>;
  readonly placement?: Partial<PlacementView["placement"]>;
  /** Null: the host has not reported it. */
  readonly observed?: Partial<NonNullable<PlacementView["observed"]>> | null;
  readonly component?: Partial<NonNullable<PlacementView["observed"]>["components"][number]>;
  readonly openRow?: Parameters<typeof aRow>[0];
  readonly circuit?: CircuitView;
  readonly heardAgoMs?: number;
  readonly running?: number;
  /** The host is no longer in the ledger. */
  readonly gone?: boolean;
}

export interface Wish {
  readonly name?: string;
  readonly ports?: readonly PortSpec[];
  readonly deployment?: Partial<DeploymentRecord>;
  readonly places: readonly Place[];
  readonly listeningSince?: number;
}

export function aService({ name = "web", ports = [HTTP], deployment, places, listeningSince = 0 }: Wish): Service {
  const id = `id-of-${name}` as DeploymentId;
  const record: DeploymentRecord = {
    id, name, generation: 3, desired: "running", reconcile: "auto", placement: { replicas: places.length }, rollout: {}, failover: {}, status: "active", lastError: undefined, createdAt: instant(0), updatedAt: instant(0),
    deletedAt: undefined, version: 1, ...deployment,
  };
  const generations: GenerationPorts[] = [{ deploymentId: id, generation: 3, components: [{ name: "web", ports }] }];
  const hosts = new Map(places.filter((place) => place.gone !== true).map((place) => [place.host as HostId, hostOf(place)]));
  const circuits = new Map(places.map((place) => [place.host, place.circuit ?? CLOSED]));
  const [service] = buildServices(
    { now: NOW, deployments: [record], placements: places.map((place) => viewOf(record, place)), hosts, ports: generations, running: new Map(places.map((place) => [place.host as HostId, place.running ?? 1])) },
    { now: NOW, listeningSince: instant(listeningSince), timings: { suspectAfterMs: SUSPECT_MS }, circuitOf: (host) => circuits.get(host.name)! },
  );
  return service!;
}

function hostOf({ host, labels = {}, hostPatch, view, heardAgoMs = 1_000 }: Place): HostView {
  const hostId = host as HostId;
  return {
    host: {
      id: hostId, name: host, status: "active", statusBecause: undefined, schedulable: true, labels, notes: undefined, address: "10.0.0.1", agentPort: 8442, agentUrl: undefined, allowedCidr: undefined, agentVersion: "1",
      sessionEpoch: 1, sessionBootId: "b", breakerResets: 0, lastProbe: undefined, createdAt: instant(0), enrolledAt: instant(0), decommissionedAt: undefined, version: 1, ...hostPatch,
    },
    reachability: undefined, liveness: { hostId, lastHeartbeatAt: instant(NOW - heardAgoMs), bootId: "b", seq: 1, opSeq: 0, phase: "ready", observedAt: undefined }, report: undefined, ...view,
  };
}

function viewOf(deployment: DeploymentRecord, { host, placement, observed, component, openRow, heardAgoMs = 1_000, hostPatch }: Place): PlacementView {
  const id = `${deployment.name}@${host}` as PlacementId;
  return {
    placement: { id, deploymentId: deployment.id, deployment: deployment.name, hostId: host as HostId, desired: "running", epoch: 1, generation: 3, appliedGeneration: 3, reconcileAttempts: 0, reconcileNotBefore: undefined, createdAt: instant(0), removedAt: undefined, version: 1, ...placement },
    hostName: host, hostStatus: hostPatch?.status ?? "active", openRow: openRow && aRow(openRow),
    observed: observed === null ? undefined : {
      placementId: id, hostId: host as HostId, state: "running", generation: 3, epoch: 1, specHash: "", observedAt: instant(NOW - heardAgoMs), changedAt: instant(0),
      components: [{ name: "web", state: "running", restarts: 0, ports: { http: 20_000 }, ...component }], ...observed,
    },
  };
}
