/** Captured output of a deployment's components: read once, or followed. */
import { SkepError, type DeploymentRecord } from "@skep/core";
import { logReply, logsQuery, refSchema } from "@skep/protocol";
import { z } from "zod";
import { followLogs } from "../follow-logs.ts";
import { readTail, type LogSource } from "../read-logs.ts";
import { eachOf } from "../each-of.ts";
import { placementsOn, requireDeployment } from "../readers.ts";
import { defineRoute, STREAMED, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import type { Streams } from "../streams.ts";

const READ_CONCURRENCY = 8;
/** What one answer may hold in all; past it the rest is named as not read. */
const REPLY_BYTES = 8 * 1_048_576;

export function logRoutes(deps: OperatorDeps, streams: () => Streams): RouteDefinition[] {
  const { store, agents } = deps;

  /** Every component of the deployment on every host asked for, whether or not it has output yet. */
  const sourcesOf = async (deployment: DeploymentRecord, component: string | undefined, host: string | undefined): Promise<LogSource[]> => {
    const views = await placementsOn(store, deployment, host);
    const generations = await store.listGenerations(deployment.id);
    const latest = Math.max(0, ...generations.map((item) => item.generation));
    const spec = latest === 0 ? undefined : (await store.findGeneration(deployment.id, latest))?.spec;
    const names = spec?.components.map((item) => item.name) ?? [];
    if (component !== undefined && spec !== undefined && !names.includes(component)) throw new SkepError("unknown_component", `There are: ${names.join(", ")}.`);
    const sources: LogSource[] = [];
    for (const view of views) {
      const record = await store.findHost(view.placement.hostId);
      if (record === undefined) continue;
      for (const name of component === undefined ? names : [component]) sources.push({ host: record, placementId: view.placement.id, component: name });
    }
    return sources;
  };

  return [
    defineRoute("getDeploymentLogs", {
      params: z.strictObject({ deployment: refSchema }),
      query: logsQuery,
      replies: { 200: logReply },
      streams: true,
      handle: async ({ params, query, request, reply, principal }) => {
        const deployment = await requireDeployment(store, params.deployment);
        const look = () => sourcesOf(deployment, query.component, query.host);
        const sources = await look();
        if (query.follow) {
          streams().serve(request, reply, principal(), {}, (stream) => followLogs(deps, stream, look, sources, query.tail_bytes));
          return STREAMED;
        }
        let left = REPLY_BYTES;
        const results = await eachOf(sources, READ_CONCURRENCY, async (source) => {
          if (left <= 0) return { source, lines: [], error: `not read: the answer already holds ${REPLY_BYTES} bytes; name a host or a component` };
          const result = await readTail(agents, source, query.tail_bytes, query.offset);
          left -= result.bytes;
          return { source, ...result };
        });
        return {
          status: 200,
          body: {
            items: results.flatMap(({ source, lines }) => lines.map((line) => ({ host: source.host.name, component: source.component, ...line }))),
            errors: results.flatMap(({ source, error }) => (error === undefined ? [] : [{ host: source.host.name, component: source.component, error }])),
          },
        };
      },
    }),
  ];
}
