/** Every heartbeat is counted by its answer, wherever on its way it was refused; outcomes by their verdict, after the commit. */
import { instant, uuidv7, type Store } from "@skep/core";
import { createLogger } from "@skep/runtime";
import { useDatabase } from "@skep/testkit/vitest";
import { expect, test } from "vitest";
import { createMasterMetrics } from "../../src/metrics/create-metrics.ts";
import type { MasterMetrics } from "../../src/metrics/master-metrics.ts";
import { clock, post, rng, seedBeat, startRig } from "./rig.ts";

const database = useDatabase();

const metricsOver = (store: Pick<Store, "fleetGauges" | "poolUse">): MasterMetrics =>
  createMasterMetrics({ store, clock, logger: createLogger({ level: "silent", name: "test" }), version: "0.1.0", nodeVersion: "v20", heartbeatIntervalMs: 1_000, caNotAfter: instant(0), maxHosts: 10, process: false });

async function count(metrics: MasterMetrics, name: string): Promise<Record<string, number>> {
  const samples = [...(await metrics.render()).matchAll(new RegExp(`^${name}\\{\\w+="(\\w+)"\\} (\\d+)$`, "gm"))];
  return Object.fromEntries(samples.map(([, label, value]) => [label, Number(value)]).filter(([, value]) => value !== 0));
}

test("heartbeats by result, and outcomes by verdict", async () => {
  let store: Store | undefined;
  const metrics = metricsOver({ fleetGauges: (options) => store!.fleetGauges(options), poolUse: () => store!.poolUse() });
  await using rig = await startRig(database.url, { observe: metrics, wrapStore: (made) => (store = made) });
  const host = await rig.addHost("web-01");
  const revoked = await rig.addHost("web-02", { status: "revoked" });
  const beat = (body: unknown, as = host) => post(rig.swarmPort, "/swarm/heartbeat", body, { caPem: rig.authority.authority.certPem, identity: as });
  const delta = { delta_id: uuidv7(clock.now(), rng), job_id: uuidv7(clock.now(), rng), placement_id: uuidv7(clock.now(), rng), deployment: "web", operation: "deploy", status: "succeeded", generation: 1, epoch: 1 };
  expect((await beat(seedBeat(host.hostId))).status).toBe(204);
  expect((await beat(seedBeat(host.hostId, { lifecycle: [delta, { delta_id: "malformed" }] }))).status).toBe(200);
  // Refused by its certificate, by its body, by whom it speaks for, and by the ledger.
  expect((await beat(seedBeat(revoked.hostId), revoked)).status).toBe(403);
  expect((await beat("{")).status).toBe(400);
  expect((await beat({ host_uuid: host.hostId, agent_version: "0.1.0", status: {}, boot_id: "b", session_epoch: 9, seq: 1, op_seq: 0 })).status).toBe(409);
  const results = await count(metrics, "master_heartbeats_total");
  expect(results).toEqual({ ok: 2, cert_mismatch: 1, malformed_json: 1, session_stale: 1 });
  expect(await count(metrics, "master_deltas_total")).toEqual({ unknown: 1, rejected: 1 });
  expect(await metrics.render()).toMatch(/^master_heartbeat_duration_seconds_count 2$/m);
});
