/** Metrics, in Prometheus' text format: this master's own, and those of an agent that Prometheus cannot reach itself. */
import { SkepError } from "@skep/core";
import { METRICS_CONTENT_TYPE, refSchema } from "@skep/protocol";
import { z } from "zod";
import { requireHost } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";

/**
 * Agents asked at once. Hosts that are gone hold a request for seconds, and a rack of them must not take the places that
 * operators need (200 in all). Fewer: a healthy fleet of thousands is not scraped in time.
 */
export const MAX_AGENTS_ASKED = 64;

export function metricRoutes({ store, agents, metrics }: OperatorDeps): RouteDefinition[] {
  let asked = 0;
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
      handle: async ({ params }) => {
        const host = await requireHost(store, params.host);
        if (asked >= MAX_AGENTS_ASKED) throw new SkepError("overloaded", `${asked} agents are being asked for their metrics.`, { retryAfterMs: 1_000 });
        asked += 1;
        try {
          return { status: 200, body: await agents.metrics(host) };
        } finally {
          asked -= 1;
        }
      },
    }),
  ];
}
