/** Deployments: the control module decides, this is its HTTP. A 202 is sent after the commit, never before. */
import {
  acceptedOperation, deploymentDetail, deploymentList, deploymentListQuery, deployRequest, mutateRequest, operationPlan, redeployRequest, refSchema,
  rollbackRequest, teardownRequest,
} from "@skep/protocol";
import { z } from "zod";
import type { AcceptedOrPlan } from "../../control/control.ts";
import type { Reply } from "../../ports.ts";
import { cutPage, pageOf, requireDeployment } from "../readers.ts";
import { defineRoute, type Answer, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { deploymentJson, detailJson } from "../views/deployment.ts";

const params = z.strictObject({ deployment: refSchema });
const accepted = { 202: acceptedOperation };
const acceptedOrPlan = { 200: operationPlan, 202: acceptedOperation };

/** A plan goes out as 200 and a commitment as 202; which one it is, the control module has said. */
function answer<T>(reply: Reply<AcceptedOrPlan>): Answer<T> {
  const { status, body, replayed } = reply;
  return { status, body: body as T, replayed, ...("deployment_id" in body ? { location: `/v1/deployments/${body.deployment_id}` } : {}) };
}

export function deploymentRoutes({ store, control }: OperatorDeps): RouteDefinition[] {
  return [
    defineRoute("createDeployment", { body: deployRequest, replies: acceptedOrPlan, handle: async ({ body, context }) => answer(await control.deploy(body, context)) }),
    defineRoute("mutateDeployment", {
      params,
      body: mutateRequest,
      replies: acceptedOrPlan,
      handle: async ({ params: { deployment }, body, context }) => answer(await control.mutate(deployment, body, context)),
    }),
    defineRoute("redeployDeployment", {
      params,
      body: redeployRequest,
      replies: accepted,
      handle: async ({ params: { deployment }, body, context }) => answer(await control.redeploy(deployment, body, context)),
    }),
    defineRoute("rollbackDeployment", {
      params,
      body: rollbackRequest,
      replies: accepted,
      handle: async ({ params: { deployment }, body, context }) => answer(await control.rollback(deployment, body, context)),
    }),
    defineRoute("teardownDeployment", {
      params,
      body: teardownRequest,
      replies: accepted,
      handle: async ({ params: { deployment }, body, context }) => answer(await control.teardown(deployment, body, context)),
    }),
    defineRoute("deleteDeployment", {
      params,
      query: z.strictObject({ force: z.stringbool().default(false), volumes: z.stringbool().default(false) }),
      replies: accepted,
      handle: async ({ params: { deployment }, query, context }) => answer(await control.teardown(deployment, { force: query.force, volumes: query.volumes }, context)),
    }),
    defineRoute("listDeployments", {
      query: deploymentListQuery,
      replies: { 200: deploymentList },
      handle: async ({ query }) => {
        const rows = await store.listDeployments({ ...pageOf(query), includeDeleted: query.include_deleted });
        const { items, next } = cutPage(rows, query.limit, (row) => row.id);
        return { status: 200, body: { items: items.map(deploymentJson), next_cursor: next } };
      },
    }),
    defineRoute("getDeployment", {
      params,
      replies: { 200: deploymentDetail },
      handle: async ({ params: { deployment: ref } }) => {
        const deployment = await requireDeployment(store, ref);
        const generations = [...(await store.listGenerations(deployment.id))].sort((a, b) => a.generation - b.generation);
        // A teardown's generation has no spec of its own: the last one that has is what was deployed.
        const latest = generations.filter((item) => item.generation <= deployment.generation).at(-1);
        const [present, views, [rollout]] = await Promise.all([
          latest === undefined ? undefined : store.findGeneration(deployment.id, latest.generation),
          store.listPlacements({ deploymentId: deployment.id, includeRemoved: deployment.deletedAt !== undefined }),
          store.listRollouts({ deploymentId: deployment.id, newestFirst: true, limit: 1 }),
        ]);
        return { status: 200, body: detailJson(deployment, present, generations, views, rollout) };
      },
    }),
  ];
}
