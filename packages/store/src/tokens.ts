/** Enrolment tokens: one winner each, decided by one conditional update. */
import { isUuid } from "@skep/core";
import type { EnrolmentToken, HostId, TokenId, Tx } from "@skep/core";
import { and, eq, gt, isNull, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { first, known } from "./db.ts";
import { enrolmentTokens } from "./schema/index.ts";

export async function findToken(db: Db, id: TokenId): Promise<EnrolmentToken | undefined> {
  if (!isUuid(id)) return undefined;
  const row = await first(db.select().from(enrolmentTokens).where(eq(enrolmentTokens.id, id)));
  return (
    row && {
      id: row.id,
      hostId: row.hostId,
      secretHash: row.secretHash,
      expiresAt: row.expiresAt,
      attempts: row.attempts,
      claimedAt: known(row.claimedAt),
      claimedSpki: known(row.claimedSpki),
      certPem: known(row.certPem),
      burned: row.burned,
    }
  );
}

export async function insertToken(db: Db, token: Parameters<Tx["insertToken"]>[0]): Promise<void> {
  await db.insert(enrolmentTokens).values(token);
}

/** The number of attempts so far, this one included; 0 for a token that does not exist. */
export async function countTokenAttempt(db: Db, id: TokenId): Promise<number> {
  const row = await first(
    db.update(enrolmentTokens).set({ attempts: sql`${enrolmentTokens.attempts} + 1` }).where(eq(enrolmentTokens.id, id)).returning({ attempts: enrolmentTokens.attempts }),
  );
  return row?.attempts ?? 0;
}

export async function claimToken(db: Db, id: TokenId, spkiSha256: string, certPem: string): Promise<boolean> {
  const rows = await db
    .update(enrolmentTokens)
    .set({ claimedAt: sql`now()`, claimedSpki: spkiSha256, certPem })
    .where(and(eq(enrolmentTokens.id, id), isNull(enrolmentTokens.claimedAt), eq(enrolmentTokens.burned, false), gt(enrolmentTokens.expiresAt, sql`now()`)))
    .returning({ id: enrolmentTokens.id });
  return rows.length > 0;
}

export async function burnTokens(db: Db, hostId: HostId): Promise<void> {
  await db.update(enrolmentTokens).set({ burned: true }).where(and(eq(enrolmentTokens.hostId, hostId), eq(enrolmentTokens.burned, false)));
}
