/** The database's clock: the only one that decisions use (I12). */
import type { Instant } from "@skep/core";
import { sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";
import { parseInstant } from "./schema/columns.ts";

export async function readNow(db: Db): Promise<Instant> {
  const rows = await rowsOf<{ now: string }>(db.execute(sql`SELECT clock_timestamp() AS now`));
  return parseInstant(rows[0]!.now);
}
