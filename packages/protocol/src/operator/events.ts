/** Events, explanations, tokens, and what the master says of itself. */
import { EVENT_SEVERITIES, ROLES } from "@skep/core";
import { z } from "zod";
import { cleanText, idSchema, listOf, nameSchema, pageQuery, refSchema } from "../common.ts";
import { time, timeOrNull } from "./time.ts";

export const eventView = z.object({
  cursor: z.string(), at: time, kind: z.string(), severity: z.enum(EVENT_SEVERITIES), message: z.string(),
  host_id: z.string().nullable(), host: z.string().nullable(), deployment_id: z.string().nullable(), placement_id: z.string().nullable(), lifecycle_id: z.string().nullable(),
  data: z.record(z.string(), z.unknown()).nullable(),
});
export type EventJson = z.infer<typeof eventView>;
/** With `cursor`: events after it, oldest first, and the next cursor. Without: the newest `limit`. */
export const eventList = z.object({ items: z.array(eventView), next_cursor: z.string() });
export const eventQuery = z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).default(100), cursor: z.string().max(120).optional(), host: refSchema.optional(), deployment: refSchema.optional(), kind: z.string().max(63).optional() });

export const auditView = z.object({
  id: z.string(), at: time, actor: z.string(), action: z.string(), subject: z.string(), outcome: z.enum(["allowed", "denied"]), request_id: z.string().nullable(),
  detail: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).nullable(),
});
export type AuditJson = z.infer<typeof auditView>;
/** Newest first. */
export const auditList = listOf(auditView);
/** `action`: a prefix, for example `exec` or `token.create`. `actor`: whole, for example `token:<id>`. */
export const auditQuery = z.strictObject({ ...pageQuery, action: z.string().max(63).optional(), actor: cleanText(128).optional() });

export const EXPLAIN_KINDS = ["host", "deployment", "placement", "lifecycle"] as const;
export const explanation = z.object({
  kind: z.enum(EXPLAIN_KINDS), id: idSchema, name: z.string(),
  summary: z.string(),
  /** Of a lifecycle row. */
  trace_id: z.string().nullish(),
  reasons: z.array(z.object({ code: z.string(), message: z.string(), next: z.string(), since: timeOrNull })),
  events: z.array(eventView),
});
export type Explanation = z.infer<typeof explanation>;

export const createTokenRequest = z.strictObject({ name: nameSchema, role: z.enum(ROLES), ttl_s: z.int().min(60).max(90 * 86_400).default(30 * 86_400) });
export const tokenView = z.object({ id: idSchema, name: z.string(), role: z.enum(ROLES), created_at: time, expires_at: time, revoked_at: timeOrNull });
export const createTokenReply = tokenView.extend({ token: z.string() });
export const tokenList = z.object({ items: z.array(tokenView), next_cursor: z.string().nullable() });
export const healthz = z.object({ status: z.literal("ok") });
export const readyz = z.object({ status: z.enum(["ready", "not_ready"]), checks: z.record(z.string(), z.string()) });
export const versionView = z.object({ version: z.string(), heartbeat_interval_ms: z.int(), trust_domain: z.string(), ca_sha256: z.string() });
