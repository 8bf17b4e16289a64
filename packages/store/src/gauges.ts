/** The numbers of a scrape, in one statement: a scrape that asks ten things of a busy database is one that times out. */
import { HOST_STATUSES, instant, MAX_AGENT_VERSIONS, OPEN_ROLLOUT_STATUSES, OPERATIONS, REACHABILITY_STATES } from "@skep/core";
import type { FleetGauges } from "@skep/core";
import { sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { rowsOf } from "./db.ts";

export async function fleetGauges(db: Db, { lateAfterMs }: { readonly lateAfterMs: number }): Promise<FleetGauges> {
  const rows = await rowsOf<{ what: string; key: string; value: string | number | null }>(
    db.execute(sql`
      SELECT 'host' AS what, status AS key, count(*)::double precision AS value FROM hosts GROUP BY status
      UNION ALL SELECT 'late', '', count(*) FROM host_liveness l JOIN hosts h ON h.id = l.host_id
        WHERE h.status IN ('active', 'suspect') AND l.last_heartbeat_at < now() - ${lateAfterMs}::double precision * interval '1 millisecond'
      UNION ALL SELECT 'reach', r.state, count(*) FROM host_reachability r JOIN hosts h ON h.id = r.host_id WHERE h.status NOT IN ('pending', 'decommissioned') GROUP BY r.state
      UNION ALL (SELECT 'version', agent_version, count(*) FROM hosts
        WHERE status <> 'decommissioned' AND agent_version IS NOT NULL GROUP BY agent_version ORDER BY count(*) DESC, agent_version LIMIT ${MAX_AGENT_VERSIONS})
      UNION ALL SELECT 'row', operation, count(*) FROM lifecycle WHERE status IN ('pending', 'running', 'lost') GROUP BY operation
      UNION ALL SELECT 'rollout', status, count(*) FROM rollouts WHERE status IN ('running', 'paused', 'rolling_back') GROUP BY status
      UNION ALL SELECT 'stalled', '', extract(epoch FROM now() - min(progress_at)) * 1000 FROM rollouts WHERE status IN ('running', 'rolling_back')
      UNION ALL SELECT 'cert', '', extract(epoch FROM min(c.not_after)) * 1000 FROM host_certs c JOIN hosts h ON h.id = c.host_id
        WHERE c.status = 'active' AND h.status NOT IN ('pending', 'decommissioned')`),
  );
  const valueOf = (what: string, key = ""): number | undefined => {
    const value = rows.find((row) => row.what === what && row.key === key)?.value;
    return value === undefined || value === null ? undefined : Number(value);
  };
  const counted = <S extends string>(what: string, states: readonly S[]): Record<S, number> =>
    Object.fromEntries(states.map((state) => [state, valueOf(what, state) ?? 0])) as Record<S, number>;
  const certEndMs = valueOf("cert");
  return {
    hosts: counted("host", HOST_STATUSES),
    lateHosts: valueOf("late") ?? 0,
    reachability: counted("reach", REACHABILITY_STATES),
    agentVersions: rows.filter((row) => row.what === "version").map(({ key, value }) => ({ version: key, hosts: Number(value) })),
    openRows: counted("row", OPERATIONS),
    rollouts: counted("rollout", OPEN_ROLLOUT_STATUSES),
    rolloutStalledMs: Math.max(0, valueOf("stalled") ?? 0),
    firstCertEnd: certEndMs === undefined ? undefined : instant(Math.floor(certEndMs)),
  };
}
