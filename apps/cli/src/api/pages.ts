/** Whole lists, page by page. */
import type { OperatorRouteId } from "@skep/protocol";
import type { Instant } from "@skep/core";
import type { Api } from "./client.ts";
import type { Target } from "./path.ts";
import type { Schema } from "./schema.ts";

const PAGE = 500;

export interface Listed<T> {
  readonly items: readonly T[];
  /** In the API's own shape: {items, next_cursor}. `next_cursor` is null unless `limit` cut the list short. */
  readonly raw: { readonly items: readonly unknown[]; readonly next_cursor: string | null };
  readonly at: Instant;
}

/** Up to `limit` items; undefined for all of them. */
export async function listAll<T>(api: Api, id: OperatorRouteId, schema: Schema<{ items: T[]; next_cursor: string | null }>, target: Target = {}, limit?: number): Promise<Listed<T>> {
  const items: T[] = [];
  const rawItems: unknown[] = [];
  let cursor: string | undefined;
  for (;;) {
    const left = limit === undefined ? PAGE : Math.min(PAGE, limit - items.length);
    const reply = await api.call(id, schema, { ...target, query: { ...target.query, limit: left, cursor } });
    items.push(...reply.data.items);
    rawItems.push(...(reply.raw as { items: unknown[] }).items);
    const next = reply.data.next_cursor;
    if (next === null || next === cursor || (limit !== undefined && items.length >= limit)) return { items, raw: { items: rawItems, next_cursor: next === cursor ? null : next }, at: reply.at };
    cursor = next;
  }
}
