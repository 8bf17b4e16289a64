/** How hosts are: by what is on record, over the whole fleet, and by asking them now. */
import { SkepError, toIso, instant } from "@skep/core";
import { breakerReply, checkReply, checkRequest, fleetHealth, hostHealth, hostHealthList, hostHealthListQuery, refSchema } from "@skep/protocol";
import { z } from "zod";
import { eachOf } from "../each-of.ts";
import { everyHost } from "../every-host.ts";
import { loadHealth } from "../health-facts.ts";
import { createHealthList } from "../list-health.ts";
import { labelsOf, requireHost } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { breakerJson, healthJson } from "../views/host.ts";

/** Too few makes a fleet's check slow; too many opens a storm of TLS handshakes from one request. */
const CHECK_CONCURRENCY = 16;

export function healthRoutes(deps: OperatorDeps): RouteDefinition[] {
  const { store, control, identity, agents, timings } = deps;
  const listHealth = createHealthList(deps);
  return [
    defineRoute("getHostHealth", {
      params: z.strictObject({ host: refSchema }),
      replies: { 200: hostHealth },
      handle: async ({ params }) => {
        return { status: 200, body: healthJson(await loadHealth(deps, params.host)) };
      },
    }),
    defineRoute("resetBreaker", {
      params: z.strictObject({ host: refSchema }),
      replies: { 200: breakerReply },
      handle: async ({ params: { host: ref }, context }) => {
        const host = await store.transaction(async (tx) => {
          const before = await requireHost(tx, ref);
          if (before.status === "decommissioned") throw new SkepError("host_decommissioned");
          await tx.resetBreakers(before.id);
          await tx.appendAudit({ actor: context.actor, action: "host.breaker_reset", subject: `host:${before.id}`, outcome: "allowed", requestId: context.requestId });
          await tx.appendEvent({ kind: "breaker.reset", severity: "info", message: `${context.actor} reset the breakers for host ${before.name}`, hostId: before.id });
          return requireHost(tx, before.id);
        });
        return { status: 200, body: { host_id: host.id, name: host.name, breaker: breakerJson(agents.circuit(host), await store.now()) } };
      },
    }),
    defineRoute("getFleetHealth", {
      replies: { 200: fleetHealth },
      handle: async () => {
        const counts = await store.fleetCounts();
        const since = instant(control.listeningSince());
        return {
          status: 200,
          body: { hosts: { ...counts.hosts }, open_rows: { ...counts.openRows }, deployments: { ...counts.deployments }, listening_since: toIso(since), warm: identity.now() - since >= timings.warmUpMs },
        };
      },
    }),
    defineRoute("listHostHealth", {
      query: hostHealthListQuery,
      replies: { 200: hostHealthList },
      handle: async ({ query }) => {
        const { label, ...rest } = query;
        const { items, next } = await listHealth({ ...rest, labels: labelsOf(label) });
        return { status: 200, body: { items: items.map(healthJson), next_cursor: next } };
      },
    }),
    defineRoute("checkHosts", {
      body: checkRequest.prefault({}),
      replies: { 200: checkReply },
      handle: async ({ body }) => {
        const hosts = body.hosts === undefined ? await everyHost(store) : await Promise.all(body.hosts.map((ref) => requireHost(store, ref)));
        // Writes nothing: an operator's question is no evidence for liveness, and an answer promotes nobody.
        const items = await eachOf(hosts, CHECK_CONCURRENCY, async (host) => {
          const answer = await agents.health(host);
          return { host_id: host.id, name: host.name, ok: answer.ok, ms: Math.max(0, answer.ms), error: answer.ok ? null : answer.error };
        });
        return { status: 200, body: { items } };
      },
    }),
  ];
}
