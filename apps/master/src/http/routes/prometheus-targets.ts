/**
 * HTTP service discovery for a Prometheus. Always the whole list, or no 200 at all: Prometheus keeps its last list when it
 * is refused, and forgets every target that a 200 leaves out.
 */
import { SkepError, type HostRecord } from "@skep/core";
import { sdQuery, sdTargets, type SdTargetsJson } from "@skep/protocol";
import { everyHost } from "../every-host.ts";
import { everyService } from "../load-services.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { agentTarget, masterTarget, serviceTarget, type ApiAddress } from "../views/prometheus-targets.ts";

export function prometheusTargetRoutes(deps: OperatorDeps): RouteDefinition[] {
  const serviceTargets = async (): Promise<SdTargetsJson> => {
    const targets: SdTargetsJson = [];
    for await (const service of everyService(deps)) targets.push(...service.endpoints.flatMap(serviceTarget));
    return targets;
  };
  const agentTargets = async (address: ApiAddress): Promise<SdTargetsJson> => (await everyHost(deps.store)).map((host: HostRecord) => agentTarget(host, address));

  return [
    defineRoute("listPrometheusTargets", {
      query: sdQuery,
      replies: { 200: sdTargets },
      handle: async ({ query: { role }, request }) => {
        if (role === "services") return { status: 200, body: await serviceTargets() };
        const address = addressOf(request.headers.host, deps.tls === undefined ? "http" : "https");
        return { status: 200, body: role === "agents" ? await agentTargets(address) : [masterTarget(address)] };
      },
    }),
  ];
}

/**
 * The address that reached us is the one that reaches us again. It goes into what a Prometheus will call with its token,
 * so it is nothing but a host and a port.
 */
function addressOf(header: string | undefined, scheme: ApiAddress["scheme"]): ApiAddress {
  const match = /^(\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?)(?::(\d{1,5}))?$/i.exec(header ?? "");
  const port = Number(match?.[2] ?? (scheme === "https" ? 443 : 80));
  if (match === null || port < 1 || port > 65_535) throw new SkepError("invalid_request", "The Host header is not a host and a port.", { errors: [{ pointer: "/headers/host", message: "must be HOST or HOST:PORT" }] });
  return { scheme, target: `${match[1]}:${port}` };
}
