/** How many of what, for the fleet's health. Every state is there, with 0 when it has none. */
import { DEPLOYMENT_STATUSES, HOST_STATUSES, OPEN_STATUSES } from "@skep/core";
import type { FleetCounts, HostStatus } from "@skep/core";
import { sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";

/** What most hosts are. */
const MOST: HostStatus = "active";
const OTHERS = HOST_STATUSES.filter((status) => status !== MOST);

/**
 * Of hosts, the few are counted by the index of statuses, and the many are what is left of all: an index alone is read,
 * and the large part of it only once, without a look at what is in it. One statement, and so one moment.
 */
export async function fleetCounts(db: Db): Promise<FleetCounts> {
  const rows = await rowsOf<{ what: string; status: string; count: string }>(
    db.execute(sql`
      SELECT 'hosts' AS what, '' AS status, count(*) AS count FROM hosts
      UNION ALL ${sql.join(OTHERS.map((status) => sql`SELECT 'host', ${status}::text, count(*) FROM hosts WHERE status = ${status}`), sql` UNION ALL `)}
      UNION ALL SELECT 'row', status, count(*) FROM lifecycle WHERE status IN ('pending', 'running', 'lost') GROUP BY status
      UNION ALL SELECT 'deployment', status, count(*) FROM deployments WHERE deleted_at IS NULL GROUP BY status`),
  );
  const counted = <S extends string>(what: string, states: readonly S[]): Record<S, number> =>
    Object.fromEntries(states.map((state) => [state, Number(rows.find((row) => row.what === what && row.status === state)?.count ?? 0)])) as Record<S, number>;
  const all = Number(rows.find((row) => row.what === "hosts")?.count ?? 0);
  const hosts = counted("host", HOST_STATUSES);
  return { hosts: { ...hosts, [MOST]: all - OTHERS.reduce((sum, status) => sum + hosts[status], 0) }, openRows: counted("row", OPEN_STATUSES), deployments: counted("deployment", DEPLOYMENT_STATUSES) };
}
