/** The audit log: an audit nobody can read is none. */
import { SkepError, toIso } from "@skep/core";
import { auditList, auditQuery } from "@skep/protocol";
import { cutPage } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";

const MAX_BIGINT = 9_223_372_036_854_775_807n;

export function auditRoutes({ store }: OperatorDeps): RouteDefinition[] {
  return [
    defineRoute("listAudit", {
      query: auditQuery,
      replies: { 200: auditList },
      handle: async ({ query }) => {
        const { limit, cursor, action, actor } = query;
        if (cursor !== undefined && (!/^\d{1,19}$/.test(cursor) || BigInt(cursor) > MAX_BIGINT)) throw new SkepError("cursor_mismatch", "The cursor is not one of this list.");
        // One more than asked for tells whether there is a next page.
        const rows = await store.listAudit({ limit: limit + 1, before: cursor, actionPrefix: action, actor });
        const { items, next } = cutPage(rows, limit, (row) => row.id);
        return {
          status: 200,
          body: {
            items: items.map(({ id, at, actor: who, action: what, subject, outcome, requestId, detail }) => ({
              id, at: toIso(at), actor: who, action: what, subject, outcome, request_id: requestId ?? null, detail: detail === undefined ? null : { ...detail },
            })),
            next_cursor: next,
          },
        };
      },
    }),
  ];
}
