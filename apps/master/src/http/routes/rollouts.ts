/** Rollouts: reading them, and a person's word on the open one. */
import { SkepError, PRODUCTION_POLICY } from "@skep/core";
import { refSchema, rolloutDetail, rolloutList, rolloutListQuery, rolloutReply } from "@skep/protocol";
import { z } from "zod";
import { waitingFor } from "../../control/rollout-facts.ts";
import { cutPage, pageOf, requireDeployment } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { rolloutJson } from "../views/rollout.ts";

const params = z.strictObject({ deployment: refSchema });
const replies = { 200: rolloutReply };

export function rolloutRoutes({ store, control }: OperatorDeps): RouteDefinition[] {
  return [
    defineRoute("pauseRollout", { params, replies, handle: async ({ params: { deployment }, context }) => control.pauseRollout(deployment, context) }),
    defineRoute("resumeRollout", { params, replies, handle: async ({ params: { deployment }, context }) => control.resumeRollout(deployment, context) }),
    defineRoute("abortRollout", { params, replies, handle: async ({ params: { deployment }, context }) => control.abortRollout(deployment, context) }),
    defineRoute("listRollouts", {
      query: rolloutListQuery,
      replies: { 200: rolloutList },
      handle: async ({ query }) => {
        const deploymentId = query.deployment === undefined ? undefined : (await requireDeployment(store, query.deployment)).id;
        const rows = await store.listRollouts({ ...pageOf(query), deploymentId, open: query.open, newestFirst: query.newest_first });
        const { items, next } = cutPage(rows, query.limit, (row) => row.id);
        return { status: 200, body: { items: items.map(rolloutJson), next_cursor: next } };
      },
    }),
    defineRoute("getRollout", {
      params: z.strictObject({ rollout: refSchema }),
      replies: { 200: rolloutDetail },
      handle: async ({ params: { rollout: id } }) => {
        const rollout = await store.findRollout(id);
        if (rollout === undefined) throw new SkepError("rollout_not_found", `no rollout ${id}`);
        return { status: 200, body: { ...rolloutJson(rollout), waiting_for: (await waitingFor(store, rollout, PRODUCTION_POLICY)) ?? null } };
      },
    }),
  ];
}
