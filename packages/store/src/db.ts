/** What a query function works on: a pool or one connection inside a transaction, alike. */
import { isUuid, SkepError } from "@skep/core";
import type { SQL } from "drizzle-orm";
import type { NodePgClient, NodePgDatabase } from "drizzle-orm/node-postgres";
import { PgDialect } from "drizzle-orm/pg-core";

export type Db = NodePgDatabase<Record<string, never>> & { readonly $client: NodePgClient };

const dialect = new PgDialect();

/**
 * The same, prepared once per connection under `name`: for a statement that runs all day, planning it each time costs
 * more than running it. Its text must not vary.
 */
export async function preparedRowsOf<T>(db: Db, name: string, query: SQL): Promise<readonly T[]> {
  const { sql: text, params } = dialect.sqlToQuery(query);
  return (await db.$client.query({ name, text, values: params })).rows as readonly T[];
}

/** The rows of a statement that drizzle has no form for. The caller names their shape, as the statement does. */
export async function rowsOf<T>(result: PromiseLike<{ rows: unknown[] }>): Promise<readonly T[]> {
  return (await result).rows as readonly T[];
}

/** `null` is SQL's word for it, `undefined` ours. */
export const known = <T>(value: T | null): T | undefined => value ?? undefined;

/** The first of at most one. */
export const first = async <T>(rows: PromiseLike<readonly T[]>): Promise<T | undefined> => (await rows)[0];

/** A page's position. Throws `cursor_mismatch` for what no page of ours ever ended with. */
export function afterId<T extends string>(after: string): T {
  if (!isUuid(after)) throw new SkepError("cursor_mismatch", "`after` is the id of the last item of a page");
  return after as T;
}
