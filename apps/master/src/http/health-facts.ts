/** Loads what a judgement of a host's health needs. Reads only: asking must not change the answer. */
import { instant, type HealthFacts, type HostCert, type HostView } from "@skep/core";
import { requireHostView } from "./readers.ts";
import type { OperatorDeps } from "./settings.ts";
import { countPlacements, presentCert } from "./views/host.ts";

export interface LoadedHealth {
  readonly view: HostView;
  readonly cert: HostCert | undefined;
  readonly facts: HealthFacts;
}

export async function loadHealth({ store, control, timings }: OperatorDeps, ref: string): Promise<LoadedHealth> {
  const view = await requireHostView(store, ref);
  const { host, liveness, report } = view;
  const [certs, placements, now] = await Promise.all([store.listHostCerts(host.id), store.listPlacements({ hostId: host.id }), store.now()]);
  const cert = presentCert(certs);
  const facts: HealthFacts = { host, liveness, report, cert, placements: countPlacements(placements), listeningSince: instant(control.listeningSince()), now, timings };
  return { view, cert, facts };
}
