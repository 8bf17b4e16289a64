/**
 * One accepted operation per key (I1). A second request that arrives while the first is at work is told so at once:
 * it neither waits for a lock, which would time out as an outage, nor sees "free".
 */
import type { IdempotencyKey, IdempotencyOutcome } from "@skep/core";
import { and, eq, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { first, rowsOf } from "./db.ts";
import { idempotencyKeys } from "./schema/index.ts";

const isKey = ({ scope, key }: IdempotencyKey) => and(eq(idempotencyKeys.scope, scope), eq(idempotencyKeys.key, key));

export async function claimIdempotency(db: Db, key: IdempotencyKey): Promise<IdempotencyOutcome> {
  // Held until the end of the transaction: whoever gets it later sees what this one has committed.
  const name = JSON.stringify([key.scope, key.key]);
  const [lock] = await rowsOf<{ free: boolean }>(db.execute(sql`SELECT pg_try_advisory_xact_lock(hashtextextended(${name}, 7245)) AS free`));
  if (lock?.free !== true) return { kind: "in_progress" };
  const claimed = await db.insert(idempotencyKeys).values(key).onConflictDoNothing().returning({ key: idempotencyKeys.key });
  if (claimed.length > 0) return { kind: "claimed" };
  const stored = await first(db.select().from(idempotencyKeys).where(isKey(key)));
  if (stored === undefined) return { kind: "in_progress" };
  if (stored.bodyHash !== key.bodyHash) return { kind: "reused" };
  return stored.status === null ? { kind: "in_progress" } : { kind: "replay", status: stored.status, body: stored.body };
}

export async function completeIdempotency(db: Db, key: IdempotencyKey, status: number, body: unknown): Promise<void> {
  await db.update(idempotencyKeys).set({ completedAt: sql`now()`, status, body: body ?? null }).where(isKey(key));
}
