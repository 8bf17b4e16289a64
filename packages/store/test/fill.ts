/** Many rows at once, by SQL: what the port would take minutes for. */
import { runSql } from "@skep/store/server";

/** `count` hosts with a deployment, a placement and an open row in `status` each; ids share a number: use `idAt`. */
export async function fillRows(url: string, count: number, status: "pending" | "running" = "running"): Promise<void> {
  await runSql(url, `
    CREATE FUNCTION pg_temp.id_at(n bigint) RETURNS uuid LANGUAGE sql AS $$ SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
    INSERT INTO hosts (id, name, status, agent_port) SELECT pg_temp.id_at(n), 'host-' || n, 'active', 1 FROM generate_series(1, ${count}) n;
    INSERT INTO deployments (id, name, generation, desired, reconcile, placement) SELECT pg_temp.id_at(n), 'app-' || n, 1, 'running', 'auto', '{}' FROM generate_series(1, ${count}) n;
    INSERT INTO placements (id, deployment_id, host_id, desired, epoch, generation) SELECT pg_temp.id_at(n), pg_temp.id_at(n), pg_temp.id_at(n), 'running', 1, 1 FROM generate_series(1, ${count}) n;
    INSERT INTO lifecycle (id, placement_id, deployment_id, deployment, host_id, operation, status, generation, epoch, timeout_s, dispatch_deadline)
      SELECT pg_temp.id_at(n), pg_temp.id_at(n), pg_temp.id_at(n), 'app-' || n, pg_temp.id_at(n), 'deploy', '${status}', 1, 1, 600, now() + interval '10 minutes' FROM generate_series(1, ${count}) n;
    ANALYZE`);
}

export const idAt = <T extends string>(n: number): T => `00000000-0000-7000-8000-${n.toString(16).padStart(12, "0")}` as T;
