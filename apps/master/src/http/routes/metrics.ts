/** Metrics, in Prometheus' text format: this master's own, and those of an agent that Prometheus cannot reach itself. */
import { METRICS_CONTENT_TYPE, refSchema } from "@skep/protocol";
import { z } from "zod";
import { requireHost } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";

export function metricRoutes({ store, agents, metrics }: OperatorDeps): RouteDefinition[] {
  return [
    defineRoute("getMetrics", {
      replies: { 200: z.string() },
      text: METRICS_CONTENT_TYPE,
      worksWithoutLedger: true,
      handle: async () => ({ status: 200, body: await metrics.render() }),
    }),
    defineRoute("getHostMetrics", {
      params: z.strictObject({ host: refSchema }),
      replies: { 200: z.string() },
      text: METRICS_CONTENT_TYPE,
      handle: async ({ params }) => ({ status: 200, body: await agents.metrics(await requireHost(store, params.host)) }),
    }),
  ];
}
