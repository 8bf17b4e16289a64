/** Operators' tokens. */
import { isUuid } from "@skep/core";
import type { ApiToken, TokenId, Tx } from "@skep/core";
import { and, asc, eq, isNull, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { first, known } from "./db.ts";
import { apiTokens } from "./schema/index.ts";

const tokenOf = (row: typeof apiTokens.$inferSelect): ApiToken => ({ ...row, revokedAt: known(row.revokedAt) });

export async function findApiToken(db: Db, id: TokenId): Promise<ApiToken | undefined> {
  if (!isUuid(id)) return undefined;
  const row = await first(db.select().from(apiTokens).where(eq(apiTokens.id, id)));
  return row && tokenOf(row);
}

export async function listApiTokens(db: Db): Promise<readonly ApiToken[]> {
  return (await db.select().from(apiTokens).orderBy(asc(apiTokens.id))).map(tokenOf);
}

export async function insertApiToken(db: Db, token: Parameters<Tx["insertApiToken"]>[0]): Promise<void> {
  await db.insert(apiTokens).values(token);
}

/** False when there is none or it was revoked before. */
export async function revokeApiToken(db: Db, id: TokenId): Promise<boolean> {
  if (!isUuid(id)) return false;
  const rows = await db.update(apiTokens).set({ revokedAt: sql`now()` }).where(and(eq(apiTokens.id, id), isNull(apiTokens.revokedAt))).returning({ id: apiTokens.id });
  return rows.length > 0;
}
