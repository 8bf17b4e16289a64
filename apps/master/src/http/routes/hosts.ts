/** Hosts: created, looked at, changed, given up. Identity is the identity module's; here is only its HTTP. */
import { SkepError, isOpenDrain, toIso, type HostRecord } from "@skep/core";
import {
  bundleRequest, certList, createHostReply, createHostRequest, deleteHostQuery, heartbeatRing, hostList, hostListQuery, hostView, refSchema, updateHostRequest,
} from "@skep/protocol";
import { z } from "zod";
import { checkAgentAddress } from "../../agents/address.ts";
import { cutPage, labelsOf, pageOf, requireHost, requireHostView } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { hostJson } from "../views/host.ts";
import { timeOrNull } from "../views/time.ts";

const params = z.strictObject({ host: refSchema });

export function hostRoutes(deps: OperatorDeps): RouteDefinition[] {
  const { store, identity } = deps;
  const withLiveness = async (host: HostRecord) => {
    const view = await store.findHostView(host.id);
    return hostJson(host, view?.liveness, view?.report, view?.reachability);
  };
  return [
    defineRoute("createHost", {
      body: createHostRequest,
      replies: { 201: createHostReply },
      limit: "creation",
      handle: async ({ body, context }) => {
        const reply = await identity.createHost(body, context);
        const { host, bundle } = reply.body;
        return { status: reply.status, body: { host: hostJson(host, undefined, undefined, undefined), bundle }, replayed: reply.replayed, location: `/v1/hosts/${host.id}` };
      },
    }),
    defineRoute("createBundle", {
      params,
      body: bundleRequest.prefault({}),
      replies: { 201: createHostReply },
      limit: "creation",
      handle: async ({ params: { host: ref }, body, context }) => {
        const reply = await identity.createBundle(ref, body, context);
        return { status: reply.status, body: { host: await withLiveness(reply.body.host), bundle: reply.body.bundle }, replayed: reply.replayed };
      },
    }),
    defineRoute("rotateHost", {
      params,
      replies: { 202: hostView },
      handle: async ({ params: { host: ref }, context }) => {
        const reply = await identity.requestRotation(ref, context);
        return { status: reply.status, body: await withLiveness(reply.body.host), replayed: reply.replayed };
      },
    }),
    defineRoute("deleteHost", {
      params,
      query: deleteHostQuery,
      replies: { 200: hostView },
      handle: async ({ params: { host: ref }, query, context }) => {
        const reply = await identity.decommission(ref, query.force, context);
        return { status: reply.status, body: await withLiveness(reply.body.host), replayed: reply.replayed };
      },
    }),
    defineRoute("listHosts", {
      query: hostListQuery,
      replies: { 200: hostList },
      handle: async ({ query }) => {
        const views = await store.listHosts({ ...pageOf(query), status: query.status, labels: labelsOf(query.label) });
        const { items, next } = cutPage(views, query.limit, (view) => view.host.id);
        return { status: 200, body: { items: items.map(({ host, liveness, report, reachability }) => hostJson(host, liveness, report, reachability)), next_cursor: next } };
      },
    }),
    defineRoute("getHost", {
      params,
      replies: { 200: hostView },
      handle: async ({ params: { host: ref } }) => {
        const { host, liveness, report, reachability } = await requireHostView(store, ref);
        return { status: 200, body: hostJson(host, liveness, report, reachability) };
      },
    }),
    defineRoute("updateHost", {
      params,
      body: updateHostRequest,
      replies: { 200: hostView },
      handle: async ({ params: { host: ref }, body, context }) => {
        const host = await store.transaction(async (tx) => {
          const before = await requireHost(tx, ref);
          if (before.status === "decommissioned") throw new SkepError("host_decommissioned");
          if (Object.values(body).every((value) => value === undefined)) return before;
          const drain = body.schedulable === true ? await tx.findDrain(before.id) : undefined;
          if (drain !== undefined && isOpenDrain(drain.status)) throw new SkepError("host_draining", `${before.name} is ${drain.status}: what it is to lose would come back; cancel its drain first: skep host drain ${before.name} --cancel`);
          const address = body.address ?? before.address;
          const port = body.agent_port ?? before.agentPort;
          if ((body.address !== undefined || body.agent_port !== undefined) && address !== undefined && port !== 0) {
            const host = address.includes(":") && !address.startsWith("[") ? `[${address}]` : address;
            checkAgentAddress(`https://${host}:${port}`, { allowLoopback: deps.allowLoopbackAgents ?? false, allowedCidr: before.allowedCidr });
          }
          await tx.updateHost(before.id, {
            ...(body.schedulable === undefined ? {} : { schedulable: body.schedulable }),
            ...(body.labels === undefined ? {} : { labels: body.labels }),
            ...(body.notes === undefined ? {} : { notes: body.notes }),
            ...(body.address === undefined ? {} : { address: body.address }),
            ...(body.agent_port === undefined ? {} : { agentPort: body.agent_port }),
          });
          const fields = Object.keys(body).sort().join(",");
          await tx.appendAudit({ actor: context.actor, action: "host.update", subject: `host:${before.id}`, outcome: "allowed", requestId: context.requestId, detail: { fields } });
          const cordon = body.schedulable !== undefined && body.schedulable !== before.schedulable;
          const kind = cordon ? (body.schedulable === true ? "host.uncordoned" : "host.cordoned") : "host.updated";
          await tx.appendEvent({ kind, severity: "info", message: cordon ? `host ${before.name} is ${kind.slice(5)}` : `host ${before.name} changed: ${fields}`, hostId: before.id });
          return requireHost(tx, before.id);
        });
        return { status: 200, body: await withLiveness(host) };
      },
    }),
    defineRoute("listHeartbeats", {
      params,
      replies: { 200: heartbeatRing },
      handle: async ({ params: { host: ref } }) => {
        const host = await requireHost(store, ref);
        const beats = await store.listRing(host.id);
        return { status: 200, body: { items: beats.map((beat) => ({ received_at: toIso(beat.receivedAt), seq: beat.seq, phase: beat.phase ?? null, changed: beat.changed })) } };
      },
    }),
    defineRoute("listHostCerts", {
      params,
      replies: { 200: certList },
      handle: async ({ params: { host: ref } }) => {
        const host = await requireHost(store, ref);
        const certs = await store.listHostCerts(host.id);
        return { status: 200, body: { items: certs.map((cert) => ({ sha256: cert.fingerprint, status: cert.status, not_before: toIso(cert.notBefore), not_after: toIso(cert.notAfter), retire_at: timeOrNull(cert.retireAt) })) } };
      },
    }),
  ];
}
