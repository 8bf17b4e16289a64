/**
 * Where a service's callers go now: its own healthy endpoints, or those of the first of its declared fallbacks that has
 * any. Invariants: an unhealthy endpoint is never among them; a fallback is never among them while the service itself
 * has a healthy one. Nothing is remembered between two questions, so the way back needs nobody to decide it.
 * Fallbacks of fallbacks are not followed: two services may be each other's without a loop, and who a caller can end up
 * with stays what one deployment says of itself.
 */
import type { Endpoint, Service } from "./build-service.ts";
import { orderEndpoints, type ServiceStrategy } from "./order-endpoints.ts";

export interface ResolveOptions {
  readonly strategy: ServiceStrategy;
  /** For round_robin: how often this was asked before. */
  readonly turn: number;
  readonly component?: string | undefined;
  /** A port's name. */
  readonly port?: string | undefined;
  /** Labels that the host must have. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export interface RejectedEndpoint {
  readonly deployment: string;
  /** Undefined where the whole deployment is meant. */
  readonly host: string | undefined;
  readonly component: string | undefined;
  readonly portName: string | undefined;
  readonly because: string;
}

export type Resolution =
  | { readonly kind: "resolved"; readonly via: "primary" | "fallback"; /** The deployment that answers instead. */ readonly fallback: string | undefined; readonly endpoints: readonly Endpoint[]; readonly rejected: readonly RejectedEndpoint[] }
  | { readonly kind: "none"; readonly rejected: readonly RejectedEndpoint[] };

/** A fallback as it was declared, and what bears that name or id now. */
export interface DeclaredFallback {
  readonly ref: string;
  readonly service: Service | undefined;
}

export function resolveService(primary: Service, fallbacks: readonly DeclaredFallback[], options: ResolveOptions): Resolution {
  const own = choose(primary, options);
  if (own.endpoints.length > 0) return { kind: "resolved", via: "primary", fallback: undefined, ...own };
  const rejected = [...own.rejected];
  for (const { ref, service } of fallbacks) {
    if (service === undefined) {
      rejected.push(aboutAll(ref, `there is no deployment ${ref}: it waits for one to be deployed`));
      continue;
    }
    // The same id or a name that was freed and taken again: still no fallback of its own.
    if (service.deployment.id === primary.deployment.id) continue;
    const { endpoints, rejected: others } = choose(service, options);
    if (endpoints.length > 0) return { kind: "resolved", via: "fallback", fallback: service.deployment.name, endpoints, rejected: [...rejected, ...others] };
    rejected.push(...others);
  }
  return { kind: "none", rejected };
}

/** True when some port of the service goes by what was asked: otherwise the question is wrong, and no waiting mends it. */
export const publishes = (service: Service, { component, port }: Pick<ResolveOptions, "component" | "port">): boolean =>
  (component === undefined && port === undefined) ||
  [...service.ports.map((one) => ({ component: one.component, portName: one.name })), ...service.endpoints].some((one) => (component ?? one.component) === one.component && (port ?? one.portName) === one.portName);

function choose(service: Service, options: ResolveOptions): { readonly endpoints: readonly Endpoint[]; readonly rejected: readonly RejectedEndpoint[] } {
  const { name } = service.deployment;
  const { component, port, labels = {} } = options;
  const wanted = service.endpoints.filter((endpoint) => (component === undefined || endpoint.component === component) && (port === undefined || endpoint.portName === port));
  if (wanted.length === 0) return { endpoints: [], rejected: [aboutAll(name, nothingToCall(service, options))] };
  const judged = wanted.map((endpoint) => ({ endpoint, because: labelProblem(endpoint, labels) ?? (endpoint.healthy ? undefined : endpoint.because) }));
  const healthy = judged.filter(({ because }) => because === undefined).map(({ endpoint }) => endpoint);
  return {
    endpoints: orderEndpoints(service, healthy, options.strategy, options.turn),
    rejected: judged.flatMap(({ endpoint, because }) => (because === undefined ? [] : [{ deployment: name, host: endpoint.host, component: endpoint.component, portName: endpoint.portName, because }])),
  };
}

const aboutAll = (deployment: string, because: string): RejectedEndpoint => ({ deployment, host: undefined, component: undefined, portName: undefined, because });

function nothingToCall(service: Service, { component, port }: ResolveOptions): string {
  const what = `${component === undefined ? "" : ` of a component ${component}`}${port === undefined ? "" : ` of the name ${port}`}`;
  if (service.ports.length === 0 || !publishes(service, { component, port })) return `it publishes no port${what}: it waits for a spec that does`;
  return `it runs nowhere: it is ${service.deployment.status}, and waits for a placement`;
}

function labelProblem({ host, hostLabels }: Endpoint, labels: Readonly<Record<string, string>>): string | undefined {
  for (const [name, value] of Object.entries(labels)) if (hostLabels[name] !== value) return `the label ${name} of ${host} is ${hostLabels[name] ?? "not set"}, and ${value} is asked for`;
  return undefined;
}
