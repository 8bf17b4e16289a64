/** Pinned certificates. A public key is accepted once, whoever presents it. */
import type { CertStatus, Fingerprint, HostId } from "@skep/core";
import { pgTable, text, uuid } from "drizzle-orm/pg-core";
import { NOW, at } from "./columns.ts";

export const hostCerts = pgTable("host_certs", {
  fingerprint: text("sha256").$type<Fingerprint>().primaryKey(),
  hostId: uuid("host_id").$type<HostId>().notNull(),
  spkiSha256: text("spki_sha256").notNull(),
  status: text("status").$type<CertStatus>().notNull(),
  notBefore: at("not_before").notNull(),
  notAfter: at("not_after").notNull(),
  retireAt: at("retire_at"),
  revokedAt: at("revoked_at"),
  createdAt: at("created_at").notNull().default(NOW),
});
