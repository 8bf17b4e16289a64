/** Operators' tokens: hashes only. */
import type { Role, TokenId } from "@skep/core";
import { pgTable, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at, freeText } from "./columns.ts";

export const apiTokens = pgTable("api_tokens", {
  id: uuid("id").$type<TokenId>().primaryKey(),
  name: freeText("name").notNull(),
  role: text("role").$type<Role>().notNull(),
  secretHash: text("secret_hash").notNull(),
  createdAt: at("created_at").notNull().default(NOW),
  expiresAt: at("expires_at").notNull(),
  revokedAt: at("revoked_at"),
});
