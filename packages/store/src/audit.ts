/** The audit log: written in the transaction of what it records, so that neither exists without the other. */
import type { AuditEntry, AuditQuery, AuditRecord } from "@skep/core";
import { and, desc, eq, lt, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { known } from "./db.ts";
import { auditLog } from "./schema/index.ts";

export async function appendAudit(db: Db, entry: AuditEntry): Promise<void> {
  const { actor, action, subject, outcome, requestId, detail } = entry;
  await db.insert(auditLog).values({ actor, action, subject, outcome, requestId, detail: detail ?? null });
}

export async function listAudit(db: Db, { limit, before, actionPrefix, actor }: AuditQuery): Promise<readonly AuditRecord[]> {
  const rows = await db.select().from(auditLog).where(and(
    before === undefined ? undefined : lt(auditLog.id, BigInt(before)),
    actionPrefix === undefined ? undefined : sql`starts_with(${auditLog.action}, ${actionPrefix})`,
    actor === undefined ? undefined : eq(auditLog.actor, actor),
  )).orderBy(desc(auditLog.id)).limit(limit);
  return rows.map(({ id, requestId, detail, ...row }) => ({ ...row, id: String(id), requestId: known(requestId), detail: known(detail) }));
}
