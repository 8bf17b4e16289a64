/** Loads what a judgement of hosts' health needs, and has it judged. Reads only: asking must not change the answer. */
import { decideHealth, instant, type CallSummary, type Health, type HealthFacts, type HostCert, type HostId, type HostView } from "@skep/core";
import { requireHostView } from "./readers.ts";
import type { OperatorDeps } from "./settings.ts";
import { countPlacements, presentCert } from "./views/host.ts";

export interface LoadedHealth {
  readonly view: HostView;
  readonly cert: HostCert | undefined;
  readonly facts: HealthFacts;
  readonly judged: Health;
  readonly calls: CallSummary;
}

export async function loadHealth(deps: OperatorDeps, ref: string): Promise<LoadedHealth> {
  const [loaded] = await judgeHosts(deps, [await requireHostView(deps.store, ref)]);
  return loaded!;
}

/** In the order of the views. Three statements, however many hosts. */
export async function judgeHosts({ store, control, agents, timings }: OperatorDeps, views: readonly HostView[]): Promise<LoadedHealth[]> {
  if (views.length === 0) return [];
  const ids = views.map((view) => view.host.id);
  const [allCerts, allPlacements, now] = await Promise.all([store.listPresentCerts(ids), store.listPlacementFacts(ids), store.now()]);
  const certs = byHost(allCerts);
  const placements = byHost(allPlacements);
  const listeningSince = instant(control.listeningSince());
  return views.map((view) => {
    const { host, liveness, report, reachability } = view;
    const cert = presentCert(certs.get(host.id) ?? []);
    const counts = countPlacements((placements.get(host.id) ?? []).map(({ facts }) => facts));
    const facts: HealthFacts = { host, liveness, report, reachability, circuit: agents.circuit(host), cert, placements: counts, listeningSince, now, timings };
    return { view, cert, facts, judged: decideHealth(facts), calls: agents.calls(host.id) };
  });
}

function byHost<T extends { readonly hostId: HostId }>(items: readonly T[]): ReadonlyMap<HostId, readonly T[]> {
  const groups = new Map<HostId, T[]>();
  for (const item of items) {
    const group = groups.get(item.hostId);
    if (group === undefined) groups.set(item.hostId, [item]);
    else group.push(item);
  }
  return groups;
}
