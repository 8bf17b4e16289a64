/** The one row that says which history this database is. */
import { bigint, boolean, pgTable, uuid } from "drizzle-orm/pg-core";
import { NOW, at, counter, xid8 } from "./columns.ts";

export const clusterMeta = pgTable("cluster_meta", {
  one: boolean("one").primaryKey().default(true),
  lineage: uuid("lineage").notNull(),
  /** Signed 64 bits, compared as text. */
  systemIdentifier: bigint("system_identifier", { mode: "bigint" }).notNull(),
  pinVersion: counter("pin_version").notNull().default(1),
  /** The newest position that retention has deleted: cursors before it have missed something. */
  prunedXid: xid8("pruned_xid").notNull(),
  prunedId: bigint("pruned_id", { mode: "bigint" }).notNull(),
  createdAt: at("created_at").notNull().default(NOW),
});
