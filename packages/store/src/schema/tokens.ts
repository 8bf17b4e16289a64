/** Enrolment tokens: hashes only. */
import type { HostId, TokenId } from "@skep/core";
import { boolean, integer, pgTable, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at } from "./columns.ts";

export const enrolmentTokens = pgTable("enrollment_tokens", {
  id: uuid("id").$type<TokenId>().primaryKey(),
  hostId: uuid("host_id").$type<HostId>().notNull(),
  secretHash: text("secret_hash").notNull(),
  expiresAt: at("expires_at").notNull(),
  attempts: integer("attempts").notNull().default(0),
  claimedAt: at("claimed_at"),
  claimedSpki: text("claimed_spki"),
  certPem: text("cert_pem"),
  burned: boolean("burned").notNull().default(false),
  createdAt: at("created_at").notNull().default(NOW),
});
