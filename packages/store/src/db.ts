/** What a query function works on: a pool or one connection inside a transaction, alike. */
import type { NodePgDatabase } from "drizzle-orm/node-postgres";

export type Db = NodePgDatabase<Record<string, never>>;

/** The rows of a statement that drizzle has no form for. The caller names their shape, as the statement does. */
export async function rowsOf<T>(result: PromiseLike<{ rows: unknown[] }>): Promise<readonly T[]> {
  return (await result).rows as readonly T[];
}

/** `null` is SQL's word for it, `undefined` ours. */
export const known = <T>(value: T | null): T | undefined => value ?? undefined;

/** The first of at most one. */
export const first = async <T>(rows: PromiseLike<readonly T[]>): Promise<T | undefined> => (await rows)[0];
