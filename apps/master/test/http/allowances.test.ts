/** One policy on every path (faults S6, F38): what a host's owner does not allow is refused at create, replace, mutate, redeploy, rollback and in rehearsal. */
import type { HostId } from "@skep/core";
import { expect, test } from "vitest";
import { useApi } from "./use-api.ts";

const api = useApi();
const DANGERS: readonly (readonly [string, object])[] = [
  ["a host mount", { mounts: [{ type: "bind", source: "/etc", target: "/x" }] }],
  ["privileged mode", { privileged: true }],
  ["the host's network", { network_mode: "host" }],
  ["the host's processes", { pid_mode: "host" }],
  ["the host's shared memory", { ipc_mode: "host" }],
  ["a capability", { cap_add: ["SYS_ADMIN"] }],
];
const ALLOWED = ["driver:docker", "allow:host_mounts=/etc", "allow:privileged", "allow:host_namespaces", "allow:capability=SYS_ADMIN"];
const specOf = (container: object) => ({ driver: "docker", components: [{ name: "web", container: { image: "web:1", ...container } }] });

let seq = 0;
async function reports(host: HostId, capabilities: readonly string[]): Promise<void> {
  await api.store.transaction(async (tx) => {
    const bootId = `boot-${(seq += 1)}`;
    const opened = await tx.openSession(host, { bootId, hostBootId: "kernel", agentVersion: "1.0.0", agentUrl: "https://127.0.0.1:8444" });
    await tx.writeBeats([{ hostId: host, agentVersion: "1.0.0", full: {
      bootId, sessionEpoch: opened!.sessionEpoch, seq: 1, opSeq: 0, phase: "ready", jobIds: [], jobsTruncated: false, placements: [], observedError: undefined,
      resources: undefined, capabilities, cert: undefined, boot: undefined, snapshotHash: bootId,
    } }]);
  });
}

test.each(DANGERS)("%s", async (name, container) => {
  const host = await api.activeHost(`strict-${(seq += 1)}`);
  await reports(host.id, ["driver:docker"]);
  const placement = { hosts: [host.name] };
  const refused = { status: 409, json: { code: "no_eligible_host", errors: [{ pointer: `/hosts/${host.name}`, message: expect.stringContaining("is not allowed on this host") as string }] } };
  const refusedInPlace = { status: 422, json: { code: "spec_refused", errors: [{ pointer: `/hosts/${host.name}`, message: expect.stringContaining("is not allowed on this host") as string }] } };
  const deployment = `d-${seq}`;

  // Create, and its rehearsal: no trace is left.
  for (const dry_run of [true, false]) expect(await api.call("POST", "/v1/deployments", { body: { name: deployment, spec: specOf(container), placement, dry_run } }), name).toMatchObject(refused);
  expect((await api.call("GET", `/v1/deployments/${deployment}`)).status).toBe(404);

  // Allowed once, and taken back: no earlier generation is a way round.
  await reports(host.id, ALLOWED);
  const made = await api.call("POST", "/v1/deployments", { body: { name: deployment, spec: specOf(container), placement } });
  expect(made.status, made.text).toBe(202);
  await finish(made.json.lifecycle_ids);
  const plain = await api.call("POST", "/v1/deployments", { body: { name: deployment, spec: specOf({}), placement, replace: true } });
  expect(plain.status, plain.text).toBe(202);
  await finish(plain.json.lifecycle_ids);
  await reports(host.id, ["driver:docker"]);

  expect(await api.call("POST", `/v1/deployments/${deployment}/rollback`, { body: { generation: 1 } })).toMatchObject(refusedInPlace);
  for (const dry_run of [true, false]) expect(await api.call("POST", `/v1/deployments/${deployment}/mutate`, { body: { components: { web: { container } }, dry_run } })).toMatchObject(refusedInPlace);
  expect(await api.call("POST", "/v1/deployments", { body: { name: deployment, spec: specOf(container), placement, replace: true } })).toMatchObject(refused);
  expect((await api.call("GET", `/v1/deployments/${deployment}`)).json.generation).toBe(2);
  // The control: the very same mutation passes where the owner allows it.
  await reports(host.id, ALLOWED);
  const mutated = await api.call("POST", `/v1/deployments/${deployment}/mutate`, { body: { components: { web: { container } } } });
  expect(mutated.status).toBe(202);
  await finish(mutated.json.lifecycle_ids);
  await reports(host.id, ["driver:docker"]);
  expect(await api.call("POST", `/v1/deployments/${deployment}/redeploy`, { body: {} })).toMatchObject(refusedInPlace);
});

/** As if the agent had done it. */
async function finish(ids: readonly string[]): Promise<void> {
  await api.store.transaction(async (tx) => {
    for (const row of await tx.lockLifecycle(ids)) {
      const placement = (await tx.findPlacement(row.placementId))!.placement;
      await tx.casLifecycle({ id: row.id, expectedVersion: row.version, status: "succeeded", because: "test" });
      await tx.casPlacement(placement.id, placement.version, { appliedGeneration: row.generation });
    }
  });
}
