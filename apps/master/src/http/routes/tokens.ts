/** API tokens. The secret is in the answer of the creation and nowhere else, then or later. */
import { SkepError, addMs, isUuid, type TokenId } from "@skep/core";
import { createTokenReply, createTokenRequest, idSchema, tokenList, tokenView } from "@skep/protocol";
import { z } from "zod";
import { cutPage } from "../readers.ts";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { newToken } from "../tokens.ts";
import { tokenJson } from "../views/event.ts";

const params = z.strictObject({ id: idSchema });
const listQuery = z.strictObject({ limit: z.coerce.number().int().min(1).max(500).default(50), cursor: z.string().max(200).optional() });

export function tokenRoutes({ store, clock, rng }: OperatorDeps, onRevoked: (id: TokenId) => void): RouteDefinition[] {
  return [
    defineRoute("createToken", {
      body: createTokenRequest,
      replies: { 201: createTokenReply },
      handle: async ({ body, context }) => {
        const created = newToken(clock.now(), rng);
        const view = await store.transaction(async (tx) => {
          const key = context.idempotency;
          if (key !== undefined) {
            const claim = await tx.claimIdempotency(key);
            if (claim.kind === "reused") throw new SkepError("idempotency_key_reused");
            if (claim.kind === "in_progress") throw new SkepError("request_in_progress", undefined, { retryAfterMs: 1_000 });
            // Only the id was stored (docs/decisions/0005): the secret cannot be said again, and another one is not it.
            if (claim.kind === "replay") throw new SkepError("secret_shown_once", `It made the token ${(claim.body as { id: string }).id}; its secret is not kept.`);
          }
          const now = await tx.now();
          await tx.insertApiToken({ id: created.id, name: body.name, role: body.role, secretHash: created.secretHash, expiresAt: addMs(now, body.ttl_s * 1000) });
          await tx.appendAudit({ actor: context.actor, action: "token.create", subject: `token:${created.id}`, outcome: "allowed", requestId: context.requestId, detail: { name: body.name, role: body.role, ttl_s: body.ttl_s } });
          await tx.appendEvent({ kind: "token.created", severity: "info", message: `token ${body.name} (${body.role}) created`, data: { token_id: created.id } });
          const record = await tx.findApiToken(created.id);
          if (record === undefined) throw new Error("a token just inserted is not there");
          if (key !== undefined) await tx.completeIdempotency(key, 201, { id: created.id });
          return tokenJson(record);
        });
        return { status: 201, body: { ...view, token: created.token }, location: `/v1/tokens/${created.id}` };
      },
    }),
    defineRoute("listTokens", {
      query: listQuery,
      replies: { 200: tokenList },
      handle: async ({ query }) => {
        if (query.cursor !== undefined && !isUuid(query.cursor)) throw new SkepError("cursor_mismatch", "The cursor is not one of this list.");
        const cursor = query.cursor ?? "";
        const rows = [...(await store.listApiTokens())].sort((a, b) => (a.id < b.id ? -1 : 1)).filter((token) => token.id > cursor);
        const { items, next } = cutPage(rows, query.limit, (token) => token.id);
        return { status: 200, body: { items: items.map(tokenJson), next_cursor: next } };
      },
    }),
    defineRoute("deleteToken", {
      params,
      replies: { 200: tokenView },
      handle: async ({ params: { id }, context }) => {
        const view = await store.transaction(async (tx) => {
          const token = await tx.findApiToken(id as TokenId);
          if (token === undefined) throw new SkepError("token_not_found");
          // Revoking twice is one revocation: a repeated DELETE is answered alike and changes nothing.
          if (await tx.revokeApiToken(token.id)) {
            await tx.appendAudit({ actor: context.actor, action: "token.revoke", subject: `token:${id}`, outcome: "allowed", requestId: context.requestId });
            await tx.appendEvent({ kind: "token.revoked", severity: "info", message: `token ${token.name} revoked`, data: { token_id: id } });
          }
          return tokenJson((await tx.findApiToken(token.id)) ?? token);
        });
        onRevoked(id as TokenId);
        return { status: 200, body: view };
      },
    }),
  ];
}
