/**
 * Services, agents and masters as target groups of Prometheus' HTTP service discovery. Labels that begin with
 * `__meta_skep_` are there while targets are relabelled and are dropped after it; `instance` stays with every series.
 */
import type { Endpoint, HostRecord } from "@skep/core";
import type { SdTargetsJson } from "@skep/protocol";

type Target = SdTargetsJson[number];

/** Where this API was called: an address a caller has just used. */
export interface ApiAddress {
  readonly scheme: "http" | "https";
  /** host:port */
  readonly target: string;
}

/**
 * What runs, healthy or not: that something is unhealthy is what a Prometheus is there to show. UDP is left out, because
 * Prometheus scrapes over HTTP and would call such a target down for ever.
 */
export function serviceTarget(endpoint: Endpoint): Target[] {
  const { address, port, state, protocol } = endpoint;
  if (address === undefined || port === undefined || protocol !== "tcp" || (state !== "running" && state !== "unhealthy")) return [];
  return [{
    targets: [`${address.includes(":") ? `[${address}]` : address}:${port}`],
    labels: {
      __meta_skep_deployment: endpoint.deployment,
      __meta_skep_component: endpoint.component,
      __meta_skep_port: endpoint.portName,
      __meta_skep_placement_id: endpoint.placementId,
      __meta_skep_healthy: String(endpoint.healthy),
      ...hostLabels({ id: endpoint.hostId, name: endpoint.host, labels: endpoint.hostLabels }),
    },
  }];
}

/** An agent's metrics are read through the master: agents speak mutual TLS with masters only. */
export const agentTarget = (host: Pick<HostRecord, "id" | "name" | "labels">, { scheme, target }: ApiAddress): Target => ({
  targets: [target],
  labels: { __scheme__: scheme, __metrics_path__: `/v1/hosts/${host.id}/metrics`, instance: host.name, ...hostLabels(host) },
});

export const masterTarget = ({ scheme, target }: ApiAddress): Target => ({ targets: [target], labels: { __scheme__: scheme, __metrics_path__: "/metrics" } });

const hostLabels = ({ id, name, labels }: Pick<HostRecord, "id" | "name" | "labels">): Record<string, string> => ({
  __meta_skep_host: name,
  __meta_skep_host_id: id,
  // Sorted, so that of two names that become one the same wins every time.
  ...Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)).map(([label, value]) => [`__meta_skep_host_label_${label.replace(/[^A-Za-z0-9_]/g, "_")}`, value])),
});
