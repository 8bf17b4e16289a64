/**
 * Fleets written straight into the ledger, because enrolling a thousand hosts one by one is not what is measured.
 * Certificates are real and pinned. Hosts that nobody beats for are dated a day ahead, so that the liveness pass,
 * which is real too, has nothing to say about them.
 */
import { randomUUID } from "node:crypto";
import { canonicalJson } from "@skep/core";
import { sha256Hex, randomToken } from "@skep/runtime";
import type { TempAuthority } from "@skep/testkit";
import pg from "pg";
import type { LoadAgent } from "../load/beats-main.ts";

export const AHEAD = "now() + interval '1 day'";
export const SPEC = {
  driver: "noop",
  components: ["web", "worker", "cache"].map((name) => ({ name, command: ["serve", "--verbose"], env: { MODE: "bench", PADDING: "x".repeat(200) }, ports: [], restart: { policy: "always" }, depends_on: [], stop_timeout_s: 10 })),
};
const SPEC_HASH = sha256Hex(canonicalJson(SPEC));

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export interface FleetWish {
  readonly count: number;
  readonly placementsEach: number;
  /** Where an agent listens, by its index; undefined = nowhere. */
  readonly issued: readonly { readonly hostId: string; readonly name: string; readonly certPem: string; readonly keyPem: string; readonly sha256: string; readonly spkiSha256: string; readonly notBefore: number; readonly notAfter: number; readonly agentUrl?: string }[];
}

export function issueHosts(authority: TempAuthority, count: number): FleetWish["issued"] {
  return Array.from({ length: count }, (_, index) => {
    const name = `host-${String(index).padStart(5, "0")}`;
    const { hostId, certPem, keyPem, sha256, spkiSha256, notBefore, notAfter } = authority.host(name);
    return { hostId, name, certPem, keyPem, sha256, spkiSha256, notBefore, notAfter };
  });
}

/** Hosts with certificates, and `placementsEach` deployments that are placed on all of them. Empty database, migrated. */
export async function insertFleet(url: string, wish: FleetWish): Promise<LoadAgent[]> {
  const { issued } = wish;
  const deployments = Array.from({ length: wish.placementsEach }, (_, index) => ({ id: randomUUID(), name: `bench-${index}` }));
  const agents: LoadAgent[] = issued.map(({ hostId, certPem, keyPem }) => ({
    hostId, certPem, keyPem, bootId: randomUUID(), sessionEpoch: 1, placements: deployments.map(({ name }) => ({ id: randomUUID(), deployment: name })),
  }));
  await withClient(url, async (client) => {
    const bootIds = agents.map((agent) => agent.bootId);
    const ids = issued.map((host) => host.hostId);
    await client.query("BEGIN");
    await client.query(
      `INSERT INTO hosts (id, name, status, agent_port, agent_url, agent_version, session_epoch, session_boot_id, enrolled_at)
       SELECT id, name, 'active', 0, nullif(url, ''), '0.1.0', 1, boot, now() FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS t (id, name, url, boot)`,
      [ids, issued.map((host) => host.name), issued.map((host) => host.agentUrl ?? ""), bootIds]);
    await client.query(
      `INSERT INTO host_liveness (host_id, last_heartbeat_at, seq, taken, changed, phase) SELECT id, ${AHEAD}, 0, false, false, 'ready' FROM unnest($1::uuid[]) AS t (id)`, [ids]);
    await client.query(
      `INSERT INTO host_certs (sha256, host_id, spki_sha256, status, not_before, not_after) SELECT s, h, k, 'active', to_timestamp(b / 1000), to_timestamp(a / 1000)
       FROM unnest($1::text[], $2::uuid[], $3::text[], $4::float8[], $5::float8[]) AS t (s, h, k, b, a)`,
      [issued.map((host) => host.sha256), ids, issued.map((host) => host.spkiSha256), issued.map((host) => host.notBefore), issued.map((host) => host.notAfter)]);
    for (const [index, { id, name }] of deployments.entries()) {
      await insertDeployment(client, id, name);
      await client.query(
        `INSERT INTO placements (id, deployment_id, host_id, desired, epoch, generation, applied_generation) SELECT p, $1, h, 'running', 1, 1, 1 FROM unnest($2::uuid[], $3::uuid[]) AS t (p, h)`,
        [id, agents.map((agent) => agent.placements[index]!.id), ids]);
    }
    await client.query("COMMIT");
    await client.query("ANALYZE");
  });
  return agents;
}

export async function insertDeployment(client: pg.Client, id: string, name: string): Promise<void> {
  await client.query(`INSERT INTO deployments (id, name, generation, desired, reconcile, placement, status) VALUES ($1, $2, 1, 'running', 'report', '{}', 'active')`, [id, name]);
  await client.query(`INSERT INTO deployment_generations (deployment_id, generation, spec, spec_hash) VALUES ($1, 1, $2, $3)`, [id, JSON.stringify(SPEC), SPEC_HASH]);
}

/** Brings the table of hosts to `total` with hosts that have a history and no certificate. */
export async function growHosts(url: string, total: number): Promise<void> {
  await withClient(url, async (client) => {
    const { rows } = await client.query<{ count: number }>("SELECT count(*)::int AS count FROM hosts");
    const from = rows[0]!.count;
    // Without the foreign keys' triggers: a hundred thousand rows that are right by construction.
    await client.query("SET session_replication_role = replica");
    await client.query(
      `WITH made AS (INSERT INTO hosts (id, name, status, agent_port, agent_version, session_epoch, enrolled_at, labels)
         SELECT gen_random_uuid(), 'cold-' || i, 'active', 8444, '0.1.0', 1, now(), jsonb_build_object('zone', 'z' || i % 10) FROM generate_series($1::int, $2::int - 1) AS i RETURNING id),
       live AS (INSERT INTO host_liveness (host_id, last_heartbeat_at, snapshot_at, seq, op_seq, taken, changed, boot_id, phase) SELECT id, ${AHEAD}, now(), 1, 1, true, false, 'boot', 'ready' FROM made)
       INSERT INTO host_reports (host_id, boot_id, op_seq, received_at, since_seq, jobs_truncated, resources) SELECT id, 'boot', 1, now(), 1, false, '{"cpu_count": 8}' FROM made`, [from, total]);
    await client.query("SET session_replication_role = origin");
    await client.query("VACUUM ANALYZE hosts, host_liveness, host_reports");
  });
}

/** Viewers' tokens, one for every few hundred requests, so that the per-token limit is not what is measured. */
export async function insertTokens(url: string, count: number): Promise<string[]> {
  const made = Array.from({ length: count }, () => {
    const id = randomUUID().replace(/^(.{14})./, "$17");
    const secret = randomToken("s").slice(2);
    return { id, secret };
  });
  await withClient(url, (client) => client.query(
    `INSERT INTO api_tokens (id, name, role, secret_hash, expires_at) SELECT id, 'bench', 'operator', hash, now() + interval '1 day' FROM unnest($1::uuid[], $2::text[]) AS t (id, hash)`,
    [made.map(({ id }) => id), made.map(({ secret }) => sha256Hex(secret))]));
  return made.map(({ id, secret }) => `skp_${id.replaceAll("-", "")}_${secret}`);
}
