/** Lifecycle rows and placements: what was asked, what became of it, and what is. */
import { SkepError, isUuid, type DeploymentId, type HostId, type LifecycleRow } from "@skep/core";
import {
  cancelLifecycleReply, idSchema, lifecycleList, lifecycleQuery, lifecycleView, placementList, placementQuery, resolveLifecycleRequest,
} from "@skep/protocol";
import { z } from "zod";
import { createHostNames, cutPage, pageOf, requireDeployment, requireHost } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { placementJson } from "../views/deployment.ts";
import { lifecycleJson } from "../views/lifecycle.ts";

const params = z.strictObject({ id: idSchema });

export function lifecycleRoutes({ store, control }: OperatorDeps): RouteDefinition[] {
  const names = createHostNames(store);
  const toJson = async (rows: readonly LifecycleRow[]) => {
    const hosts = await names.of(rows.map((row) => row.hostId));
    return rows.map((row) => lifecycleJson(row, hosts.get(row.hostId) ?? row.hostId));
  };
  return [
    defineRoute("listLifecycle", {
      query: lifecycleQuery,
      replies: { 200: lifecycleList },
      handle: async ({ query }) => {
        // Ids that nobody knows are left out, so that a poller with an old list still gets its answer.
        const page = query.ids === undefined ? pageOf(query) : { limit: query.ids.length + 1, after: undefined };
        const rows = await store.listLifecycle({
          ...page,
          ids: query.ids,
          status: query.status,
          open: query.open,
          newestFirst: query.newest_first,
          deployment: query.deployment === undefined ? undefined : await deploymentKey(query.deployment),
          host: query.host === undefined ? undefined : (await requireHost(store, query.host)).id,
        });
        const { items, next } = cutPage(rows, query.ids?.length ?? query.limit, (row) => row.id);
        const json = await toJson(items);
        return { status: 200, body: { items: json, rows: json, next_cursor: next } };
      },
    }),
    defineRoute("getLifecycle", {
      params,
      replies: { 200: lifecycleView },
      handle: async ({ params: { id } }) => {
        const row = await store.findLifecycle(id);
        if (row === undefined) throw new SkepError("lifecycle_not_found");
        return { status: 200, body: (await toJson([row]))[0]! };
      },
    }),
    defineRoute("cancelLifecycle", {
      params,
      replies: { 200: cancelLifecycleReply, 202: cancelLifecycleReply },
      handle: async ({ params: { id }, context }) => control.cancel(id, context),
    }),
    defineRoute("resolveLifecycle", {
      params,
      body: resolveLifecycleRequest,
      replies: { 200: cancelLifecycleReply, 202: cancelLifecycleReply },
      handle: async ({ params: { id }, body, context }) => control.resolveLost(id, body.note, context),
    }),
    defineRoute("listPlacements", {
      query: placementQuery,
      replies: { 200: placementList },
      handle: async ({ query }) => {
        const deploymentId: DeploymentId | undefined = query.deployment === undefined ? undefined : (await requireDeployment(store, query.deployment)).id;
        const hostId: HostId | undefined = query.host === undefined ? undefined : (await requireHost(store, query.host)).id;
        const views = await store.listPlacements({ ...pageOf(query), deploymentId, hostId });
        const { items, next } = cutPage(views, query.limit, (view) => view.placement.id);
        return { status: 200, body: { items: items.map(placementJson), next_cursor: next } };
      },
    }),
  ];

  /** History outlives names: rows of a deployment that was torn down are found by the name they carry. */
  async function deploymentKey(ref: string): Promise<string> {
    const live = await store.findDeployment(ref);
    if (live !== undefined) return live.id;
    if (!isUuid(ref) && (await store.listLifecycle({ limit: 1, deployment: ref })).length > 0) return ref;
    throw new SkepError("deployment_not_found", `no deployment ${ref}`);
  }
}
