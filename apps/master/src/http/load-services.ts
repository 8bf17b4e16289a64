/** Loads services and judges them with what this master sees of the network. Reads only. */
import { SkepError, buildServices, instant, type DeclaredFallback, type Service, type ServiceQuery } from "@skep/core";
import type { OperatorDeps } from "./settings.ts";

export async function loadServices({ store, agents, control, timings }: OperatorDeps, query: ServiceQuery): Promise<readonly Service[]> {
  const snapshot = await store.serviceSnapshot(query);
  return buildServices(snapshot, { now: snapshot.now, listeningSince: instant(control.listeningSince()), timings, circuitOf: (host) => agents.circuit(host) });
}

/** A name may look like somebody else's id: the id goes first. */
const bearing = (services: readonly Service[], ref: string): Service | undefined => services.find(({ deployment }) => deployment.id === ref) ?? services.find(({ deployment }) => deployment.name === ref);

export async function requireService(deps: OperatorDeps, ref: string, load = false): Promise<Service> {
  const service = bearing(await loadServices(deps, { refs: [ref], load }), ref);
  if (service === undefined) throw new SkepError("service_not_found", `no service ${ref}`);
  return service;
}

/** In the order in which the service declares them; all in one read. */
export async function loadFallbacks(deps: OperatorDeps, { deployment }: Service, load: boolean): Promise<readonly DeclaredFallback[]> {
  const refs = deployment.failover.fallbacks ?? [];
  if (refs.length === 0) return [];
  const services = await loadServices(deps, { refs, load });
  return refs.map((ref) => ({ ref, service: bearing(services, ref) }));
}

/** All of them, some hundred at a time: one answer of the whole fleet must not be one row set of the whole fleet. */
export async function* everyService(deps: OperatorDeps, from?: string): AsyncGenerator<Service, void> {
  for (let after = from; ; ) {
    const services = await loadServices(deps, { limit: PAGE, after });
    yield* services;
    after = services.at(-1)?.deployment.id;
    if (services.length < PAGE) return;
  }
}

const PAGE = 200;
