/** Services: who may be called, now. Computed as it is asked; nothing of it is stored. */
import { SkepError, publishes, resolveService, type ResolveOptions, type Service } from "@skep/core";
import { refSchema, resolveQuery, resolvedService, serviceDetail, serviceList, serviceListQuery } from "@skep/protocol";
import { z } from "zod";
import { everyService, loadFallbacks, requireService } from "../load-services.ts";
import { cutPage, labelsOf, pageOf } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { createTurns } from "../turns.ts";
import { endpointJson, judgedEndpointJson, rejectedError, serviceJson } from "../views/service.ts";

const params = z.strictObject({ service: refSchema });
const MAX_DETAIL_REASONS = 3;

export function serviceRoutes(deps: OperatorDeps): RouteDefinition[] {
  const turns = createTurns();
  return [
    defineRoute("listServices", {
      query: serviceListQuery,
      replies: { 200: serviceList },
      handle: async ({ query }) => {
        const { limit, after } = pageOf(query);
        const found: Service[] = [];
        for await (const service of everyService(deps, after)) {
          // Nobody calls what publishes nothing, unless it says who is to be called instead.
          if (service.ports.length + service.endpoints.length + (service.deployment.failover.fallbacks?.length ?? 0) > 0) found.push(service);
          if (found.length >= limit) break;
        }
        const { items, next } = cutPage(found, query.limit, (service) => service.deployment.id);
        return { status: 200, body: { items: items.map(serviceJson), next_cursor: next } };
      },
    }),
    defineRoute("getService", {
      params,
      replies: { 200: serviceDetail },
      handle: async ({ params: { service: ref } }) => {
        const service = await requireService(deps, ref);
        return { status: 200, body: { ...serviceJson(service), endpoints: service.endpoints.map(judgedEndpointJson) } };
      },
    }),
    defineRoute("resolveService", {
      params,
      query: resolveQuery,
      replies: { 200: resolvedService },
      handle: async ({ params: { service: ref }, query: { strategy, component, port, label } }) => {
        const labels = labelsOf(label);
        const load = strategy === "least_loaded";
        const primary = await requireService(deps, ref, load);
        requirePort(primary, { component, port });
        const turn = strategy === "round_robin" ? turns.next(primary.deployment.id) : 0;
        const options: ResolveOptions = { strategy, turn, component, port, labels };
        const own = resolveService(primary, [], options);
        const resolution = own.kind === "resolved" ? own : resolveService(primary, await loadFallbacks(deps, primary, load), options);
        const { name } = primary.deployment;
        if (resolution.kind === "none") {
          const words = resolution.rejected.slice(0, MAX_DETAIL_REASONS).map(({ deployment, host, because }) => `${deployment}${host === undefined ? "" : ` on ${host}`}: ${because}`);
          throw new SkepError("no_healthy_endpoint", words.join("; "), { errors: resolution.rejected.map(rejectedError), retryAfterMs: deps.timings.heartbeatIntervalMs });
        }
        return { status: 200, body: { service: name, via: resolution.via, fallback: resolution.fallback ?? null, endpoints: resolution.endpoints.flatMap(endpointJson) } };
      },
    }),
  ];
}

/** A component or a port that there is not is a mistyped question: waiting, which a 503 asks for, would never mend it. */
function requirePort(service: Service, asked: Pick<ResolveOptions, "component" | "port">): void {
  if (publishes(service, asked)) return;
  const there = service.ports.map(({ component, name }) => `${component}/${name}`).join(", ");
  throw new SkepError("unknown_component", `${service.deployment.name} publishes no ${asked.component ?? "*"}/${asked.port ?? "*"}; it publishes: ${there === "" ? "nothing" : there}.`);
}
