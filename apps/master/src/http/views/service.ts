/** Services and their endpoints as the API shows them. */
import type { Endpoint, RejectedEndpoint, Service } from "@skep/core";
import type { EndpointJson, JudgedEndpointJson, ServiceJson } from "@skep/protocol";

export const serviceJson = ({ deployment, ports, endpoints }: Service): ServiceJson => ({
  id: deployment.id,
  name: deployment.name,
  status: deployment.status,
  ports: ports.map((port) => ({ ...port })),
  healthy: endpoints.filter((endpoint) => endpoint.healthy).length,
  total: endpoints.length,
  fallbacks: [...(deployment.failover.fallbacks ?? [])],
});

const placeOf = (endpoint: Endpoint) => ({
  deployment: endpoint.deployment, placement_id: endpoint.placementId, host_id: endpoint.hostId, host: endpoint.host, component: endpoint.component, port_name: endpoint.portName, protocol: endpoint.protocol,
});

export const judgedEndpointJson = (endpoint: Endpoint): JudgedEndpointJson => ({
  ...placeOf(endpoint), address: endpoint.address ?? null, port: endpoint.port ?? null, state: endpoint.state ?? null, healthy: endpoint.healthy, because: endpoint.because,
});

/** Only where a caller can really go. */
export const endpointJson = (endpoint: Endpoint): EndpointJson[] =>
  endpoint.address === undefined || endpoint.port === undefined ? [] : [{ ...placeOf(endpoint), address: endpoint.address, port: endpoint.port }];

export const rejectedError = ({ deployment, host, component, portName, because }: RejectedEndpoint): { pointer: string; message: string } => ({
  pointer: ["", deployment, host, component, portName].filter((part) => part !== undefined).join("/"),
  message: because,
});
