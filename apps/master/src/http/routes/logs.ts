/** Captured output of a deployment's components: read once, or followed from wherever the reader was. */
import { SkepError, type DeploymentRecord, type PlacementId, type Reads } from "@skep/core";
import { followLogsRequest, logReply, logsQuery, refSchema, type FollowLogsRequest } from "@skep/protocol";
import { z } from "zod";
import { followLogs, type FollowPlan } from "../follow-logs.ts";
import type { CursorStart } from "../log-cursor.ts";
import { readOnce, type LogSource } from "../read-logs.ts";
import { eachOf } from "../each-of.ts";
import { placementsOn, requireDeployment } from "../readers.ts";
import { defineRoute, STREAMED, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import type { Streams } from "../streams.ts";

const READ_CONCURRENCY = 8;
/** What one answer may hold in all; past it the rest is named as not read. */
const REPLY_BYTES = 8 * 1_048_576;
const params = z.strictObject({ deployment: refSchema });

type Wish = Pick<FollowLogsRequest, "component" | "host">;

export function logRoutes(deps: OperatorDeps, streams: () => Streams): RouteDefinition[] {
  const { store, agents } = deps;

  const planOf = async (ref: string, wish: FollowLogsRequest): Promise<FollowPlan> => {
    const deployment = await requireDeployment(store, ref);
    const first = await sourcesOf(store, deployment, wish);
    const { positions } = wish;
    const present = new Set(first.map(keyOf));
    return {
      first,
      departed: positions === undefined ? [] : await departedOf(store, deployment, wish, Object.keys(positions).filter((key) => !present.has(key))),
      startOf: (source) => {
        const known = positions?.[keyOf(source)];
        if (known !== undefined && known >= 0) return { kind: "position", at: known };
        if (known !== undefined) return { kind: "tail", bytes: -known, lines: wish.tail_lines };
        // Not among the positions: it appeared after they were taken.
        return positions === undefined ? startOf(wish) : { kind: "position", at: 0 };
      },
      look: () => lookAgain(store, ref, wish),
      untilCaughtUp: wish.until === "caught_up",
    };
  };

  return [
    defineRoute("getDeploymentLogs", {
      params,
      query: logsQuery,
      replies: { 200: logReply },
      streams: true,
      handle: async ({ params: { deployment: ref }, query, request, reply, principal }) => {
        if (query.follow) {
          const { follow: _follow, ...wish } = query;
          const plan = await planOf(ref, { ...wish, until: "stopped" });
          streams().serve(request, reply, principal(), {}, (stream) => followLogs(deps, stream, plan));
          return STREAMED;
        }
        const sources = await sourcesOf(store, await requireDeployment(store, ref), query);
        let left = REPLY_BYTES;
        const results = await eachOf(sources, READ_CONCURRENCY, async (source) => {
          const start = startOf(query);
          if (left <= 0) return { source, news: [], next: start.kind === "tail" ? -start.bytes : start.at, error: `not read: the answer already holds ${REPLY_BYTES} bytes; name a host or a component` };
          const result = await readOnce(agents, source, start, query.tail_bytes);
          left -= result.bytes;
          return { source, ...result };
        });
        const named = ({ host, placementId, component }: LogSource) => ({ host: host.name, placement_id: placementId, component });
        return {
          status: 200,
          body: {
            items: results.flatMap(({ source, news }) => news.flatMap((one) => (one.kind === "line" ? [{ ...named(source), ...one.line }] : []))),
            gaps: results.flatMap(({ source, news }) => news.flatMap((one) => (one.kind === "gap" ? [{ ...named(source), kind: one.why, rotated_bytes: one.bytes, from: one.from, to: one.to }] : []))),
            errors: results.flatMap(({ source, error }) => (error === undefined ? [] : [{ ...named(source), error }])),
            positions: results.map(({ source, next }) => ({ ...named(source), offset: next })),
          },
        };
      },
    }),
    defineRoute("followDeploymentLogs", {
      params,
      body: followLogsRequest,
      replies: { 200: z.string() },
      streams: "events",
      handle: async ({ params: { deployment: ref }, body, request, reply, principal }) => {
        const plan = await planOf(ref, body);
        streams().serve(request, reply, principal(), {}, (stream) => followLogs(deps, stream, plan));
        return STREAMED;
      },
    }),
  ];
}

const keyOf = ({ placementId, component }: LogSource): string => `${placementId}/${component}`;
const startOf = ({ offset, tail_bytes: bytes, tail_lines: lines }: Pick<FollowLogsRequest, "offset" | "tail_bytes" | "tail_lines">): CursorStart =>
  offset === undefined ? { kind: "tail", bytes, lines } : { kind: "offset", at: offset };

/** Every component of the deployment on every host asked for, whether or not it has output yet. */
async function sourcesOf(store: Reads, deployment: DeploymentRecord, { component, host }: Wish): Promise<LogSource[]> {
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
}

/** What was followed and has gone since: its agent keeps the output, so the last words can still be read. */
async function departedOf(store: Reads, deployment: DeploymentRecord, { component, host }: Wish, keys: readonly string[]): Promise<LogSource[]> {
  const sources: LogSource[] = [];
  for (const key of keys) {
    const [placementId = "", name = ""] = key.split("/");
    if (component !== undefined && name !== component) continue;
    const view = await store.findPlacement(placementId as PlacementId);
    const record = view === undefined ? undefined : await store.findHost(view.placement.hostId);
    // Positions of another deployment, or of one that was removed and made anew, are not this one's to read.
    if (view === undefined || record === undefined || view.placement.deploymentId !== deployment.id || record.status === "decommissioned") continue;
    if (host === undefined || host === record.name || host === record.id) sources.push({ host: record, placementId, component: name });
  }
  return sources;
}

/** Looked up by the name that was given: a deployment that was removed and made anew is followed on. */
async function lookAgain(store: Reads, ref: string, wish: Wish): Promise<readonly LogSource[]> {
  const deployment = await store.findDeployment(ref);
  if (deployment === undefined) return [];
  try {
    return await sourcesOf(store, deployment, wish);
  } catch (error) {
    // It has lost the component or the host that was named; it may get it back.
    if (error instanceof SkepError && (error.code === "unknown_component" || error.code === "host_not_found")) return [];
    throw error;
  }
}
