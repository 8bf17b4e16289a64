/** A fingerprint of the whole database, to prove that something left no trace. */
import { runSql } from "@skep/store/server";

/** What every heartbeat and every probe writes and an operation never does; and what the alert pass makes of earlier events whenever it gets to them. */
const BEATS_AND_PROBES = ["host_liveness", "host_reports", "host_heartbeats", "alert_cursor", "alerts", "webhook_deliveries", "host_reachability"];

/** Table → md5 of all its rows. */
export async function ledgerChecksum(url: string): Promise<Record<string, string>> {
  const tables = (await runSql(url, "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1")) as { name: string }[];
  const sums: Record<string, string> = {};
  for (const { name } of tables) {
    if (BEATS_AND_PROBES.includes(name)) continue;
    const [row] = (await runSql(url, `SELECT coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') AS sum FROM "${name}" t`)) as { sum: string }[];
    sums[name] = row!.sum;
  }
  return sums;
}
