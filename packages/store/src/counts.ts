/** How many of what, for the fleet's health. Every state is there, with 0 when it has none. */
import { DEPLOYMENT_STATUSES, HOST_STATUSES, OPEN_STATUSES } from "@skep/core";
import type { FleetCounts } from "@skep/core";
import { sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";

export async function fleetCounts(db: Db): Promise<FleetCounts> {
  const rows = await rowsOf<{ what: string; status: string; count: string }>(
    db.execute(sql`
      SELECT 'host' AS what, status, count(*) AS count FROM hosts GROUP BY status
      UNION ALL SELECT 'row', status, count(*) FROM lifecycle WHERE status IN ('pending', 'running', 'lost') GROUP BY status
      UNION ALL SELECT 'deployment', status, count(*) FROM deployments WHERE deleted_at IS NULL GROUP BY status`),
  );
  const counted = <S extends string>(what: string, states: readonly S[]): Record<S, number> =>
    Object.fromEntries(states.map((state) => [state, Number(rows.find((row) => row.what === what && row.status === state)?.count ?? 0)])) as Record<S, number>;
  return { hosts: counted("host", HOST_STATUSES), openRows: counted("row", OPEN_STATUSES), deployments: counted("deployment", DEPLOYMENT_STATUSES) };
}
