/** Drains, moves and rebalancing: asking for them, looking at them, taking them back. */
import { SkepError, decideDrain, isOpenDrain, isOpenMove } from "@skep/core";
import { drainPlan, drainRequest, drainView, moveList, moveListQuery, moveView, rebalanceReply, rebalanceRequest, refSchema } from "@skep/protocol";
import { z } from "zod";
import { asOfNow, loadDrain } from "../../control/move-facts.ts";
import { cutPage, pageOf, requireDeployment, requireHost, requireHostView } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { drainJson, moveJson } from "../views/move.ts";

const params = z.strictObject({ host: refSchema });

export function moveRoutes({ store, control }: OperatorDeps): RouteDefinition[] {
  return [
    defineRoute("drainHost", { params, body: drainRequest, replies: { 202: drainView, 200: drainPlan }, handle: async ({ params: { host }, body, context }) => control.drainHost(host, body, context) }),
    defineRoute("cancelDrain", { params, replies: { 200: drainView }, handle: async ({ params: { host }, context }) => control.cancelDrain(host, context) }),
    defineRoute("getDrain", {
      params,
      replies: { 200: drainView },
      handle: async ({ params: { host: ref } }) => {
        const view = await requireHostView(store, ref);
        const drain = await store.findDrain(view.host.id);
        if (drain === undefined) throw new SkepError("drain_not_found", `${view.host.name} was never drained`);
        return { status: 200, body: drainJson(drain, isOpenDrain(drain.status) ? decideDrain(drain, await loadDrain(store, view, drain)) : undefined) };
      },
    }),
    defineRoute("listMoves", {
      query: moveListQuery,
      replies: { 200: moveList },
      handle: async ({ query }) => {
        const deploymentId = query.deployment === undefined ? undefined : (await requireDeployment(store, query.deployment)).id;
        const hostId = query.host === undefined ? undefined : (await requireHost(store, query.host)).id;
        const rows = await store.listMoves({ ...pageOf(query), deploymentId, hostId, open: query.open, newestFirst: query.newest_first });
        const { items, next } = cutPage(rows, query.limit, (row) => row.id);
        const shown = [];
        for (const move of items) shown.push(moveJson(isOpenMove(move.status) ? await asOfNow(store, move) : move));
        return { status: 200, body: { items: shown, next_cursor: next } };
      },
    }),
    defineRoute("cancelMove", { params: z.strictObject({ move: refSchema }), replies: { 202: moveView }, handle: async ({ params: { move }, context }) => control.cancelMove(move, context) }),
    defineRoute("rebalanceFleet", { body: rebalanceRequest, replies: { 202: rebalanceReply, 200: rebalanceReply }, handle: async ({ body, context }) => control.rebalance(body, context) }),
  ];
}
