/** Why something is as it is: core's words, with the last events beside them. */
import {
  PRODUCTION_POLICY, SkepError, decideDrain, explainDeployment, explainHost, explainLifecycle, explainPlacement, isOpenDrain, isUuid, traceIdOf, type EventFilter, type EventRecord, type ExplainedDrain, type ExplainedState, type HostView,
  type PlacementId,
} from "@skep/core";
import { EXPLAIN_KINDS, explanation, refSchema } from "@skep/protocol";
import { z } from "zod";
import { asOfNow, loadDrain } from "../../control/move-facts.ts";
import { misplaced } from "../../control/scheduling.ts";
import { waitingFor } from "../../control/rollout-facts.ts";
import { loadHealth } from "../health-facts.ts";
import { requireDeployment } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { eventJson } from "../views/event.ts";
import { timeOrNull } from "../views/time.ts";

const EVENTS = 10;
/** How far back the newest row of a placement is looked for. */
const ROWS = 100;
/** One moves at a time; a rebalance may have as many waiting as it has placements. */
const MOVES = 10;
/** Events have no filter by placement or row: this many of their deployment's are looked through. */
const EVENTS_SEARCHED = 200;

interface Explained {
  readonly id: string;
  readonly name: string;
  readonly state: ExplainedState;
  readonly traceId?: string | undefined;
  readonly filter: EventFilter;
  readonly about?: (event: EventRecord) => boolean;
}

export function explainRoutes(deps: OperatorDeps): RouteDefinition[] {
  const { store } = deps;

  const explainedDrain = async (view: HostView): Promise<ExplainedDrain | undefined> => {
    const record = await store.findDrain(view.host.id);
    return record && { record, decision: isOpenDrain(record.status) ? decideDrain(record, await loadDrain(store, view, record)) : undefined };
  };

  const explain = async (kind: (typeof EXPLAIN_KINDS)[number], ref: string): Promise<Explained> => {
    switch (kind) {
      case "host": {
        const { view, facts } = await loadHealth(deps, ref);
        return { id: view.host.id, name: view.host.name, state: explainHost(facts, await explainedDrain(view)), filter: { hostId: view.host.id } };
      }
      case "deployment": {
        const deployment = await requireDeployment(store, ref);
        const [open, placements, rows, [rollout], now] = await Promise.all([
          store.listMoves({ deploymentId: deployment.id, open: true, limit: MOVES }),
          store.listPlacements({ deploymentId: deployment.id }),
          store.listLifecycle({ deployment: deployment.id, limit: ROWS, newestFirst: true }),
          store.listRollouts({ deploymentId: deployment.id, limit: 1, newestFirst: true }),
          store.now(),
        ]);
        const moves = await Promise.all(open.map((move) => asOfNow(store, move)));
        const state = explainDeployment({
          deployment, placements, rows, rollout, waitingFor: await waitingFor(store, rollout, PRODUCTION_POLICY), moves, misplaced: await misplaced(store, deployment.placement.constraints, placements), now,
        });
        return { id: deployment.id, name: deployment.name, state, filter: { deploymentId: deployment.id } };
      }
      case "placement": {
        const view = isUuid(ref) ? await store.findPlacement(ref as PlacementId) : undefined;
        if (view === undefined) throw new SkepError("not_found", `no placement ${ref}`);
        const { placement } = view;
        const [deployment, rows, [rollout], now] = await Promise.all([
          store.findDeployment(placement.deploymentId),
          store.listLifecycle({ deployment: placement.deploymentId, host: placement.hostId, limit: ROWS, newestFirst: true }),
          store.listRollouts({ deploymentId: placement.deploymentId, limit: 1, newestFirst: true }),
          store.now(),
        ]);
        const lastRow = rows.find((row) => row.placementId === placement.id);
        const state = explainPlacement({ view, lastRow, reconcile: deployment?.reconcile ?? "auto", rollout, now });
        return { id: placement.id, name: `${placement.deployment}@${view.hostName}`, state, filter: { deploymentId: placement.deploymentId }, about: (event) => event.placementId === placement.id };
      }
      case "lifecycle": {
        const row = isUuid(ref) ? await store.findLifecycle(ref) : undefined;
        if (row === undefined) throw new SkepError("lifecycle_not_found", `no lifecycle row ${ref}`);
        const [host, now] = await Promise.all([store.findHost(row.hostId), store.now()]);
        const state = explainLifecycle({ row, hostName: host?.name ?? row.hostId, hostStatus: host?.status ?? "decommissioned", now });
        return { id: row.id, name: `${row.operation} ${row.deployment}`, state, traceId: traceIdOf(row.traceparent), filter: { deploymentId: row.deploymentId }, about: (event) => event.lifecycleId === row.id };
      }
    }
  };

  return [
    defineRoute("explain", {
      params: z.strictObject({ kind: z.enum(EXPLAIN_KINDS), id: refSchema }),
      replies: { 200: explanation },
      handle: async ({ params: { kind, id: ref } }) => {
        const { id, name, state, traceId, filter, about } = await explain(kind, ref);
        const events = await store.recentEvents(about === undefined ? EVENTS : EVENTS_SEARCHED, filter);
        return {
          status: 200,
          body: {
            kind, id, name,
            summary: state.summary,
            trace_id: traceId ?? null,
            reasons: state.reasons.map(({ code, message, next, since }) => ({ code, message, next, since: timeOrNull(since) })),
            events: (about === undefined ? events : events.filter(about)).slice(-EVENTS).map(eventJson),
          },
        };
      },
    }),
  ];
}
