/** Loads what a judgement of a host's health needs. Reads only: asking must not change the answer. */
import { instant, type CallSummary, type HealthFacts, type HostCert, type HostView } from "@skep/core";
import { requireHostView } from "./readers.ts";
import type { OperatorDeps } from "./settings.ts";
import { countPlacements, presentCert } from "./views/host.ts";

export interface LoadedHealth {
  readonly view: HostView;
  readonly cert: HostCert | undefined;
  readonly facts: HealthFacts;
  readonly calls: CallSummary;
}

export async function loadHealth({ store, control, agents, timings }: OperatorDeps, ref: string): Promise<LoadedHealth> {
  const view = await requireHostView(store, ref);
  const { host, liveness, report, reachability } = view;
  const [certs, placements, now] = await Promise.all([store.listHostCerts(host.id), store.listPlacements({ hostId: host.id }), store.now()]);
  const cert = presentCert(certs);
  const facts: HealthFacts = { host, liveness, report, reachability, circuit: agents.circuit(host), cert, placements: countPlacements(placements), listeningSince: instant(control.listeningSince()), now, timings };
  return { view, cert, facts, calls: agents.calls(host.id) };
}
