/** Alerts: what fires, what has fired, and that somebody has seen it. */
import { EVENT_SEVERITIES } from "@skep/core";
import { alertList, alertListQuery, alertView, idSchema } from "@skep/protocol";
import { z } from "zod";
import { cutPage, pageOf, requireDeployment, requireHost } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { alertJson } from "../views/alert.ts";

export function alertRoutes({ store, control }: OperatorDeps): RouteDefinition[] {
  return [
    defineRoute("listAlerts", {
      query: alertListQuery,
      replies: { 200: alertList },
      handle: async ({ query }) => {
        const rows = await store.listAlerts({
          ...pageOf(query),
          state: query.state === "all" ? undefined : query.state,
          severities: query.min_severity === undefined ? undefined : EVENT_SEVERITIES.slice(EVENT_SEVERITIES.indexOf(query.min_severity)),
          hostId: query.host === undefined ? undefined : (await requireHost(store, query.host)).id,
          deploymentId: query.deployment === undefined ? undefined : (await requireDeployment(store, query.deployment)).id,
        });
        const { items, next } = cutPage(rows, query.limit, (row) => row.id);
        return { status: 200, body: { items: items.map(alertJson), next_cursor: next } };
      },
    }),
    defineRoute("acknowledgeAlert", {
      params: z.strictObject({ id: idSchema }),
      replies: { 200: alertView },
      handle: async ({ params: { id }, context }) => control.acknowledgeAlert(id, context),
    }),
  ];
}
