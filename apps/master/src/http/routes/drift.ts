/** Drift: what differs from what is desired and what is done about it, and what hosts run that nobody placed there. */
import { assessDrift, type DriftAssessment, type ReconcileCase } from "@skep/core";
import { driftQuery, driftReport } from "@skep/protocol";
import { cutPage, pageOf, requireDeployment, requireHost } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { driftJson, orphanJson } from "../views/drift.ts";

/** Cases read at once: most of them are drift, some are only told apart by looking. */
const SCAN = 500;
const MAX_ORPHANS = 500;

export function driftRoutes({ store }: OperatorDeps): RouteDefinition[] {
  return [
    defineRoute("listDrift", {
      query: driftQuery,
      replies: { 200: driftReport },
      handle: async ({ query }) => {
        const deployment = query.deployment === undefined ? undefined : await requireDeployment(store, query.deployment);
        const host = query.host === undefined ? undefined : await requireHost(store, query.host);
        const { limit, after } = pageOf(query);
        const found = await drifted(limit, after, ({ placement }) => (deployment === undefined || placement.deploymentId === deployment.id) && (host === undefined || placement.hostId === host.id));
        const { items, next } = cutPage(found, query.limit, ([item]) => item.placement.id);
        const orphans = query.cursor === undefined ? await store.listOrphans(MAX_ORPHANS + 1) : [];
        const wanted = orphans.slice(0, MAX_ORPHANS).filter((orphan) => (deployment === undefined || orphan.placement.deployment === deployment.name) && (host === undefined || orphan.hostId === host.id));
        return { status: 200, body: { items: items.map(([item, drift]) => driftJson(item, drift)), orphans: wanted.map(orphanJson), more_orphans: orphans.length > MAX_ORPHANS, next_cursor: next } };
      },
    }),
  ];

  async function drifted(limit: number, from: string | undefined, isWanted: (item: ReconcileCase) => boolean): Promise<(readonly [ReconcileCase, DriftAssessment])[]> {
    const found: (readonly [ReconcileCase, DriftAssessment])[] = [];
    for (let after = from; found.length < limit; ) {
      const { now, cases } = await store.reconcileCases(SCAN, after, { all: true });
      for (const item of cases.filter(isWanted)) {
        const drift = assessDrift(item, now);
        if (drift !== undefined) found.push([item, drift]);
      }
      if (cases.length < SCAN) break;
      after = cases.at(-1)?.placement.id;
    }
    return found.slice(0, limit);
  }
}
