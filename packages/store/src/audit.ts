/** The audit log: written in the transaction of what it records, so that neither exists without the other. */
import type { AuditEntry } from "@skep/core";
import type { Db } from "./db.ts";
import { auditLog } from "./schema/index.ts";

export async function appendAudit(db: Db, entry: AuditEntry): Promise<void> {
  const { actor, action, subject, outcome, requestId, detail } = entry;
  await db.insert(auditLog).values({ actor, action, subject, outcome, requestId, detail: detail ?? null });
}
